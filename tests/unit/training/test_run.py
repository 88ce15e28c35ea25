"""A cell's files: complete after success, explained after divergence, refused without inputs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from iadsr.core.config import Cell
from iadsr.core.errors import DataError, IadsrError
from iadsr.evaluation.collect import collect
from iadsr.sequences.split import save_sequences
from iadsr.training.run import choose_device, run_cell
from tests.helpers import N_ITEMS, small_cell, small_sequences


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save_sequences(tmp_path / "sequences/ring/sequences.npz", small_sequences())
    (tmp_path / "embeddings/ring").mkdir(parents=True)
    vectors = np.random.default_rng(0).normal(size=(N_ITEMS, 6)).astype(np.float32)
    save_file({"embeddings": vectors}, str(tmp_path / "embeddings/ring/random.safetensors"))
    return tmp_path


def cell(kind: str, **changes: object) -> Cell:
    made = small_cell("gru4rec", kind, "all", **changes)
    return made.model_copy(update={"encoder": {"kind": "random"} if kind == "iadsr" else None})


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
    collect(folders, {"ring": N_ITEMS}, root / "evaluation")
    runs = pd.read_parquet(root / "evaluation" / "runs.parquet")
    assert runs["status"].tolist() == ["done"] * 3


def test_the_same_cell_twice_writes_the_same_ranks(root: Path) -> None:
    made = cell("iadsr")
    ranks = root / "runs" / made.address / "ranks.parquet"
    run_cell(made, root, "cpu", 1)
    first, identity = ranks.read_bytes(), record_of(root, made)["identity"]
    run_cell(made, root, "cpu", 1)
    assert ranks.read_bytes() == first
    assert record_of(root, made)["identity"] == identity
    changed = made.model_copy(update={"seed": 3})
    run_cell(changed, root, "cpu", 1)
    assert record_of(root, changed)["identity"] != identity


def test_divergence_is_recorded_also_for_the_control_that_depends_on_it(root: Path) -> None:
    broken, control = cell("iadsr", learning_rate=1e30), cell("random_drop")
    run_cell(broken, root, "cpu", 1)
    run_cell(control, root, "cpu", 1)
    for made, words in ((broken, "not finite"), (control, "keep rates")):
        record = record_of(root, made)
        assert record["status"] == "diverged"
        assert words in str(record["reason"])
        assert len(pd.read_parquet(root / "runs" / made.address / "ranks.parquet")) == 0
    collect([root / "runs" / made.address for made in (broken, control)], {"ring": N_ITEMS}, root / "evaluation")
    assert pd.read_parquet(root / "evaluation" / "runs.parquet")["status"].tolist() == ["diverged"] * 2


def test_missing_inputs_and_devices_are_named(root: Path) -> None:
    (root / "embeddings/ring/random.safetensors").unlink()
    with pytest.raises(DataError, match=r"random\.safetensors"):
        run_cell(cell("iadsr"), root, "cpu", 1)
    assert choose_device("cpu").type == "cpu"
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(IadsrError, match="device: auto"):
            choose_device("cuda")
