"""What each method reached, on tables whose means can be worked out by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from iadsr.core import columns as c
from iadsr.evaluation.runs import Address
from iadsr.statistics import summaries
from iadsr.statistics.grids import Grid
from tests.unit.statistics.frames import (
    EXCLUDED,
    cell,
    curves_of,
    grid_of,
    keep_of,
    metrics_of,
    one_row,
    popularity_of,
    runs_of,
)

METHODS = ("none", "iadsr", "random_mask")
CELLS = [cell(method, seed) for method in METHODS for seed in (0, 1, 2)]
GRID = grid_of(CELLS)
LOST = {
    cell("iadsr", 1): {"status": "diverged", "reason": "loss is NaN"},
    cell("random_mask", 0): {"status": "untrained", "reason": "2 %"},
    cell("random_mask", 1): {"status": "untrained", "reason": "2 %"},
}
GONE = [cell("iadsr", 2), cell("random_mask", 2)]
HR5 = {
    cell("none", 0): 0.1, cell("none", 1): 0.2, cell("none", 2): 0.6,
    cell("iadsr", 0): 0.3, cell("iadsr", 1): 9.0,
    cell("random_mask", 0): 9.0, cell("random_mask", 1): 9.0,
}  # fmt: skip
POPULAR = popularity_of({"HR@5": 0.25})


def cells_of(
    lost: dict[Address, dict[str, object]] = LOST, gone: list[Address] = GONE, grid: Grid = GRID
) -> pd.DataFrame:
    runs = {one: lost.get(one, {}) for one in grid.cells if one not in gone}
    return summaries.expected_cells(grid, runs_of(runs))


def done_cells(grid: Grid = GRID, **by_method: dict[str, object]) -> pd.DataFrame:
    """All runs are done; `by_method` gives entries of a method's runs."""
    return cells_of({one: by_method.get(one.method, {}) for one in grid.cells}, [], grid)


def metrics(values: dict[Address, float], metric: str = "HR@5") -> pd.DataFrame:
    return metrics_of({one: {metric: value} for one, value in values.items()})


def test_expected_cells_have_the_reason_of_those_that_lack() -> None:
    cells = cells_of()
    assert list(cells[summaries.ADDRESS].itertuples(index=False, name=None)) == CELLS
    assert (cells["experiment"] == "main").all()
    found = {Address(*key): (status, reason) for *key, status, reason in cells[
        [*summaries.ADDRESS, "status", "reason"]].itertuples(index=False, name=None)}  # fmt: skip
    assert found[cell("none", 0)] == ("done", "")
    assert found[cell("iadsr", 1)] == ("diverged", "loss is NaN")
    assert found[cell("iadsr", 2)] == ("missing", "no run record in the results tree")


def test_runs_of_other_grids_and_cells_named_twice_change_nothing() -> None:
    runs = runs_of({**{one: {} for one in CELLS}, cell("other"): {}})
    assert len(summaries.expected_cells(grid_of([*CELLS, *CELLS[:2]]), runs)) == len(CELLS)


def test_sides_say_what_is_lost_reasons_together() -> None:
    states = summaries.side_states(cells_of(), "none").set_index("method")
    assert states.index.tolist() == list(METHODS), "in the order given"
    assert states["seeds_done"].tolist() == [3, 1, 0] and (states["seeds_expected"] == 3).all()
    assert states["status"].tolist() == ["done", "done", "untrained"]
    assert states["note"].tolist() == [
        "",
        "seed 1 diverged: loss is NaN; seed 2 missing: no run record in the results tree",
        "seeds 0, 1 untrained: 2 %; seed 2 missing: no run record in the results tree",
    ]
    later = summaries.side_states(cells_of({cell("none", 0): {"status": "failed"}}, []), "none")
    assert one_row(later, method="none")["status"] == "done", "as long as one seed is"
    led = summaries.side_states(cells_of(), METHODS[1])["method"].tolist()
    assert led == [METHODS[1], METHODS[0], *METHODS[2:]], "the baseline leads"


def test_means_leave_out_runs_that_are_not_done_and_gains_use_common_seeds() -> None:
    table = summaries.metric_summaries(GRID, cells_of(), metrics(HR5), POPULAR)
    none, iadsr = (one_row(table, method=method, ranking="kept") for method in ("none", "iadsr"))
    assert none["mean"] == pytest.approx(0.3) and none["sd"] == pytest.approx(math.sqrt(0.07))
    assert (none["seeds"], none["users"]) == (3, 9) and math.isnan(none["gain"])
    assert iadsr["mean"] == 0.3 and math.isnan(iadsr["sd"]) and iadsr["seeds"] == 1
    assert iadsr["gain"] == pytest.approx(0.3 / 0.1 - 1), "seed 0 alone is on both sides"
    assert "random_mask" not in set(table["method"])


def test_gain_is_the_ratio_of_means() -> None:
    values = {**dict.fromkeys(CELLS, 0.1), cell("none", 0): 0.4, cell("iadsr", 1): 0.6}
    table = summaries.metric_summaries(GRID, done_cells(), metrics(values), POPULAR)
    assert one_row(table, method="iadsr", ranking="kept")["gain"] == pytest.approx(0.8 / 0.6 - 1)
    values = {one: 0.0 if one.method == "none" else 0.1 for one in CELLS}
    zero = summaries.metric_summaries(GRID, done_cells(), metrics(values), POPULAR)
    assert zero["gain"].isna().all()


def test_values_that_are_not_finite_are_in_no_mean() -> None:
    values = metrics({**HR5, cell("none", 1): math.nan, cell("none", 2): math.inf})
    none = one_row(summaries.metric_summaries(GRID, cells_of(), values, POPULAR), method="none", ranking="kept")
    assert (none["mean"], none["seeds"]) == (0.1, 1)


def test_headline_and_best_and_what_the_most_popular_items_reach() -> None:
    values = {one: 0.2 if one.method == "iadsr" else 0.1 for one in CELLS}
    table = summaries.metric_summaries(GRID, done_cells(), metrics(values), POPULAR)
    assert set(table.loc[table["headline"], "ranking"]) == {"kept"}
    assert table.groupby("method")["best"].all().to_dict() == {
        "iadsr": True, "most_popular": False, "none": False, "random_mask": False
    }  # fmt: skip
    popular = one_row(table, method="most_popular", ranking="excluded")
    assert (popular["backbone"], popular["mean"], popular["users"]) == ("", EXCLUDED * 0.25, 9)
    assert table.loc[table["ranking"] == "kept", "popular"].dropna().tolist() == [0.25] * 3


def test_equally_good_methods_are_all_best_and_groups_have_no_popular_mark() -> None:
    values = metrics_of({one: {"HR@5": 0.1} for one in CELLS}, group="cold", users=2)
    table = summaries.metric_summaries(GRID, done_cells(), values, POPULAR)
    cold = table[table["group"] == "cold"]
    assert cold["best"].all() and cold["popular"].isna().all() and (cold["users"] == 2).all()


def test_an_empty_group_keeps_its_row() -> None:
    """No user in the group: no mean, and no best one."""
    values = metrics_of({one: {"HR@5": None} for one in CELLS}, group="cold", users=0)
    table = summaries.metric_summaries(GRID, done_cells(), values, POPULAR)
    cold = table[table["group"] == "cold"]
    assert len(cold) == 2 * len(METHODS) and (cold["users"] == 0).all()
    assert cold["mean"].isna().all() and not cold["best"].any()


CURVES = curves_of(
    {
        cell("none", 0): {"loss": [9.0, 8.0, 7.0], "validation": [0.1, 0.3, 0.2], "seconds": [1.0] * 3},
        cell("none", 1): {"loss": [6.0, 5.0, 4.0], "validation": [0.1, 0.2, 0.4], "seconds": [1.0] * 3},
        cell("iadsr", 0): {"loss": [3.0, 2.0, 1.0], "keep_rate": [0.9, 0.8, None]},
    }
)


def test_costs_and_what_was_logged_at_the_kept_epoch() -> None:
    lost = {
        cell("none", 0): {"best_epoch": 2, "seconds_total": 10.0},
        cell("none", 1): {"best_epoch": 3, "seconds_total": 30.0},
        cell("iadsr", 0): {"best_epoch": 2, "seconds_total": 50.0, "train_keep_rate": 0.75},
        **{one: {"status": "untrained", "train_keep_rate": 0.1} for one in CELLS if one.method == "random_mask"},
    }
    cells = cells_of(lost, [cell("none", 2), cell("iadsr", 1), cell("iadsr", 2)])
    table = summaries.run_summaries(cells, CURVES, ["train_keep_rate", "gate_share"], "none")
    found = {(method, name): (mean, seeds) for method, name, mean, seeds in table[
        ["method", "quantity", "mean", "seeds"]].itertuples(index=False, name=None)}  # fmt: skip
    assert found["none", "loss"] == (6.0, 2), "8 at epoch 2, 4 at epoch 3"
    assert found["iadsr", "loss"] == (2.0, 1) and found["iadsr", "keep_rate"] == (0.8, 1)
    assert found["none", "seconds_total"] == (20.0, 2) and found["none", "best_epoch"] == (2.5, 2)
    assert found["iadsr", "times_baseline"] == (2.5, 1) and found["none", "times_baseline"] == (1.0, 2)
    assert found["iadsr", "train_keep_rate"] == (0.75, 1)
    names = {name for _, name in found}
    assert not names & {"gate_share", "validation", "seconds", "epoch"}
    assert {method for method, _ in found} == {"none", "iadsr"}


def test_a_figure_of_both_runs_and_curves_counts_each_seed_once() -> None:
    seeds = [cell("iadsr", seed) for seed in (0, 1)]
    cells = cells_of({one: {"best_epoch": 1, "gate_share": 0.2 + 0.2 * one.seed} for one in seeds}, [])
    curves = curves_of({one: {"gate_share": [0.2 + 0.2 * one.seed]} for one in seeds})
    gate = one_row(summaries.run_summaries(cells, curves, ["gate_share"], "none"), quantity="gate_share")
    assert (gate["seeds"], gate["mean"]) == (2, pytest.approx(0.3))
    assert gate["sd"] == pytest.approx(0.2 / math.sqrt(2))


def test_cold_inputs_are_set_against_popular_ones_seed_by_seed() -> None:
    shares = {
        cell("iadsr", 0): {"train": {"cold": 0.5, "decile_1": None, "decile_10": 0.7}},
        cell("iadsr", 1): {"train": {"cold": 0.8, "decile_1": None, "decile_10": 0.7}},
        cell("iadsr", 2): {"train": {"cold": None, "decile_1": None, "decile_10": 0.7}},
        cell("random_mask", 0): {"test": {"cold": 0.9, "decile_10": 0.9}},
        cell("none", 0): {"test": {"cold": None, "decile_10": 0.9}},
    }
    table = summaries.keep_summaries(done_cells(), keep_of(shares))
    cold = one_row(table, method="iadsr", group="cold")
    assert (cold["mean"], cold["seeds"], cold["inputs"]) == (0.65, 2, 5) and math.isnan(cold["below"])
    gap = one_row(table, method="iadsr", group="cold minus decile_10")
    assert gap["mean"] == pytest.approx(-0.05) and gap["sd"] == pytest.approx(0.3 / math.sqrt(2))
    assert (gap["seeds"], gap["below"]) == (2, 1)
    nothing = one_row(table, group="decile_1")
    assert (nothing["inputs"], nothing["seeds"]) == (0, 0) and math.isnan(nothing["mean"])
    assert set(table.loc[table["method"] == "none", "group"]) == {"cold", "decile_10"}, "no seed has both ends"
    assert one_row(table, method="random_mask", group="cold minus decile_10")["below"] == 0
    lost = summaries.keep_summaries(cells_of({cell("iadsr", 0): {"status": "untrained"}}, []), keep_of(shares))
    assert one_row(lost, method="iadsr", group="cold")["mean"] == 0.8, "an untrained run is in no mean"


def test_denoised_targets_stand_beside_the_honest_ones_with_history_kept() -> None:
    grid = grid_of([cell(method, seed, "strong") for method in ("none", "iadsr") for seed in (0, 1)])
    cells = cells_of(
        {
            cell("iadsr", 0, "strong"): {"denoised_hr5": 0.4},
            cell("iadsr", 1, "strong"): {"denoised_hr5": 0.2},
        },
        [],
        grid,
    )
    honest = metrics({one: 0.1 if one.seed else 0.3 for one in grid.cells})
    table = summaries.denoised_targets(cells, honest, {"denoised_hr5": "HR@5", "denoised_ndcg5": "NDCG@5"})
    found = one_row(table, method="iadsr", metric="HR@5")
    assert found["honest_mean"] == pytest.approx(0.2), "history kept, though the protocol excludes it"
    assert found["denoised_mean"] == pytest.approx(0.3) and found["denoised_sd"] == pytest.approx(math.sqrt(0.02))
    assert found["inflation"] == pytest.approx(0.5)
    assert (found["seeds"], found["ranking"], len(table)) == (2, "kept", 1)


def test_the_head_of_a_list_may_be_bought_with_its_tail() -> None:
    values = {
        cell("none", 0): {"HR@5": 0.10, "HR@20": 0.40},
        cell("none", 1): {"HR@5": 0.20, "HR@20": 0.50},
        cell("none", 2): {"HR@5": 0.20, "HR@20": 0.50},
        cell("iadsr", 0): {"HR@5": 0.14, "HR@20": 0.35},
        cell("iadsr", 1): {"HR@5": 0.22, "HR@20": 0.51},
        cell("random_mask", 0): {"HR@5": 0.09, "HR@20": 0.30},
        cell("random_mask", 1): {"HR@5": 0.30, "HR@20": None},
    }
    cells = cells_of({}, [cell("iadsr", 2), cell("random_mask", 2)])
    table = metrics_of(values)
    table[c.VALUE] = table[c.VALUE].where(table[c.RANKING] == "kept", 1 - table[c.VALUE])
    table = summaries.head_for_tail(GRID, cells, table).set_index("method")
    iadsr, random = table.loc["iadsr"], table.loc["random_mask"]
    assert iadsr["HR@5 gain"] == pytest.approx(0.36 / 0.30 - 1)
    assert iadsr["HR@20 gain"] == pytest.approx(0.86 / 0.90 - 1)
    assert (iadsr["shown"], iadsr["seeds_shown"], iadsr["seeds"]) == (True, 1, 2)
    assert (random["shown"], random["seeds_shown"], random["seeds"]) == (False, 0, 1)
    assert "none" not in table.index


@pytest.mark.parametrize("left", [[], [cell("iadsr", seed) for seed in range(3)]], ids=["nothing", "no baseline"])
def test_every_summary_stands_where_runs_are_lost(left: list[Address]) -> None:
    cells = cells_of({one: {"status": "diverged", "reason": "NaN"} for one in CELLS if one not in left}, [])
    values = metrics(HR5 | {cell("iadsr", 1): 0.3, cell("iadsr", 2): 0.3})
    table = summaries.metric_summaries(GRID, cells, values, POPULAR)
    assert set(table["method"]) == {"most_popular", *(one.method for one in left)}
    assert table["gain"].isna().all()
    quantities = summaries.run_summaries(cells, CURVES, ["train_keep_rate"], "none")
    assert set(quantities["method"]) == {one.method for one in left}
    assert "times_baseline" not in set(quantities["quantity"])
    shares = {cell("none", 0): {"train": {"cold": 0.5, "decile_10": 0.7}}}
    assert summaries.keep_summaries(cells, keep_of(shares)).empty
    assert summaries.denoised_targets(cells, values, {"denoised_hr5": "HR@5"}).empty
    assert summaries.head_for_tail(GRID, cells, values).empty
    assert summaries.side_states(cells, "none")["seeds_done"].sum() == len(left)


def test_no_mask_and_no_curve_are_empty_tables() -> None:
    cells = done_cells()
    assert summaries.keep_summaries(cells, keep_of({})).empty
    quantities = summaries.run_summaries(cells, CURVES.iloc[:0], ["train_keep_rate"], "none")
    assert set(quantities["quantity"]) == {*summaries.COSTS, "times_baseline"}


def test_drops_are_those_of_the_first_seed_that_is_done() -> None:
    lost = {cell("iadsr", 0): LOST[cell("iadsr", 1)]}
    cells = summaries.expected_cells(GRID, runs_of({one: (LOST | lost).get(one, {}) for one in CELLS}))
    drops = pd.DataFrame([{**one._asdict(), "part": "least"} for one in CELLS if one.method != "none"])
    table = summaries.first_drops(cells, drops)
    assert dict(zip(table["method"], table["seed"], strict=True)) == {"iadsr": 2, "random_mask": 2}
