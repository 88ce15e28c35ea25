"""The page of an experiment with view `budget`: is training long enough?"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from iadsr.reporting.budgets import budget_rows, budget_sentences, budget_warnings
from iadsr.reporting.experiment import Experiment, experiments_of
from iadsr.reporting.load import load_all
from iadsr.reporting.page import build_report
from tests.unit.reporting.reading import read, rows_of, section_of
from tests.unit.reporting.synthetic import SETTINGS, TEMPLATES, experiment, grid, make_tree

ML = "movielens-100k"
PAIR = ("paper", "paper_double")
METHODS = ["none", "iadsr", "random_mask"]
CELLS = grid(protocols=PAIR, backbones=["gru4rec", "sasrec"], methods=METHODS, seeds=[0, 1, 2])
MAIN = [cell for cell in CELLS if cell[1] == "paper"]
GIVEN = {"budget": experiment("budget", CELLS, pairs=[PAIR])}
DIVERGED = [(ML, "paper_double", "sasrec", "random_mask", seed) for seed in (0, 1, 2)]
DIVERGED.append((ML, "paper_double", "gru4rec", "random_mask", 2))
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A tree in which a larger budget multiplies validation NDCG@10 of 0.1, 0.2 and 0.3 by these factors."""

    def made(factors: dict[tuple[str, str], float]) -> Path:
        make_tree(tmp_path, CELLS, DIVERGED, epochs=2, experiments=GIVEN)
        path = tmp_path / "evaluation" / "runs.parquet"
        runs = pd.read_parquet(path)
        base = runs["seed"].map({0: 0.1, 1: 0.2, 2: 0.3})
        factor = [
            factors.get((backbone, method), 1.0) if protocol == "paper_double" else 1.0
            for backbone, method, protocol in zip(runs["backbone"], runs["method"], runs["protocol"], strict=True)
        ]
        runs["best_validation"] = base * factor
        runs.loc[runs["protocol"] == "paper_double", ["best_epoch", "epochs"]] = 30, 40
        runs.to_parquet(path)
        return tmp_path

    return made


def told(root: Path) -> Experiment:
    _, grids = load_all(root, MAIN, {"budget": CELLS})
    return experiments_of(GIVEN, grids, SETTINGS)[0]


def test_rows_hold_the_seeds_that_are_done_under_both(make: Make) -> None:
    root = make({("gru4rec", "iadsr"): 1.05, ("gru4rec", "random_mask"): 1.02})
    rows = {(row.backbone, row.method): row for row in budget_rows(told(root), ML, PAIR)}
    assert list(rows) == [(backbone, method) for backbone in ("gru4rec", "sasrec") for method in METHODS]
    row = rows["gru4rec", "iadsr"]
    assert row.usual.values == pytest.approx({0: 0.1, 1: 0.2, 2: 0.3}) and row.change == pytest.approx(0.05)
    assert (row.usual.kept_epoch, row.usual.epochs, row.larger.kept_epoch, row.larger.epochs) == (12, 20, 30, 40)
    assert row.enough is False and row.note == ""
    row = rows["gru4rec", "random_mask"]
    assert sorted(row.usual.values) == sorted(row.larger.values) == [0, 1], "seed 2 diverged"
    assert row.enough is True and row.change == pytest.approx(0.02)
    assert row.note == "“paper_double”: seed 2 diverged: loss is NaN at epoch 3"
    assert rows["sasrec", "random_mask"].enough is None and rows["sasrec", "random_mask"].changes == []


def test_the_change_is_that_of_the_means(make: Make) -> None:
    root = make({})
    path = root / "evaluation" / "runs.parquet"
    runs = pd.read_parquet(path)
    at = (runs["protocol"] == "paper_double") & (runs["method"] == "none") & (runs["backbone"] == "gru4rec")
    runs.loc[at & (runs["seed"] == 0), "best_validation"] = 0.2
    runs.to_parquet(path)
    row = budget_rows(told(root), ML, PAIR)[0]
    assert row.change == pytest.approx(0.7 / 0.6 - 1) and row.changes == pytest.approx([1.0, 0.0, 0.0])


def test_budgets_that_are_large_enough(make: Make) -> None:
    one = told(make({("sasrec", "none"): 1.019, ("gru4rec", "iadsr"): 0.9}))
    assert budget_sentences(one) == [
        f"{ML}, “paper” against “paper_double”: the budget is large enough for 5 pairs of backbone and method; a "
        "larger one raises validation NDCG@10 by +1.9\u202f% at most (none with SASRec). 1 pair could not be compared."
    ]
    assert budget_warnings([one]) == []


def test_a_larger_budget_that_raises_nothing_is_said_to(make: Make) -> None:
    everyone = {(backbone, method): 0.9 for backbone in ("gru4rec", "sasrec") for method in METHODS}
    (said,) = budget_sentences(told(make(everyone)))
    assert "a larger one raises validation NDCG@10 for none. 1 pair" in said


def test_runs_that_trained_equally_long_say_nothing(make: Make) -> None:
    """As under a run file's `max_epochs`."""
    root = make({})
    path = root / "evaluation" / "runs.parquet"
    pd.read_parquet(path).assign(epochs=15).to_parquet(path)
    (said,) = budget_sentences(told(root))
    assert said.endswith("“paper_double”: 6 pairs could not be compared.")


def test_budgets_that_are_too_small_are_warned_of(make: Make) -> None:
    root = make({("gru4rec", "iadsr"): 1.05, ("sasrec", "none"): 1.1})
    out = root / "report" / "index.html"
    build_report(root, MAIN, SETTINGS, TEMPLATES, out, GIVEN)
    text = out.read_text(encoding="utf-8")
    read(text)
    said = (
        f"{ML}, “paper” against “paper_double”: the budget is too small for 2 of 5 pairs of backbone and method, whose "
        "validation NDCG@10 rises by more than 2\u202f%: none with SASRec +10.0\u202f% and IADSR with GRU4Rec "
        "+5.0\u202f%. 1 pair could not be compared."
    )
    assert f"Training budget: {said}" in text[: text.index("</aside>")]
    part = section_of(text, "experiments")
    assert said in part
    rows = {tuple(row[:2]): row[2:] for row in rows_of(part, f"experiment-budget-budget-{ML}-paper")}
    assert rows["GRU4Rec", "IADSR"][1:] == [
        "0.2100 ±\u202f0.1050", "+5.0\u202f% ±\u202f0.0\u202f%", "12.0 of 20.0", "30.0 of 40.0", "no", "3",
    ]  # fmt: skip
    assert rows["GRU4Rec", "none"][5] == "yes"
    assert "diverged" in rows["SASRec", "IADSR, random mask"][0]
    stored = pd.read_csv(root / "report" / "tables" / f"experiment-budget-budget-{ML}-paper.csv")
    stored = stored.set_index(["backbone", "method"])
    assert stored.loc[("sasrec", "none"), "relative_change"] == pytest.approx(0.1)
    assert stored.loc[("gru4rec", "iadsr"), "paper_double mean"] == pytest.approx(0.21)
    label = re.search(r'aria-label="(paper to paper_double[^"]*)"', part)
    assert label and "GRU4Rec, IADSR: +5.0\u202f%" in label.group(1) and "no seed" in label.group(1)
    assert ">budget too small<" in part.replace("> ", ">").replace(" <", "<")


def test_nothing_is_known(tmp_path: Path) -> None:
    make_tree(tmp_path, CELLS, "all", epochs=2, experiments=GIVEN)
    assert budget_sentences(told(tmp_path)) == [f"{ML}, “paper” against “paper_double”: 6 pairs could not be compared."]
    build_report(tmp_path, MAIN, SETTINGS, TEMPLATES, tmp_path / "index.html", GIVEN)
