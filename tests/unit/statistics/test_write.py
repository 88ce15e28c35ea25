"""The stage as a whole, on a small results folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from iadsr.core import columns as c
from iadsr.core.errors import DataError
from iadsr.evaluation.drops import TYPES as DROP_TYPES
from iadsr.evaluation.runs import Address, Run, runs_below
from iadsr.formats.statistics import FINDINGS, STATISTICS
from iadsr.statistics import write
from iadsr.statistics.compare import Scores, comparison_tables
from iadsr.statistics.grids import Grid
from iadsr.statistics.write import derive_tables, provenance, write_statistics
from tests.unit.statistics.frames import (
    PUBLISHED,
    SOUGHT,
    SUMMARY,
    cell,
    curves_of,
    grid_of,
    keep_of,
    metrics_of,
    one_row,
    popularity_of,
    runs_of,
    write_run,
)

MAIN = [
    cell(method, seed, protocol) for protocol in ("paper", "strong") for method in ("none", "iadsr") for seed in (0, 1)
]
SOFT = [cell("soft", seed) for seed in (0, 1)]
TIES = [cell(m, seed, p) for p in ("ties1", "ties2") for m in ("none", "iadsr") for seed in (0, 1)]
LONGER = [cell("none", seed, "double") for seed in (0, 1)]
GRIDS = [
    grid_of(MAIN),
    grid_of([*MAIN[:4], *SOFT], name="masks", baseline="iadsr", compare=[("*", "iadsr")]),
    grid_of(TIES, name="ties", view="spread"),
    grid_of(MAIN, name="ladder", view="ladder"),
    grid_of([*MAIN[:2], *LONGER], name="budget", view="budget", longer=[("paper", "double")]),
]
CELLS = list(dict.fromkeys(one for grid in GRIDS for one in grid.cells))
STRAY = cell("stray")
METRICS = ("HR@5", "HR@20", "NDCG@5", "NDCG@10")


def evaluated(cells: list[Address], **changes: Any) -> dict[str, pd.DataFrame]:
    """Evaluation's tables of these runs, each of which is as `changes` say."""
    rng = np.random.default_rng(0)
    masked = [one for one in cells if one.method != "none"]
    return {
        "runs": runs_of({one: dict(changes) for one in cells}),
        "metrics": metrics_of({one: dict(zip(METRICS, rng.uniform(0.1, 0.2, 4), strict=True)) for one in cells}),
        "curves": curves_of({one: {"loss": list(rng.uniform(1, 2, 20)), "seconds": [1.0] * 20} for one in cells}),
        "keep": keep_of({one: {"test": {"cold": 0.5, "decile_10": 0.7}} for one in masked}),
        "drops": pd.DataFrame([one._asdict() for one in masked], columns=[*c.ADDRESS, *DROP_TYPES]),
        "inputs": pd.DataFrame([{**one._asdict(), "name": "sequences", "digest": one.protocol} for one in cells]),
        "popularity": popularity_of(dict.fromkeys(METRICS, 0.15)),
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A results folder with all runs of `GRIDS` and one that belongs to none."""
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "data/toys").mkdir(parents=True)
    for name, table in evaluated([*CELLS, STRAY]).items():
        table.to_parquet(tmp_path / "evaluation" / f"{name}.parquet")
    (tmp_path / "data/toys/summary.json").write_text(json.dumps(SUMMARY | {"tied_share": 0.5}))
    rng = np.random.default_rng(1)
    shifts = {"ties1": 1, "ties2": 2}  # other test items, as when ties in time are broken at random
    for one in CELLS:
        write_run(tmp_path / "runs", one, rng.integers(1, 30, 12), shift=shifts.get(one.protocol, 0))
    return tmp_path


def test_stage_writes_every_table_and_reads_each_run_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Address] = []

    def counting(run: Run) -> Scores:
        read.append(run.address)
        return original(run)

    original = write.read_scores
    monkeypatch.setattr(write, "read_scores", counting)
    write_statistics(root, GRIDS, runs_below(root), PUBLISHED)
    assert sorted(read) == sorted(CELLS)
    assert sorted(path.name for path in (root / "statistics").iterdir()) == sorted(
        [FINDINGS, *(f"{name}.parquet" for name in STATISTICS)]
    )
    tables = {name: pd.read_parquet(root / "statistics" / f"{name}.parquet") for name in STATISTICS}
    names = [grid.name for grid in GRIDS]
    for name, expected in {
        **dict.fromkeys(("cells", "sides", "metrics", "quantities", "curves"), names),
        "comparisons": ["main", "masks", "ties", "ladder"],  # the experiment on budgets has one method
        "tails": ["main", "masks", "ties", "ladder"],
        "keep": ["main", "masks", "ties", "ladder"],
        "drops": ["main"],
        "rungs": ["ladder"], "spreads": ["ties"], "clear_gains": ["ties"], "budgets": ["budget"],
        "denoised": [], "encoders": [],
    }.items():  # fmt: skip
        found = list(dict.fromkeys(tables[name]["experiment"])) if len(tables[name]) else []
        assert found == expected, name
    found = json.loads((root / "statistics" / FINDINGS).read_text())
    assert found["unexpected_runs"] == 1
    assert {row["code"] for row in found["warnings"]} == {"weak", "few_seeds", "ties"}
    assert {row["experiment"] for row in found["tallies"]} == {"main", "masks", "ties", "ladder"}
    assert found["protocol_effects"] and found["above_popular"] and found["ladders"] and not found["floors"]
    compared = {name: tables[name] for name in ("comparisons", "cold_comparisons")}
    pd.testing.assert_frame_equal(
        tables["metrics"].query("experiment == 'main'"),
        derive_tables(GRIDS[:1], evaluated(CELLS), compared, facts(), PUBLISHED)[0]["metrics"],
        check_exact=True,
        check_dtype=False,
    )


def facts() -> dict[str, dict[str, Any]]:
    return {"toys": {"tied_share": 0.0, "reconstructed": False}}


def test_statistics_of_the_same_runs_have_the_same_bytes(root: Path) -> None:
    written = []
    for _ in range(2):
        write_statistics(root, GRIDS, runs_below(root), PUBLISHED)
        written.append({path.name: path.read_bytes() for path in (root / "statistics").iterdir()})
    assert written[0] == written[1]


def test_an_expected_run_that_evaluation_has_not_seen_is_missing(root: Path) -> None:
    more = [*MAIN, cell("soft", 0, "strong")]
    write_statistics(root, [grid_of(more)], runs_below(root), PUBLISHED)
    sides = pd.read_parquet(root / "statistics" / "sides.parquet")
    row = one_row(sides, method="soft")
    assert (row["status"], row["note"]) == ("missing", "seed 0 missing: no run record in the results tree")
    comparisons = pd.read_parquet(root / "statistics" / "comparisons.parquet")
    assert set(comparisons.loc[comparisons["method"] == "soft", "outcome"]) == {"missing"}


def test_missing_and_damaged_files_are_named(root: Path) -> None:
    (root / "data/toys/summary.json").write_text(json.dumps(SUMMARY | {"tied_share": "many"}))
    with pytest.raises(DataError, match=r"summary\.json is damaged"):
        write_statistics(root, GRIDS, runs_below(root), PUBLISHED)
    (root / "runs" / str(CELLS[0]) / "ranks.parquet").unlink()
    with pytest.raises(DataError, match=r"has no ranks\.parquet"):
        write_statistics(root, GRIDS, runs_below(root), PUBLISHED)
    table = pd.read_parquet(root / "evaluation/keep.parquet").drop(columns="inputs")
    table.to_parquet(root / "evaluation/keep.parquet")
    with pytest.raises(DataError, match=r"keep\.parquet.*inputs"):
        write_statistics(root, GRIDS, runs_below(root), PUBLISHED)
    (root / "evaluation/runs.parquet").unlink()
    with pytest.raises(DataError, match=r"runs\.parquet is missing"):
        write_statistics(root, GRIDS, runs_below(root), PUBLISHED)


@pytest.mark.parametrize("grids", [GRIDS, [grid_of([cell("none")])], [grid_of([cell("iadsr")])]])
@pytest.mark.parametrize("status", ["diverged", "done"])
def test_tables_stand_whatever_was_run(grids: list[Grid], status: str, tmp_path: Path) -> None:
    """Nothing done, one method alone, no baseline."""
    cells = [one for grid in grids for one in grid.cells]
    lost = {"best_epoch": None, "reason": "NaN"} if status == "diverged" else {}
    inputs = evaluated(list(dict.fromkeys(cells)), status=status, **lost)
    tables, found = derive_tables(grids, inputs, comparison_tables(grids, {}, SOUGHT), facts(), PUBLISHED)
    assert set(tables) == set(STATISTICS)
    assert len(tables["cells"]) == len(cells)
    assert (tables["sides"]["status"] == status).all()
    json.dumps(found)
    for name, table in tables.items():
        write.write_parquet(tmp_path / f"{name}.parquet", table)


def test_provenance_counts_each_run_once_and_parts_main_from_others() -> None:
    runs = runs_of({one: {"commit": "f00" if one in SOFT else "c0ffee", "dirty": None} for one in CELLS})
    tables, _ = derive_tables(
        GRIDS, {**evaluated(CELLS), "runs": runs}, comparison_tables(GRIDS, {}, SOUGHT), facts(), PUBLISHED
    )
    found = {(row.part, row.commit): row.runs for row in tables["environments"].itertuples()}
    assert found == {("main", "c0ffee"): 8, ("others", "f00"): 2, ("others", "c0ffee"): 10}
    digests = {row.digest: row.runs for row in tables["digests"].itertuples()}
    assert digests == {"paper": 4, "strong": 4}, "of the main experiment"


def test_provenance_names_each_encoder_with_its_texts() -> None:
    encoder = {
        "encoder": "minilm", "encoder_kind": "minilm", "encoder_model": "m", "encoder_revision": "r1",
        "encoder_pooling": "mean", "encoder_dimension": "4", "encoder_text_digest": "b", "encoder_options": "",
    }  # fmt: skip
    changes = {0: {}, 1: {"encoder_text_digest": "a"}, 2: {"encoder_revision": "r2"}}
    cells = runs_of({cell("none"): {}, **{cell("iadsr", seed): {**encoder, **own} for seed, own in changes.items()}})
    inputs = evaluated([cell("none")])["inputs"]
    table = provenance(cells.assign(experiment="main"), inputs)["encoders"]
    first, second = (one_row(table, encoder_revision=name) for name in ("r1", "r2"))
    assert (first["text_digests"], first["runs"]) == ("a, b", 2)
    assert (second["text_digests"], second["runs"], second["experiment"]) == ("b", 1, "main")
    assert len(table) == 2 and table["details"].tolist() == ["m, revision r1", "m, revision r2"]
