"""A run that is copied from another is the run that training makes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from iadsr.config.cell import Cell
from iadsr.config.encoders import embeddings_name, parse_encoder
from iadsr.config.reuse import earlier_runs
from iadsr.conformance.examples import planted_sequences
from iadsr.core import columns as c
from iadsr.embeddings.store import embed
from iadsr.formats.tables import write_parquet
from iadsr.sequences.split import save_sequences
from iadsr.training import run
from iadsr.training.run import run_cell
from tests.helpers import small_cell

ENCODER = parse_encoder({"kind": "random", "dimension": 6})
THETAS = [-1.5, -0.9, -0.3, 0.0, 0.3, 0.9, 1.5, 2.0]
VARIANTS: dict[str, dict[str, Any]] = {
    "a gate per user": {"objective": "last"},
    "a gate per position": {"objective": "all", "average": 0.9},
    "a random mask": {"objective": "last", "options": {"mask": "random"}},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sequences, _ = planted_sequences()
    names = [f"item {number}" for number in range(sequences.n_items)]
    save_sequences(tmp_path / "sequences/ring/sequences.npz", sequences)
    items = pd.DataFrame({c.ITEM: names, c.TEXT: names})
    write_parquet(tmp_path / "data/ring/items.parquet", items)
    embed(names, ENCODER, tmp_path / f"embeddings/ring/{embeddings_name(ENCODER.options())}.safetensors")
    return tmp_path


def sweep(objective: str = "last", options: dict[str, Any] | None = None, **changes: Any) -> list[Cell]:
    cells, changes = [], {"epochs": 2, "learning_rate": 0.03, **changes}
    for theta in THETAS:
        made = small_cell("gru4rec", "iadsr", objective, {**(options or {}), "theta": theta}, **changes)
        cells.append(made.model_copy(update={"method": f"iadsr-theta={theta}", "encoder": ENCODER.options()}))
    return cells


def train(root: Path, cells: list[Cell]) -> dict[str, dict[str, Any]]:
    """Run a sweep as the workflow does, each cell after those that it waits for; return the records by address."""
    earlier = earlier_runs(cells)
    for cell in sorted(cells, key=lambda cell: len(earlier.get(cell.address, ()))):
        run_cell(cell, root, "cpu", 1, earlier.get(cell.address, ()))
    return {cell.address: record_of(root, cell) for cell in cells}


def record_of(root: Path, cell: Cell) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((root / "runs" / cell.address / c.RECORD).read_text())
    return record


def outcome(root: Path, cell: Cell) -> tuple[bytes, str, dict[str, Any]]:
    """Everything of a run but when it was trained, how long that took, and that it was copied."""
    folder, record = root / "runs" / cell.address, record_of(root, cell)
    timed = ("commit", "seconds", "peak_memory_mb", "reused_from", "files")
    curve = pd.read_csv(folder / c.CURVE).drop(columns="seconds").to_csv()
    return (folder / c.RANKS).read_bytes(), curve, {key: value for key, value in record.items() if key not in timed}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_copied_run_is_the_one_that_training_makes(root: Path, name: str) -> None:
    cells = sweep(**VARIANTS[name])
    records = train(root, cells)
    copied = [cell for cell in cells if records[cell.address]["reused_from"]]
    assert 0 < len(copied) < len(cells) - 1
    before = {cell.address: outcome(root, cell) for cell in copied}
    trained = [outcome(root, cell)[0] for cell in cells if cell not in copied]
    assert len(set(trained)) == len(trained), "no run was trained twice"
    for folder in ("runs", "scratch"):
        shutil.rmtree(root / folder)
    for cell in copied:
        run_cell(cell, root, "cpu", 1)
        assert record_of(root, cell)["reused_from"] is None
        assert outcome(root, cell) == before[cell.address]


def test_a_copy_says_what_it_was_copied_from_and_is_not_made_twice(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = sweep()
    records = train(root, cells)
    originals = {record["reused_from"] for record in records.values()} - {None}
    assert all(records[address]["reused_from"] is None for address in originals), "a copy names what was trained"
    copied = next(cell for cell in cells if records[cell.address]["reused_from"])
    assert records[copied.address]["cell"] == json.loads(json.dumps(copied.record))
    original = records[records[copied.address]["reused_from"]]
    assert original["files"] == records[copied.address]["files"]
    assert original["identity"] != records[copied.address]["identity"]
    monkeypatch.setattr(run, "train", None)
    run_cell(copied, root, "cpu", 1)
    assert record_of(root, copied) == records[copied.address]


@pytest.mark.parametrize("damage", ["another seed", "other code", "changed ranks", "no record"])
def test_a_run_that_is_not_the_same_is_not_copied(root: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier runs that are missing, damaged or made from something else cost time and nothing else."""
    other, closed = (cell for cell in sweep() if cell.method_options["theta"] in (1.5, 2.0))
    run_cell(other, root, "cpu", 1)
    folder = root / "runs" / other.address
    if damage == "another seed":
        other = other.model_copy(update={"seed": 1})
        shutil.copytree(folder, root / "runs" / other.address)
    elif damage == "other code":
        monkeypatch.setattr(run, "source_digest", lambda files: "other")
    elif damage == "changed ranks":
        (folder / c.RANKS).write_bytes(b"")
    else:
        (folder / c.RECORD).unlink()
    run_cell(closed, root, "cpu", 1, [other])
    assert record_of(root, closed)["reused_from"] is None
