from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from iadsr.core.errors import DataError
from iadsr.evaluation.collect import collect, encoder_name

Make = Callable[..., Path]
Table = Callable[..., pd.DataFrame]
ADDRESS = ["dataset", "protocol", "backbone", "method", "seed"]


def read(folder: Path) -> tuple[pd.DataFrame, ...]:
    return tuple(pd.read_parquet(folder / f"{name}.parquet") for name in ("metrics", "runs", "curves"))


def test_three_tables(make_run: Make, table: Table, tmp_path: Path) -> None:
    mask = {"train_keep_rate": 0.8, "test_keep_rate": 0.7, "gate_share": None, "noise_auc": None}
    folders = [
        make_run(table([1, 6], [1, 50])),
        make_run(table([2, 3], [1, 50]), method="iadsr", mask=mask, commit={"hash": "f00", "dirty": True}),
    ]
    collect(folders, {"toys": 4}, tmp_path / "out")
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
    assert list(curves.columns[:7]) == [*ADDRESS, "epoch", "loss"]
    assert curves["epoch"].tolist() == [1, 2, 1, 2] and curves["loss_alignment"].isna().all()


def test_diverged_run_keeps_its_rows(make_run: Make, table: Table, tmp_path: Path) -> None:
    lost = {"status": "diverged", "reason": "loss is NaN", "best_epoch": None, "best_validation": None}
    folders = [make_run(table([1], [1])), make_run(table([], []), seed=1, **lost)]
    (folders[1] / "curve.csv").write_text((folders[1] / "curve.csv").read_text().splitlines()[0] + "\n")
    collect(folders, {"toys": 4}, tmp_path / "out")
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
        collect([folder], {}, tmp_path)
    with pytest.raises(DataError, match="given twice"):
        collect([folder, folder], {"toys": 4}, tmp_path)
    with pytest.raises(DataError, match="no run to collect"):
        collect([], {"toys": 4}, tmp_path)
    with pytest.raises(DataError, match="seed0: a recommended item index is outside the catalogue of 1 items"):
        collect([folder], {"toys": 1}, tmp_path)
    (folder / "curve.csv").write_text("epoch,loss\n1,2\n")
    with pytest.raises(DataError, match="not a learning curve"):
        collect([folder], {"toys": 4}, tmp_path)
    (folder / "curve.csv").unlink()
    with pytest.raises(DataError, match=r"seed0 has no curve.csv; train it with"):
        collect([folder], {"toys": 4}, tmp_path)
    with pytest.raises(DataError, match=r"lacks 'identity'|lacks"):
        collect([make_run(table([1], [1]), seconds={})], {"toys": 4}, tmp_path)


def test_encoder_name() -> None:
    assert encoder_name(None) is None
    assert encoder_name({"kind": "minilm", "dimension": 384}) == "minilm"
    assert encoder_name({"name": "llm2vec", "kind": "other"}) == "llm2vec"
