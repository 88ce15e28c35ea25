"""Rungs, spreads, budgets and curves, by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from iadsr.evaluation.runs import Address
from iadsr.statistics import summaries, views
from iadsr.statistics.grids import Grid
from tests.unit.statistics.frames import cell, curves_of, grid_of, metrics_of, one_row, runs_of


def cells_of(grid: Grid, entries: dict[Address, dict[str, Any]] | None = None) -> pd.DataFrame:
    """Every run of the grid is done, but for these entries."""
    return summaries.expected_cells(grid, runs_of({one: (entries or {}).get(one, {}) for one in grid.cells}))


def metrics(values: dict[Address, float], metric: str = "HR@5") -> pd.DataFrame:
    return metrics_of({one: {metric: value} for one, value in values.items()})


RUNGS = ("paper", "middle", "strong")
LADDER = grid_of([cell(m, seed, p) for p in RUNGS for m in ("none", "iadsr") for seed in (0, 1)], view="ladder")


def test_rung_factor_is_ratio_of_baselines_on_common_seeds() -> None:
    values = dict.fromkeys(LADDER.cells, 9.0) | {
        cell("none", 0, "paper"): 0.1, cell("none", 1, "paper"): 0.3,
        cell("none", 0, "middle"): 0.2,
        cell("none", 0, "strong"): 0.6, cell("none", 1, "strong"): 0.1,
    }  # fmt: skip
    cells = cells_of(LADDER, {cell("none", 1, "middle"): {"status": "diverged"}})
    table = views.rung_factors(LADDER, cells, metrics(values))
    assert table[["protocol", "rung", "method"]].to_numpy().tolist() == [["middle", 2, "none"], ["strong", 3, "none"]]
    assert table["factor"].tolist() == pytest.approx([2.0, 3.0])


def test_rung_factor_is_under_one_ranking_rule() -> None:
    """Else the rule of `paper`, history kept, would be set against history excluded."""
    values = metrics(dict.fromkeys(LADDER.cells, 0.1))
    assert views.rung_factors(LADDER, cells_of(LADDER), values)["factor"].tolist() == pytest.approx([1, 1])


def test_a_lost_rung_has_no_factor() -> None:
    lost = {cell("none", seed, "middle"): {"status": "failed"} for seed in (0, 1)}
    table = views.rung_factors(LADDER, cells_of(LADDER, lost), metrics(dict.fromkeys(LADDER.cells, 0.1)))
    assert table.empty and "factor" in table


TIES = ("ties1", "ties2")
SPREAD = grid_of([cell(m, seed, p) for p in TIES for m in ("none", "iadsr") for seed in (0, 1)], view="spread")


def test_a_ladder_of_one_rung_has_no_factor() -> None:
    grid = LADDER._replace(cells=[one for one in LADDER.cells if one.protocol == "strong"])
    table = views.rung_factors(grid, cells_of(grid), metrics(dict.fromkeys(grid.cells, 0.1)))
    assert table.empty
    assert {"protocol", "metric", "rung", "factor"} <= {*table}


def test_spread_is_over_the_means_of_protocols() -> None:
    values = {
        cell("none", 0, "ties1"): 0.1, cell("none", 1, "ties1"): 0.3, cell("none", 0, "ties2"): 0.4,
        cell("none", 1, "ties2"): 0.4, cell("iadsr", 0, "ties1"): 0.2, cell("iadsr", 1, "ties1"): 0.4,
        cell("iadsr", 0, "ties2"): 0.9, cell("iadsr", 1, "ties2"): 0.3,
    }  # fmt: skip
    cells = cells_of(SPREAD, {cell("iadsr", 0, "ties2"): {"status": "diverged"}})
    table = views.spreads(SPREAD, cells, metrics({one: value / 10 for one, value in values.items()}))
    none = one_row(table, method="none", minus="")
    assert none["mean"] == pytest.approx(0.3) and (none["min"], none["max"]) == pytest.approx((0.2, 0.4))
    assert none["sd"] == pytest.approx(0.2 / math.sqrt(2)) and none["protocols"] == 2
    assert none["seed_sd"] == pytest.approx(math.sqrt((0.02 + 0) / 2)), "variances within protocols, pooled"
    iadsr = one_row(table, method="iadsr", minus="")
    assert iadsr["seed_sd"] == pytest.approx(math.sqrt(0.02)), "one seed alone has no variance"
    difference = one_row(table, method="iadsr", minus="none")
    # ties1: 0.1 in both seeds; ties2: 0.3 - 0.4 in seed 1
    assert difference["mean"] == pytest.approx(0) and difference["sd"] == pytest.approx(0.2 / math.sqrt(2))
    assert difference["seed_sd"] == pytest.approx(0, abs=1e-9)
    assert len(table) == 3


def test_one_protocol_has_no_spread() -> None:
    grid = grid_of([cell("none", seed, "ties1") for seed in (0, 1)], view="spread")
    table = views.spreads(grid, cells_of(grid), metrics(dict.fromkeys(grid.cells, 0.1)))
    assert math.isnan(table["sd"].iloc[0]) and table["protocols"].tolist() == [1]


PLACE = {"dataset": "toys", "backbone": "gru4rec", "metric": "HR@5"}


def clear(difference: float, spread: list[dict[str, Any]], main: tuple[float, ...] = ()) -> pd.Series:
    """Whether a gain is clear of these spreads."""
    gains = pd.DataFrame([{**PLACE, "protocol": "paper", "difference": difference}])
    main_sd = pd.DataFrame([{**PLACE, "sd": value} for value in main], columns=[*PLACE, "sd"]).astype({"sd": "float64"})
    return views.clear_gains(pd.DataFrame([{**PLACE, "minus": "", **one} for one in spread]), gains, main_sd).iloc[0]


def test_a_gain_is_clear_above_twice_the_larger_spread_of_both_methods() -> None:
    spread = [{"sd": 0.01, "seed_sd": 0.03}, {"sd": 0.02, "seed_sd": 0.01}, {"sd": 9, "seed_sd": 9, "minus": "none"}]
    for difference, protocols, seeds in (
        (0.07, True, True),
        (0.05, True, False),
        (0.04, False, False),
        (-1, False, False),
    ):
        found = clear(difference, spread)
        assert (found["clear_of_protocols"], found["clear_of_seeds"]) == (protocols, seeds), difference
        assert (found["protocol_sd"], found["seed_sd"]) == (0.02, 0.03)


def test_with_one_seed_the_main_grid_s_spread_over_seeds_counts() -> None:
    spread = [{"sd": 0.01, "seed_sd": math.nan}]
    found = clear(0.05, spread, (0.01, 0.03))
    assert (found["seed_sd"], found["clear_of_protocols"], found["clear_of_seeds"]) == (0.03, True, False)
    found = clear(0.05, spread, (math.nan,))
    assert found["clear_of_seeds"] is None and found["clear_of_protocols"]
    found = clear(0.05, [{"sd": math.nan, "seed_sd": math.nan}])
    assert found["clear_of_protocols"] is None and found["clear_of_seeds"] is None


def test_gains_that_the_spread_does_not_cover_have_no_row() -> None:
    gains = pd.DataFrame([{**PLACE, "backbone": "caser", "protocol": "paper", "difference": 1.0}])
    spread = pd.DataFrame([{**PLACE, "minus": "", "sd": 0.1, "seed_sd": 0.1}])
    assert views.clear_gains(spread, gains, pd.DataFrame(columns=[*PLACE, "sd"])).empty


PAIR = ("paper", "double")
BUDGET = grid_of(
    [cell(m, seed, p) for p in PAIR for m in ("none", "iadsr", "random_mask") for seed in (0, 1)],
    view="budget",
    longer=[PAIR],
)


def budgets(changes: dict[str, tuple[float, float]], lost: dict[Address, dict[str, Any]] | None = None) -> pd.DataFrame:
    """A larger budget multiplies validation NDCG@10 of 0.1 and 0.2 (seeds 0 and 1) by these factors."""
    entries: dict[Address, dict[str, Any]] = {}
    for one in BUDGET.cells:
        factor = changes.get(one.method, (1.0, 1.0))[one.seed] if one.protocol == "double" else 1.0
        epochs = {"best_epoch": 30, "epochs": 40} if one.protocol == "double" else {}
        entries[one] = {"best_validation": (0.1, 0.2)[one.seed] * factor, **epochs, **(lost or {}).get(one, {})}
    return views.budget_changes(BUDGET, cells_of(BUDGET, entries)).set_index("method")


def test_a_budget_is_too_small_if_a_larger_one_raises_validation_by_more() -> None:
    table = budgets({"iadsr": (1.05, 1.05), "random_mask": (1.02, 1.02), "none": (0.5, 0.5)})
    assert table["change"].tolist() == pytest.approx([-0.5, 0.05, 0.02])
    assert table["enough"].tolist() == [True, False, True]
    row = table.loc["iadsr"]
    assert (row["usual_mean"], row["larger_mean"]) == pytest.approx((0.15, 0.1575))
    assert (row["usual_kept_epoch"], row["usual_epochs"], row["larger_kept_epoch"], row["larger_epochs"]) == (
        10,
        20,
        30,
        40,
    )
    assert (row["protocol"], row["larger"], row["seeds"], row["note"]) == ("paper", "double", 2, "")


def test_the_change_is_that_of_the_means() -> None:
    row = budgets({"none": (2.0, 1.0)}).loc["none"]
    assert row["change"] == pytest.approx(0.4 / 0.3 - 1)
    assert row["change_sd"] == pytest.approx(1 / math.sqrt(2))


def test_the_interval_of_a_change_pools_the_spread_of_all_methods() -> None:
    """Seeds' changes: 0 and 1, 0 and 0, 0.1 and 0.1; one degree of freedom each."""
    table = budgets({"none": (1.0, 2.0), "random_mask": (1.1, 1.1)})
    half = stats.t.ppf(0.975, 3) * math.sqrt(0.5 / 3 / 2)
    assert (table["change_high"] - table["change"]).tolist() == pytest.approx([half] * 3)
    assert (table["change"] - table["change_low"]).tolist() == pytest.approx([half] * 3)
    alone = budgets({}, {cell("none", 0): {"status": "diverged"}}).loc["none"]
    assert alone["change_high"] == 0, "a method of one seed takes the spread of the others"
    one_seed = {cell(m, 1, p): {"status": "diverged"} for p in PAIR for m in ("none", "iadsr", "random_mask")}
    assert budgets({}, one_seed)[["change_low", "change_high"]].isna().all(axis=None)


def test_budgets_are_compared_on_seeds_that_are_done_under_both() -> None:
    lost = {cell("none", 1, "double"): {"status": "diverged", "reason": "NaN"}}
    lost |= {cell("iadsr", seed, "paper"): {"status": "failed", "reason": "it"} for seed in (0, 1)}
    table = budgets({"none": (1.1, 9.0)}, lost)
    row = table.loc["none"]
    assert (row["seeds"], row["usual_mean"], row["change"]) == pytest.approx((1, 0.1, 0.1)) and row["enough"] is False
    assert row["status"] == "done"
    assert row["note"] == "double: seed 1 diverged: NaN"
    row = table.loc["iadsr"]
    assert row["seeds"] == 0 and math.isnan(row["change"]) and row["enough"] is None and row["status"] == "missing"
    assert row["note"] == "paper: seeds 0, 1 failed: it"


def test_runs_that_trained_equally_long_say_nothing() -> None:
    """As under a run file's `max_epochs`."""
    table = budgets({"none": (2.0, 2.0)}, {one: {"epochs": 15} for one in BUDGET.cells})
    assert table["enough"].tolist() == [None] * 3


def test_budgets_where_every_run_diverged() -> None:
    table = budgets({}, {one: {"status": "diverged", "best_epoch": None} for one in BUDGET.cells})
    assert (table["seeds"] == 0).all() and table["enough"].tolist() == [None] * 3


FINDING = grid_of([cell(m, seed) for m in ("none", "iadsr", "oracle") for seed in (0, 1)], view="detection")


def found_by(**figures: tuple[float, float]) -> dict[Address, dict[str, Any]]:
    """What IADSR's runs of seeds 0 and 1 recorded; the oracle's are perfect."""
    perfect = {"noise_auc": 1.0, "drop_precision": 1.0, "drop_recall": 1.0, "test_keep_rate": 0.8, "noise_share": 0.2}
    own = {cell("iadsr", seed): {name: pair[seed] for name, pair in figures.items()} for seed in (0, 1)}
    return own | {cell("oracle", seed): perfect for seed in (0, 1)}


def test_detections_are_means_over_the_seeds_that_are_done() -> None:
    entries = found_by(
        noise_auc=(0.5, 0.7), untrained_auc=(0.5, 0.4), drop_precision=(0.25, 0.35), drop_recall=(0.5, 0.1),
        test_keep_rate=(0.6, 0.8), noise_share=(0.2, 0.2),
    )  # fmt: skip
    table = views.detections(cells_of(FINDING, entries)).set_index("method")
    assert list(table.index) == ["iadsr", "oracle"], "a method that drops nothing finds nothing"
    own = table.loc["iadsr"]
    names = [
        "noise_auc",
        "noise_auc_least",
        "noise_auc_most",
        "untrained_auc",
        "drop_precision",
        "drop_recall",
        "dropped",
        "noise_share",
        "lift",
    ]
    assert own[names].tolist() == pytest.approx([0.6, 0.5, 0.7, 0.45, 0.3, 0.3, 0.3, 0.2, 1.5])
    assert own["seeds"] == 2 and own["noise_auc_sd"] == pytest.approx(0.2 / math.sqrt(2))
    assert table.loc["oracle", ["lift", "dropped"]].tolist() == pytest.approx([5, 0.2])
    one = cell("iadsr", 1)
    lost = views.detections(cells_of(FINDING, entries | {one: {**entries[one], "status": "untrained"}}))
    assert lost.set_index("method").loc["iadsr", ["noise_auc", "seeds"]].tolist() == [0.5, 1]


def test_detections_where_no_noise_is_known() -> None:
    assert views.detections(cells_of(FINDING, {})).empty


def test_curves_are_means_over_the_seeds_that_are_done_or_else_over_all() -> None:
    grid = grid_of([cell(method, seed) for method in ("none", "iadsr") for seed in (0, 1)])
    lost = {cell("none", 1): {"status": "untrained"}}
    lost |= {cell("iadsr", seed): {"status": "diverged"} for seed in (0, 1)}
    curves = curves_of(
        {
            cell("none", 0): {"loss": [4.0, 2.0], "seconds": [1.0, 1.0]},
            cell("none", 1): {"loss": [9.0, 9.0]},
            cell("iadsr", 0): {"loss": [6.0, math.nan]},
            cell("iadsr", 1): {"loss": [8.0, 5.0, 3.0], "keep_rate": [0.5, None, None]},
        }
    )
    table = views.curve_means(cells_of(grid, lost), curves)
    found = table.set_index(["method", "quantity", "epoch"])[["mean", "least", "most", "seeds"]]
    assert {key: tuple(row) for key, row in zip(found.index, found.to_numpy(), strict=True)} == {
        ("none", "loss", 1): (4, 4, 4, 1),
        ("none", "loss", 2): (2, 2, 2, 1),
        ("iadsr", "loss", 1): (7, 6, 8, 2),
        ("iadsr", "loss", 2): (5, 5, 5, 1),
        ("iadsr", "loss", 3): (3, 3, 3, 1),
        ("iadsr", "keep_rate", 1): (0.5, 0.5, 0.5, 1),
    }
    both = views.curve_means(cells_of(grid), curves)
    assert one_row(both, method="none", quantity="loss", epoch=1)["mean"] == 6.5
