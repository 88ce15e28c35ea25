"""A cell's files: complete after success, explained after divergence, refused without inputs."""

import json
import os
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file

from iadsr.config.cell import Cell
from iadsr.config.encoders import embeddings_name, parse_encoder
from iadsr.config.fields import Texts
from iadsr.core import columns as c
from iadsr.core.errors import DataError
from iadsr.embeddings.encoder import make_encoder
from iadsr.embeddings.store import embed, embed_with
from iadsr.evaluation.collect import collect
from iadsr.evaluation.runs import read_run, read_runs
from iadsr.formats.embeddings import describe_source, read_metadata
from iadsr.formats.tables import write_parquet
from iadsr.methods.method import Method
from iadsr.sequences.split import save_sequences
from iadsr.sequences.text_rows import save_text_rows
from iadsr.statistics.compare import read_scores
from iadsr.training import drops, loop, recommender, run
from iadsr.training.inputs import input_files, load_data
from iadsr.training.recommender import Recommender
from iadsr.training.run import run_cell
from iadsr.training.state import Outcome
from tests.helpers import N_ITEMS, diverging, small_cell, small_sequences

ENCODER = parse_encoder({"kind": "random", "dimension": 6})
NAMES = [f"item {number}" for number in range(N_ITEMS)]
RATE = {"match": None, "rate": 0.4, "remove": "zero"}
VECTORS = f"embeddings/ring/{embeddings_name(ENCODER.options())}.safetensors"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save_sequences(tmp_path / "sequences/ring/sequences.npz", small_sequences())
    write_parquet(
        tmp_path / "data/ring/items.parquet",
        pd.DataFrame({c.ITEM: [f"i{i}" for i in range(len(NAMES))], c.TEXT: NAMES}),
    )
    embed(NAMES, ENCODER, tmp_path / VECTORS)
    return tmp_path


def cell(kind: str, **changes: object) -> Cell:
    """A cell that learns something in its first epoch."""
    options = {"alignment": 0.01, "reconstruction_error": "squared"} if kind == "iadsr" else {}
    made = small_cell("gru4rec", kind, "all", options, **{"batch_size": 1, "learning_rate": 0.03, **changes})
    return made.model_copy(update={"encoder": ENCODER.options() if kind == "iadsr" else None})


def record_of(root: Path, made: Cell) -> dict[str, object]:
    record: dict[str, object] = json.loads((root / "runs" / made.address / "record.json").read_text())
    return record


def test_a_control_copies_the_keep_rates_of_its_run(root: Path) -> None:
    for kind in ("none", "iadsr", "random_drop"):
        run_cell(cell(kind), root, "cpu", 1)
    curves = {
        kind: pd.read_csv(root / "runs" / cell(kind).address / "curve.csv")["keep_rate"].tolist()
        for kind in ("iadsr", "random_drop")
    }
    assert curves["random_drop"][0] == 1.0
    assert curves["random_drop"][1:] == pytest.approx(curves["iadsr"][:2], abs=0.05)
    folders = [root / "runs" / cell(kind).address for kind in ("none", "iadsr", "random_drop")]
    collect(read_runs(folders), {"ring": N_ITEMS}, root / "evaluation")
    runs = pd.read_parquet(root / "evaluation" / "runs.parquet")
    assert runs["status"].tolist() == ["done"] * 3


def test_a_control_of_masks_that_are_used_at_once_is_no_epoch_late(root: Path) -> None:
    """IADSR's masks are for the inputs of the next epoch, those of other methods for their own."""
    matched = cell("popularity_drop", learning_rate=0.03).model_copy(update={"method_options": RATE})
    control = cell("random_drop").model_copy(update={"method_options": {"match": matched.method, "remove": "zero"}})
    for made in (matched, control):
        run_cell(made, root, "cpu", 1)
    ours, theirs = (pd.read_csv(root / "runs" / made.address / "curve.csv")["keep_rate"] for made in (control, matched))
    assert theirs.tolist() == pytest.approx([0.6] * 3, abs=0.05)
    assert ours.tolist() == pytest.approx(theirs.tolist(), abs=0.05)


def test_item_vectors_are_made_from_the_texts_of_the_run(root: Path) -> None:
    items = {"items": "text_sum", "items_scale": 1.0, "items_components": 4}
    made = cell("none").model_copy(update={"items": items, "encoder": ENCODER.options()})
    run_cell(made, root, "cpu", 1)
    record = record_of(root, made)
    assert (record["status"], record["cell"]["items"]) == ("done", items)  # type: ignore[index]
    assert "embeddings" in record["inputs"]  # type: ignore[operator]
    run_cell(cell("none"), root, "cpu", 1)
    plain = record_of(root, cell("none"))
    assert record["parameters"] - plain["parameters"] == 8 * 4 + 8  # type: ignore[operator]


def test_the_same_cell_twice_writes_the_same_ranks(root: Path) -> None:
    made = cell("iadsr")
    ranks = root / "runs" / made.address / "ranks.parquet"
    run_cell(made, root, "cpu", 1)
    first, identity = ranks.read_bytes(), record_of(root, made)["identity"]
    for folder in (ranks.parent, root / "scratch"):
        shutil.rmtree(folder)
    run_cell(made, root, "cpu", 1)
    assert ranks.read_bytes() == first
    assert record_of(root, made)["identity"] == identity
    changed = made.model_copy(update={"seed": 3})
    run_cell(changed, root, "cpu", 1)
    assert record_of(root, changed)["identity"] != identity


def train_once(root: Path) -> tuple[Cell, list[Path]]:
    """A trained cell and its files, which are dated as of long ago."""
    made = cell("none", epochs=1)
    run_cell(made, root, "cpu", 1)
    files = sorted((root / "runs" / made.address).iterdir())
    for path in files:
        os.utime(path, (1, 1))
    return made, files


@pytest.mark.parametrize("deleted", [False, True], ids=["as it was", "after a workflow deleted its files"])
def test_a_finished_run_is_not_trained_again(root: Path, monkeypatch: pytest.MonkeyPatch, deleted: bool) -> None:
    """A job that outlived its Snakemake is repeated by the next one."""
    made, files = train_once(root)
    before = [path.read_bytes() for path in files]
    for path in files if deleted else ():
        path.unlink()
    monkeypatch.setattr(run, "train", None)
    run_cell(made, root, "cpu", 1)
    assert [path.read_bytes() for path in files] == before
    assert min(path.stat().st_mtime for path in files) > 1, "else a workflow repeats the job for ever"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("curve.csv", None),
        ("ranks.parquet", None),
        ("record.json", None),
        ("curve.csv", "epoch"),
        ("ranks.parquet", "garbage"),
        *(("record.json", text) for text in ("", "[]", "{}", '{"identity": "another"}')),
    ],
)
def test_an_incomplete_or_different_run_is_trained(root: Path, name: str, damage: str | None) -> None:
    made, files = train_once(root)
    shutil.rmtree(root / "scratch")
    before = record_of(root, made)["identity"]
    path = files[0].with_name(name)
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    run_cell(made, root, "cpu", 1)
    assert min(path.stat().st_mtime for path in files) > 1
    assert record_of(root, made)["identity"] == before


def broken_method(*_: object) -> None:
    raise KeyError("a bug\nof the method")


@pytest.mark.parametrize("place", ["train", "denoised_target"])
def test_a_method_that_raises_is_a_recorded_failure(root: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """The other runs and the report go on, and the next attempt trains it again."""
    made = cell("iadsr", epochs=1)
    with monkeypatch.context() as patched:
        patched.setattr(run, place, broken_method)
        run_cell(made, root, "cpu", 1)
    record = record_of(root, made)
    assert record["status"] == "failed"
    assert re.fullmatch(
        r"KeyError: 'a bug\\nof the method' \(test_run\.py, line \d+, broken_method\)", str(record["reason"])
    )
    folder = root / "runs" / made.address
    assert pd.read_parquet(folder / "ranks.parquet").empty
    run_cell(cell("random_drop", epochs=1), root, "cpu", 1)  # what depends on it ends too
    collect(read_runs([folder, root / "runs" / cell("random_drop").address]), {"ring": N_ITEMS}, root / "evaluation")
    runs = pd.read_parquet(root / "evaluation" / "runs.parquet")
    assert runs["status"].tolist() == ["failed", "untrained"]
    assert read_scores(read_run(folder)).reason == f"failed ({record['reason']})"
    run_cell(made, root, "cpu", 1)
    assert record_of(root, made)["status"] == "done"


def test_a_method_that_exits_is_a_recorded_failure(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "train", Mock(side_effect=SystemExit(3)))
    made = cell("none", epochs=1)
    run_cell(made, root, "cpu", 1)
    assert str(record_of(root, made)["reason"]).startswith("SystemExit: 3")


@pytest.mark.parametrize(
    "error",
    [
        OSError("disk full"),
        MemoryError(),
        DataError("damaged"),
        torch.OutOfMemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
        KeyboardInterrupt(),
    ],
)
def test_what_the_machine_or_the_data_do_is_no_failure_of_the_method(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The job fails, so that the workflow repeats it."""

    def stop(*_: object) -> None:
        raise error

    made = cell("none", epochs=1)
    monkeypatch.setattr(run, "train", stop)
    with pytest.raises(type(error)):
        run_cell(made, root, "cpu", 1)
    assert not (root / "runs" / made.address / "record.json").exists()


def test_threads_and_torch_version_are_part_of_the_identity(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cell("none", epochs=1)
    identities = []
    for threads, version in ((1, "2.13.0"), (2, "2.13.0"), (1, "2.14.0")):
        monkeypatch.setattr(torch, "__version__", version)
        run_cell(made, root, "cpu", threads)
        identities.append(record_of(root, made)["identity"])
    assert len(set(identities)) == 3


def test_divergence_is_recorded_also_for_the_control_that_depends_on_it(root: Path) -> None:
    broken, control = diverging(cell("iadsr")), cell("random_drop")
    for made, status, words in ((broken, "diverged", "not finite"), (control, "untrained", "keep rates")):
        run_cell(made, root, "cpu", 1)
        record = record_of(root, made)
        assert record["status"] == status
        assert words in str(record["reason"])
        assert len(pd.read_parquet(root / "runs" / made.address / "ranks.parquet")) == 0
    collect(
        read_runs([root / "runs" / made.address for made in (broken, control)]), {"ring": N_ITEMS}, root / "evaluation"
    )
    assert pd.read_parquet(root / "evaluation" / "runs.parquet")["status"].tolist() == ["diverged", "untrained"]


def test_run_that_learns_nothing_is_untrained(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written whole, found again, and in no metric; a control does not copy its keep rates."""
    made, control = cell("iadsr", learning_rate=1e-9), cell("random_drop")
    for one in (made, control):
        run_cell(one, root, "cpu", 1)
    record, folder = record_of(root, made), root / "runs" / made.address
    assert record["status"] == "untrained"
    assert re.fullmatch(
        r"at the kept epoch \d the recommendation loss is 3\.\d+: no more than 2% below that of guessing, 3\.689",
        str(record["reason"]),
    )
    assert len(pd.read_parquet(folder / "ranks.parquet")) == len(small_sequences().users)
    assert len(pd.read_csv(folder / "curve.csv")) == 3
    assert record["mask"]["test_keep_rate"] is not None  # type: ignore[index]
    refused = record_of(root, control)
    assert refused["status"] == "untrained"
    assert str(refused["reason"]).startswith(f"the run whose keep rates it copies is untrained: {made.address} (at the")

    evaluation = root / "evaluation"
    collect(read_runs([folder]), {"ring": N_ITEMS}, evaluation)
    metrics = pd.read_parquet(evaluation / "metrics.parquet")
    assert metrics["value"].isna().all() and not metrics["users"].any()
    assert len(pd.read_parquet(evaluation / "curves.parquet")) == 3
    (row,) = pd.read_parquet(evaluation / "runs.parquet").to_dict("records")
    assert row["best_validation"] == record["best_validation"] and row["reason"] == record["reason"]
    scores = read_scores(read_run(folder))
    assert not len(scores.users) and scores.reason == f"untrained ({record['reason']})"
    monkeypatch.setattr(run, "train", None)
    run_cell(made, root, "cpu", 1)
    assert record_of(root, made) == record, "the same inputs come out the same, so it is not trained again"


def test_a_method_is_told_the_dropout_for_a_network_of_its_own(root: Path) -> None:
    made = small_cell("own", "steam", "last", dropout=0.3)
    assert load_data(made, input_files(made, root), torch.device("cpu")).method.dropout == 0.3


def test_missing_inputs_are_named(root: Path) -> None:
    (root / VECTORS).unlink()
    with pytest.raises(DataError, match=rf"{VECTORS} \(embeddings\), which is missing"):
        run_cell(cell("iadsr"), root, "cpu", 1)


def test_the_second_stage_starts_from_what_the_backbone_learned_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first stage is the run of `none`, epoch by epoch."""
    started: list[dict[str, torch.Tensor]] = []
    real = run.train

    def watched(model: Recommender, *rest: object) -> Outcome:
        started.append({name: value.clone() for name, value in model.backbone.state_dict().items()})
        outcome = real(model, *rest)  # type: ignore[arg-type]
        curves.append([row.loss for row in outcome.curve])
        started.append({name: value.clone() for name, value in model.backbone.state_dict().items()})
        return outcome

    curves: list[list[float]] = []
    for module in (run, loop):
        monkeypatch.setattr(module, "train", watched)
    warm = cell("iadsr").model_copy(update={"warm_start": True})
    run_cell(warm, root, "cpu", 1)
    assert len(curves) == 2
    for name, value in started[1].items():
        assert torch.equal(started[2][name], value)
    assert any(not torch.equal(started[0][name], value) for name, value in started[1].items())
    record = record_of(root, warm)
    assert record["seconds"]["stage_one"] > 0  # type: ignore[index]
    assert 0 < record["seconds"]["yardstick"] < 1  # type: ignore[index]
    run_cell(cell("none"), root, "cpu", 1)
    alone = pd.read_csv(root / "runs" / cell("none").address / "curve.csv")["loss"].tolist()
    assert alone == pytest.approx(curves[0])
    assert not list((root / "scratch").glob("*.pt"))


def test_casers_missing_decoder_is_a_recorded_failure(root: Path) -> None:
    made = small_cell(
        "caser", "iadsr", "last", {"variant": "released"}, networks="released", max_length=4, stopping="training"
    ).model_copy(update={"encoder": ENCODER.options()})
    run_cell(made, root, "cpu", 1)
    record = record_of(root, made)
    assert record["status"] == "diverged"
    assert "R7" in str(record["reason"])


def test_a_record_says_what_the_mask_did(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drops, "_OFTEN", 2)
    made = cell("iadsr")
    run_cell(made, root, "cpu", 1)
    record = record_of(root, made)
    assert record["cell"]["texts"] == "names"  # type: ignore[index]
    mask, groups, inflated = (record[name] for name in ("mask", "keep_by_group", "denoised_target"))
    assert isinstance(mask, dict)
    assert 0 < mask["train_drop_precision"] < 1  # the ring's sequences carry noise flags
    assert 0 < mask["untrained_auc"] < 1
    assert mask["untrained_auc"] != mask["noise_auc"]
    assert 0 < mask["train_drop_recall"] < 1
    assert 0 < mask["noise_share"] < 0.5
    assert isinstance(groups, dict)
    kept = groups["train"]
    deciles = [kept[f"decile_{number}"] for number in range(1, 11)]
    total = sum(group["inputs"] for group in deciles)
    rate = sum(group["keep"] * group["inputs"] for group in deciles if group["inputs"]) / total
    assert rate == pytest.approx(mask["train_keep_rate"])
    dropped = record["drops"]
    assert isinstance(dropped, dict)
    assert 0 < len(dropped["least"]) == len(dropped["most"]) and len(dropped["histories"]) == 5
    assert dropped["least"][0]["keep"] < dropped["most"][0]["keep"]
    ranks = pd.read_parquet(root / "runs" / made.address / "ranks.parquet").set_index("user")
    for one in dropped["histories"]:
        assert one["target"] == ranks["target"][one["user"]]
        assert (
            len(one["items"]) == len(one["keep"]) == min(ranks["history_length"][one["user"]], made.settings.max_length)
        )
    assert isinstance(inflated, dict)
    assert set(inflated) == {"HR@5", "NDCG@5", "changed"}
    run_cell(cell("none"), root, "cpu", 1)
    plain = record_of(root, cell("none"))
    assert plain["mask"] is plain["keep_by_group"] is plain["denoised_target"] is plain["drops"] is None


def test_a_method_without_masks_in_training_is_recorded_where_noise_is_known(root: Path) -> None:
    made = small_cell("own", "steam", "last")
    run_cell(made, root, "cpu", 1)
    record = record_of(root, made)
    assert record["status"] != "failed", record["reason"]
    mask = record["mask"]
    assert isinstance(mask, dict)
    assert mask["train_keep_rate"] is mask["train_noise_share"] is mask["train_drop_precision"] is None
    assert 0 < mask["noise_share"] < 0.5 and 0 < mask["noise_auc"] < 1


def test_every_loss_and_traced_figure_reaches_the_curve(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method may report under any name, and name it differently from epoch to epoch."""

    class Reporting(Method):
        def forward(self, table, backbone, batch, keep, noise):  # type: ignore[no-untyped-def]
            encoded = super().forward(table, backbone, batch, keep, noise)
            figures = {"temperature": torch.tensor(0.5)} | ({"late": torch.tensor(2.0)} if self.epoch == 2 else {})
            return replace(encoded, losses={"curriculum": encoded.states.square().mean()}, traced=figures)

        def begin_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    monkeypatch.setattr(recommender, "build_method", lambda *_: Reporting())
    made = cell("none")
    run_cell(made, root, "cpu", 1)
    curve = pd.read_csv(root / "runs" / made.address / "curve.csv")
    assert list(curve)[:4] == ["epoch", "loss", "validation", "seconds"]
    assert curve["temperature"].tolist() == [0.5] * 3
    assert curve["late"].isna().tolist() == [True, False, True]
    parts = curve["loss_recommendation"] + curve["loss_curriculum"]
    assert parts.tolist() == pytest.approx(curve["loss"].tolist(), rel=1e-5)
    collect(read_runs([root / "runs" / made.address]), {"ring": N_ITEMS}, root / "evaluation")
    collected = pd.read_parquet(root / "evaluation" / "curves.parquet")
    assert collected["loss_curriculum"].tolist() == curve["loss_curriculum"].tolist()
    assert collected["late"].isna().tolist() == [True, False, True]


def test_a_record_says_which_vectors_it_read(root: Path) -> None:
    made = cell("iadsr", epochs=1)
    run_cell(made, root, "cpu", 1)
    told = record_of(root, made)["encoder_identity"]
    metadata = read_metadata(root / VECTORS)
    assert isinstance(told, dict)
    assert told.pop("settings") == {"dimension": 6, "seed": 0}
    assert told.pop("dimension") == 6
    assert told == {name: metadata[name] for name in ("encoder", "model", "revision", "pooling", "text_digest")}
    run_cell(cell("none", epochs=1), root, "cpu", 1)
    assert record_of(root, cell("none"))["encoder_identity"] is None


def prefix_cell(root: Path) -> tuple[Cell, Path]:
    """A cell that reads joined names, and their vectors."""
    options = {"interest_text": "prefixes", "alignment": 0.01, "reconstruction_error": "squared"}
    made = small_cell("gru4rec", "iadsr", "all", options, batch_size=1, learning_rate=0.03)
    path = root / "prefixes/ring" / Path(VECTORS).name
    sequences = small_sequences()
    texts = [f"joined {number}" for number in range(50)]
    metadata = embed_with(texts, make_encoder(ENCODER), path, describe_source(ENCODER, NAMES, "names"))
    rows = np.arange(len(sequences.items), dtype=np.int32) % len(texts)
    save_text_rows(path.with_suffix(".npz"), rows, sequences, metadata["text_digest"])
    return made.model_copy(update={"encoder": ENCODER.options()}), path


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the vectors in a file and leave its metadata as they are."""
    save_file({"embeddings": change(load_file(path)["embeddings"])}, path, read_metadata(path))


def with_one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(vectors: np.ndarray) -> np.ndarray:
        vectors[3, 2] = value
        return vectors

    return change


DAMAGED_VECTORS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "NaN": (with_one(np.nan), "1 of .* vectors hold NaN or infinity"),
    "infinity": (with_one(-np.inf), "1 of .* vectors hold NaN or infinity"),
    "too many rows": (lambda vectors: np.concatenate((vectors, vectors[:1])), "one row per text"),
    "too few rows": (lambda vectors: vectors[:-1], "one row per text"),
    "no rows": (lambda vectors: vectors[:0], "one row per text"),
    "too narrow": (lambda vectors: np.ascontiguousarray(vectors[:, :-1]), "one row per text"),
    "float64": (lambda vectors: vectors.astype(np.float64), "holds float64"),
    "float16": (lambda vectors: vectors.astype(np.float16), "holds float16"),
}


@pytest.mark.parametrize("joined", [False, True], ids=["items", "joined names"])
@pytest.mark.parametrize("damage", DAMAGED_VECTORS)
def test_damaged_vectors_are_refused(root: Path, damage: str, joined: bool) -> None:
    made, path = prefix_cell(root) if joined else (cell("iadsr", epochs=1), root / VECTORS)
    change, words = DAMAGED_VECTORS[damage]
    rewrite(path, change)
    with pytest.raises(DataError, match=words) as refused:
        run_cell(made, root, "cpu", 1)
    assert str(refused.value).startswith(f"{path} is damaged (")
    assert f"snakemake --cores 1 --force {path}" in str(refused.value)
    assert not list((root / "runs" / made.address).glob("*"))


@pytest.mark.parametrize("joined", [False, True], ids=["items", "joined names"])
@pytest.mark.parametrize(
    ("names", "encoder", "texts", "words"),
    [
        (NAMES[::-1], {}, "names", "from other item names"),
        ([*NAMES, "another"], {}, "names", "from other item names"),
        (NAMES, {}, "shuffled", r"from other texts than the method reads \(shuffled, not names\)"),
        (NAMES, {"seed": 1}, "names", r'with other encoder settings \(.*"seed": 1.*, not .*"seed": 0'),
        (NAMES, {"kind": "tfidf"}, "names", r"by another encoder \(tfidf, not random\)"),
    ],
)
def test_vectors_of_other_texts_or_encoders_are_refused(
    root: Path, names: list[str], encoder: dict[str, object], texts: Texts, words: str, joined: bool
) -> None:
    made, path = prefix_cell(root) if joined else (cell("iadsr", epochs=1), root / VECTORS)
    described = describe_source(parse_encoder({**ENCODER.options(), **encoder}), names, texts)
    save_file(load_file(path), path, read_metadata(path) | described)
    with pytest.raises(DataError, match=words) as refused:
        run_cell(made, root, "cpu", 1)
    assert str(refused.value).startswith(f"{path} was made ")
    assert f"snakemake --cores 1 --force {path}" in str(refused.value)


def test_sound_joined_names_are_read(root: Path) -> None:
    made, path = prefix_cell(root)
    run_cell(made, root, "cpu", 1)
    record = record_of(root, made)
    assert record["status"] == "done"
    assert record["encoder_identity"]["text_digest"] == read_metadata(path)["text_digest"]  # type: ignore[index]


def test_a_kill_between_record_and_checkpoint_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", -1.0)
    made = cell("none")
    with monkeypatch.context() as patch:
        patch.setattr(run, "_discard", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_cell(made, root, "cpu", 1)
    (checkpoint,) = (root / "scratch").glob("*.pt")
    (root / "scratch" / f".{checkpoint.name}.abcd1234.pt").touch()
    run_cell(made, root, "cpu", 1)
    assert [path.name for path in (root / "scratch").iterdir()] == ["finished"]


def test_two_processes_at_one_run_train_it_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that outlived its Snakemake, and that of the next call; a lock tells threads apart as it does processes."""
    trained = Mock(side_effect=run.train)
    monkeypatch.setattr(run, "train", trained)
    both = [threading.Thread(target=run_cell, args=(cell("none"), root, "cpu", 1)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert trained.call_count == 1
    assert record_of(root, cell("none"))["status"] == "done"
