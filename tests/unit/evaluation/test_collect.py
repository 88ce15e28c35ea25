from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from iadsr.core.errors import DataError
from iadsr.evaluation.collect import collect, encoder_name
from iadsr.evaluation.runs import read_runs

Make = Callable[..., Path]
Table = Callable[..., pd.DataFrame]
ADDRESS = ["dataset", "protocol", "backbone", "method", "seed"]


def collect_folders(folders: list[Path], sizes: dict[str, int], out: Path) -> None:
    collect(read_runs(folders), sizes, out)


def read(folder: Path) -> tuple[pd.DataFrame, ...]:
    return tuple(pd.read_parquet(folder / f"{name}.parquet") for name in ("metrics", "runs", "curves"))


def test_three_tables(make_run: Make, table: Table, tmp_path: Path) -> None:
    mask = {"train_keep_rate": 0.8, "test_keep_rate": 0.7, "gate_share": None, "noise_auc": None}
    folders = [
        make_run(table([1, 6], [1, 50])),
        make_run(
            table([2, 3], [1, 50]),
            method="iadsr",
            mask=mask,
            commit={"hash": "f00", "dirty": True},
            reused_from="x/seed0",
        ),
    ]
    collect_folders(folders, {"toys": 4}, tmp_path / "out")
    metrics, runs, curves = read(tmp_path / "out")
    assert list(metrics.columns) == [*ADDRESS, "ranking", "group", "metric", "value", "users"]
    assert not metrics.duplicated([*ADDRESS, "ranking", "group", "metric"]).any()
    chosen = metrics.query("metric == 'HR@5' and group == 'all' and ranking == 'excluded'")
    assert dict(zip(chosen["method"], chosen["value"], strict=True)) == {"none": 0.5, "iadsr": 1.0}
    assert (metrics.query("metric == 'coverage@10'")["value"] == 0.5).all()

    by_method = runs.set_index("method")
    assert by_method.loc["iadsr", "train_keep_rate"] == 0.8
    assert by_method.loc["iadsr", "commit"] == "f00" and by_method.loc["iadsr", "dirty"]
    assert pd.isna(by_method.loc["none", "train_keep_rate"]) and pd.isna(by_method.loc["none", "dirty"])
    assert by_method.loc["none", "encoder"] is None
    assert by_method["reused_from"].fillna("").to_dict() == {"none": "", "iadsr": "x/seed0"}
    assert set(by_method["versions"]) == {"python 3.11.7; torch 2.9.0"} and set(by_method["source_digest"]) == {"5c"}
    assert list(curves.columns[:7]) == [*ADDRESS, "epoch", "loss"]
    assert curves["epoch"].tolist() == [1, 2, 1, 2] and curves["loss_alignment"].isna().all()


def test_drops_have_names(make_run: Make, table: Table, tmp_path: Path) -> None:
    least = [{"item": 2, "keep": 0.25, "inputs": 20}]
    histories = [{"user": "u0", "items": [4, 2], "keep": [1.0, 0.0], "target": 3}]
    drops = {"least": least, "most": [{**least[0], "item": 1, "keep": 1.0}], "histories": histories}
    runs = read_runs([make_run(table([1], [1])), make_run(table([1], [1]), method="iadsr", drops=drops)])
    collect(runs, {"toys": 4}, tmp_path, {"toys": {2: "Kite", 3: "Yo-yo"}})
    rows = pd.read_parquet(tmp_path / "drops.parquet")
    assert set(rows["method"]) == {"iadsr"}
    assert rows[["part", "user", "place", "item", "name", "keep", "target"]].values.tolist() == [
        ["least", "", 1, 2, "Kite", 0.25, ""],
        ["most", "", 1, 1, "item 1", 1.0, ""],
        ["history", "u0", 1, 4, "item 4", 1.0, "Yo-yo"],
        ["history", "u0", 2, 2, "Kite", 0.0, "Yo-yo"],
    ]
    assert rows["inputs"].tolist()[:2] == [20, 20] and rows["inputs"].isna().tolist() == [False, False, True, True]


@pytest.mark.parametrize("drops", [[1], {"least": [{}]}, {"histories": [{"items": [1], "keep": [], "user": "u"}]}])
def test_a_damaged_table_of_drops_is_one_line(make_run: Make, table: Table, tmp_path: Path, drops: object) -> None:
    with pytest.raises(DataError, match="drops"):
        collect(read_runs([make_run(table([1], [1]), drops=drops)]), {"toys": 4}, tmp_path)


def test_curves_have_cosines_and_gradients_and_an_old_curve_has_none(
    make_run: Make, table: Table, old_curve: str, tmp_path: Path
) -> None:
    folders = [make_run(table([1], [1])), make_run(table([1], [1]), seed=1)]
    (folders[1] / "curve.csv").write_text(old_curve)
    collect_folders(folders, {"toys": 4}, tmp_path / "out")
    curves = pd.read_parquet(tmp_path / "out" / "curves.parquet")
    added = ["cosine_matched", "cosine_unmatched", "mask_gradient"]
    assert (curves[added].dtypes == "float64").all()
    new, old = curves[curves["seed"] == 0], curves[curves["seed"] == 1]
    assert new["cosine_matched"].tolist() == [0.25, 0.75] and new["cosine_unmatched"].tolist() == [-0.5, -0.25]
    assert new["mask_gradient"].isna().all()
    assert old[added].isna().all(axis=None) and old["loss"].tolist() == [2.0, 1.5]


def test_what_the_mask_dropped_and_denoised_targets(make_run: Make, table: Table, tmp_path: Path) -> None:
    numbers = {"drop_precision": 0.5, "drop_recall": 0.25, "train_drop_precision": 0.75, "noise_share": 0.125}
    numbers["train_drop_recall"] = None
    denoised = {"HR@5": 0.5, "NDCG@5": 0.375, "HR@20": 0.625, "NDCG@20": 0.4375, "changed": 0.125}
    folders = [
        make_run(table([1], [1]), method="iadsr", mask=numbers, denoised_target=denoised),
        make_run(table([1], [1]), method="random_drop", mask=dict.fromkeys(numbers), denoised_target=None),
        make_run(table([1], [1])),  # an old record has none of the keys
    ]
    collect_folders(folders, {"toys": 4}, tmp_path / "out")
    columns = [*numbers, "denoised_hr5", "denoised_ndcg5", "denoised_changed"]
    runs = pd.read_parquet(tmp_path / "out" / "runs.parquet").set_index("method")[columns]
    assert (runs.dtypes == "float64").all()
    assert runs.loc["iadsr"].drop("train_drop_recall").tolist() == [0.5, 0.25, 0.75, 0.125, 0.5, 0.375, 0.125]
    assert pd.isna(runs.loc["iadsr", "train_drop_recall"])
    assert runs.loc[["random_drop", "none"]].isna().all(axis=None)


def test_texts_and_embeddings_name(make_run: Make, table: Table, tmp_path: Path) -> None:
    folders = []
    for method, encoder, told in (
        ("none", None, {"texts": "names"}),
        ("iadsr", {"kind": "minilm"}, {"texts": "names"}),
        ("iadsr-shuffled", {"kind": "minilm"}, {"texts": "shuffled"}),
        ("older", {"kind": "minilm"}, {}),
    ):
        address = {"dataset": "toys", "protocol": "paper", "backbone": "gru4rec", "method": method, "seed": 0}
        cell = {**address, "encoder": encoder, "objective": "last", **told}
        folders.append(make_run(table([1], [1]), method=method, cell=cell))
    collect_folders(folders, {"toys": 4}, tmp_path / "out")
    runs = pd.read_parquet(tmp_path / "out" / "runs.parquet").set_index("method")
    assert runs["texts"].to_dict() == {
        "none": "names",
        "iadsr": "names",
        "iadsr-shuffled": "shuffled",
        "older": "names",
    }
    encoders = runs["encoder"].drop("none").to_dict()
    assert encoders == {"iadsr": "minilm", "iadsr-shuffled": "minilm-shuffled", "older": "minilm"}
    assert pd.isna(runs.loc["none", "encoder"])


def test_inputs_have_a_row_for_each_digest(make_run: Make, table: Table, tmp_path: Path) -> None:
    folders = [
        make_run(table([1], [1])),
        make_run(table([1], [1]), seed=1, inputs={"sequences": "cd", "embeddings": "ef"}, source_digest="6d"),
    ]
    collect_folders(folders, {"toys": 4}, tmp_path / "out")
    inputs = pd.read_parquet(tmp_path / "out" / "inputs.parquet")
    assert list(inputs.columns) == [*ADDRESS, "name", "digest"]
    assert inputs[["seed", "name", "digest"]].to_numpy().tolist() == [
        [0, "source code", "5c"],
        [0, "sequences", "cd"],
        [1, "source code", "6d"],
        [1, "sequences", "cd"],
        [1, "embeddings", "ef"],
    ]


def test_encoder_has_its_identity_and_the_options_that_it_does_not_name(
    make_run: Make, table: Table, tmp_path: Path
) -> None:
    encoder = {"kind": "minilm", "pooling": "cls", "max_length": 8, "batch_size": None}
    cell = {"dataset": "toys", "protocol": "paper", "backbone": "gru4rec", "method": "iadsr", "seed": 0}
    identity = {
        "encoder": "minilm",
        "model": "m",
        "revision": None,
        "pooling": "cls",
        "dimension": 4,
        "text_digest": "e",
    }
    folders = [
        make_run(table([1], [1])),
        make_run(
            table([1], [1]),
            method="iadsr",
            cell={**cell, "encoder": encoder, "objective": "last"},
            encoder_identity=identity,
        ),
    ]
    collect_folders(folders, {"toys": 4}, tmp_path / "out")
    runs = pd.read_parquet(tmp_path / "out" / "runs.parquet").set_index("method")
    assert runs.filter(like="encoder_").loc["iadsr"].to_dict() == {
        "encoder_kind": "minilm",
        "encoder_model": "m",
        "encoder_revision": "",
        "encoder_pooling": "cls",
        "encoder_dimension": "4",
        "encoder_text_digest": "e",
        "encoder_options": "max_length 8",
    }
    assert runs.filter(like="encoder").loc["none"].isna().all()


def test_keep_by_group(make_run: Make, table: Table, tmp_path: Path) -> None:
    kept = {
        "train": {"cold": {"keep": 0.5, "inputs": 8}, "decile_1": {"keep": None, "inputs": 0}},
        "test": {"cold": {"keep": 1.0, "inputs": 2}},
    }
    folders = [
        make_run(table([1], [1]), keep_by_group=None),
        make_run(table([1], [1]), method="iadsr", seed=2, keep_by_group=kept),
    ]
    collect_folders(folders, {"toys": 4}, tmp_path / "out")
    keep = pd.read_parquet(tmp_path / "out" / "keep.parquet")
    assert list(keep.columns) == [*ADDRESS, "stage", "group", "keep", "inputs"]
    assert keep["keep"].dtype == "float64" and keep["inputs"].dtype == keep["seed"].dtype == "int64"
    assert (keep["method"] == "iadsr").all() and (keep["seed"] == 2).all()
    rows = keep[["stage", "group", "inputs"]].to_records(index=False).tolist()
    assert rows == [("train", "cold", 8), ("train", "decile_1", 0), ("test", "cold", 2)]
    assert keep["keep"].isna().tolist() == [False, True, False] and keep["keep"].sum() == 1.5


def test_keep_without_any_mask_is_an_empty_table_of_the_same_types(
    make_run: Make, table: Table, tmp_path: Path
) -> None:
    collect_folders([make_run(table([1], [1]))], {"toys": 4}, tmp_path / "out")
    keep = pd.read_parquet(tmp_path / "out" / "keep.parquet")
    assert keep.empty and list(keep.columns) == [*ADDRESS, "stage", "group", "keep", "inputs"]
    assert keep["keep"].dtype == "float64" and keep["inputs"].dtype == keep["seed"].dtype == "int64"
    assert {str(keep[name].dtype) for name in (*ADDRESS[:4], "stage", "group")} == {"str"}


def test_diverged_run_keeps_its_rows(make_run: Make, table: Table, tmp_path: Path) -> None:
    lost = {"status": "diverged", "reason": "loss is NaN", "best_epoch": None, "best_validation": None}
    folders = [make_run(table([1], [1])), make_run(table([], []), seed=1, **lost)]
    (folders[1] / "curve.csv").write_text((folders[1] / "curve.csv").read_text().splitlines()[0] + "\n")
    collect_folders(folders, {"toys": 4}, tmp_path / "out")
    metrics, runs, curves = read(tmp_path / "out")
    assert runs.set_index("seed").loc[1, ["status", "reason"]].tolist() == ["diverged", "loss is NaN"]
    assert runs["best_epoch"].isna().tolist() == [False, True]
    rows = metrics[metrics["seed"] == 1]
    assert len(rows) == len(metrics) / 2
    assert rows["value"].isna().all() and (rows["users"] == 0).all()
    assert curves["seed"].tolist() == [0, 0]


def test_refusals_name_the_run(make_run: Make, table: Table, tmp_path: Path) -> None:
    folder = make_run(table([1], [1]))
    with pytest.raises(DataError, match="no catalogue size for toys"):
        collect_folders([folder], {}, tmp_path)
    with pytest.raises(DataError, match="given twice"):
        collect_folders([folder, folder], {"toys": 4}, tmp_path)
    with pytest.raises(DataError, match="no run to collect"):
        collect_folders([], {"toys": 4}, tmp_path)
    with pytest.raises(DataError, match="seed0: a recommended item index is outside the catalogue of 1 items"):
        collect_folders([folder], {"toys": 1}, tmp_path)
    (folder / "curve.csv").write_text("epoch,loss\n1,2\n")
    with pytest.raises(
        DataError, match=r"curve.csv is damaged \(.*\); make it anew: snakemake --cores 1 --force .*/curve.csv"
    ):
        collect_folders([folder], {"toys": 4}, tmp_path)
    (folder / "curve.csv").write_text("\n")
    with pytest.raises(
        DataError, match=r"curve.csv is damaged \(.*\); make it anew: snakemake --cores 1 --force .*/curve.csv"
    ):
        collect_folders([folder], {"toys": 4}, tmp_path)
    (folder / "curve.csv").unlink()
    with pytest.raises(DataError, match=r"seed0 has no curve.csv; train it with"):
        collect_folders([folder], {"toys": 4}, tmp_path)
    for damaged in ([1], {"train": {"cold": 0.5}}, {"train": {"cold": {"keep": 0.5}}}):
        with pytest.raises(DataError, match=r"seed1/record.json is damaged \(keep_by_group: "):
            collect_folders([make_run(table([1], [1]), seed=1, keep_by_group=damaged)], {"toys": 4}, tmp_path)
    with pytest.raises(DataError, match=r"record.json is damaged \(KeyError 'total'\); make it anew"):
        collect_folders([make_run(table([1], [1]), seconds={})], {"toys": 4}, tmp_path)


def test_encoder_name() -> None:
    assert encoder_name(None) is None
    assert encoder_name({"kind": "minilm", "pooling": "mean", "max_length": 256}) == "minilm"
    assert str(encoder_name({"kind": "minilm", "max_length": 8})).startswith("minilm-")
    assert encoder_name({"kind": "minilm"}, "names") == "minilm"
    assert encoder_name({"kind": "minilm"}, "empty") == "minilm-empty"
    assert encoder_name(None, "empty") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": "two"},
        {"best_validation": "high"},
        {"commit": []},
        {"commit": {}},
        {"mask": [1]},
        {"denoised_target": "none"},
        {"peak_memory_mb": {}},
        {"inputs": None},
        {"inputs": {"sequences": 1}},
        {"source_digest": None},
        {"versions": "3.11"},
        {"cell": {"dataset": "toys", "protocol": "paper", "backbone": "gru4rec", "method": "none", "seed": 0}},
    ],
)
def test_a_record_with_other_content_is_refused_by_name(
    make_run: Make, table: Table, tmp_path: Path, changes: dict[str, object]
) -> None:
    folder = make_run(table([1], [1]), **changes)
    with pytest.raises(DataError, match=r"seed0/record.json is damaged \(.*\); make it anew: snakemake"):
        collect_folders([folder], {"toys": 4}, tmp_path / "out")


def test_a_curve_that_lost_epochs_is_refused(make_run: Make, table: Table, tmp_path: Path) -> None:
    folder = make_run(table([1], [1]))
    lines = (folder / "curve.csv").read_text().splitlines(keepends=True)
    for kept, message in (("".join(lines)[:-5], "its last line is cut short"), ("".join(lines[:-1]), "1 epochs")):
        (folder / "curve.csv").write_text(kept)
        with pytest.raises(DataError, match=message):
            collect_folders([folder], {"toys": 4}, tmp_path / "out")


def test_a_curve_s_own_columns_are_carried_along(make_run: Make, table: Table, tmp_path: Path) -> None:
    """A method names its losses and figures as it likes; a run that lacks one has NaN there."""
    folders = [make_run(table([1], [1])), make_run(table([1], [1]), seed=1)]
    (folders[1] / "curve.csv").write_text(
        "epoch,loss,validation,seconds,loss_contrast,entropy of the mask\n1,2,0.1,1,0.5,\n2,1,0.2,1,0.25,7\n"
    )
    collect_folders(folders, {"toys": 4}, tmp_path / "out")
    curves = pd.read_parquet(tmp_path / "out" / "curves.parquet")
    added = curves[["loss_contrast", "entropy of the mask"]]
    assert (added.dtypes == "float64").all()
    assert added[curves["seed"] == 0].isna().all(axis=None)
    assert added.fillna(-1)[curves["seed"] == 1].to_numpy().tolist() == [[0.5, -1], [0.25, 7]]
