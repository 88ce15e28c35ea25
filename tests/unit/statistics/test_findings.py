"""The facts behind the report's sentences, on a few rows each."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from iadsr.evaluation.runs import Address
from iadsr.statistics import findings, summaries
from tests.unit.statistics.frames import PAPER, PUBLISHED, SOUGHT, cell, grid_of, one_row, runs_of

PLACE = {"experiment": "main", "dataset": "toys", "protocol": "paper", "backbone": "gru4rec"}


def compared(*rows: dict[str, Any]) -> pd.DataFrame:
    """Comparisons of `iadsr` with `none`, a gain of 10 % each, but for what the rows say."""
    usual = {
        **PLACE, "kind": "method", "ranking": "kept", "metric": "HR@5", "method": "iadsr",
        "baseline_protocol": "paper", "baseline_method": "none", "difference": 0.01, "gain": 0.1,
        "gain_low": 0.05, "gain_high": 0.15, "same_as": "", "outcome": "gain", "headline": True,
    }  # fmt: skip
    return pd.DataFrame([usual | row for row in rows])


def by_method(rows: findings.Rows) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in rows}


def test_tallies_count_outcomes_under_the_headline_rule() -> None:
    table = compared(
        {},
        {"backbone": "caser", "outcome": "loss"},
        {"backbone": "sasrec", "outcome": "untrained", "gain_low": math.nan, "gain_high": math.nan},
        {"method": "random_drop", "outcome": "none"},
        {"outcome": "loss", "headline": False},
        {"outcome": "loss", "kind": "backbones", "backbone": "all"},
        {"outcome": "loss", "kind": "protocol"},
    )
    rows = by_method(findings.tallies(table, [], SOUGHT))
    names = ("gain", "loss", "none", "untrained", "diverged", "failed", "missing", "compared")
    assert [rows["*"][name] for name in names] == [1, 1, 1, 1, 0, 0, 0, 3]
    assert [rows["iadsr"][name] for name in names] == [1, 1, 0, 1, 0, 0, 0, 2]
    assert rows["random_drop"]["none"] == 1 and rows["random_drop"]["gain"] == 0


def test_tallies_are_of_one_experiment_place_metric_and_baseline() -> None:
    changes = {"experiment": "x", "dataset": "d", "protocol": "strong", "metric": "MRR", "baseline_method": "aux_only"}
    table = compared({}, *({name: value} for name, value in changes.items()))
    rows = [row for row in findings.tallies(table, [], SOUGHT) if row["method"] == "*"]
    assert len(rows) == 6 and all(row["gain"] == 1 for row in rows)


def test_methods_are_listed_by_how_well_they_find_noise() -> None:
    rows = [("random_drop", "caser", 0.5), ("iadsr", "caser", 0.6), ("iadsr", "gru4rec", 0.8)]
    table = pd.DataFrame(
        [{**PLACE, "method": name, "backbone": backbone, "noise_auc": auc} for name, backbone, auc in rows]
    )
    place = {name: PLACE[name] for name in ("experiment", "dataset", "protocol")}
    best = [
        {"method": "iadsr", "noise_auc": pytest.approx(0.7), "backbones": 2},
        {"method": "random_drop", "noise_auc": 0.5, "backbones": 1},
    ]
    assert findings.noise_finders(table) == [{**place, "backbones": 2, "methods": best}]
    assert findings.noise_finders(table[:0]) == []


def test_methods_with_the_very_same_runs_count_once() -> None:
    table = compared({"method": "x=1"}, {"method": "x=2", "same_as": "x=1"}, {"method": "x=3", "outcome": "none"})
    row = by_method(findings.tallies(table, [], SOUGHT))["*"]
    assert (row["gain"], row["none"], row["compared"], row["again"]) == (1, 1, 2, 1)


@pytest.mark.parametrize(
    ("low", "high", "counts"),
    [
        (-0.1, 0.2, (0, 0, 0)),
        (-0.1, 0.246, (1, 0, 1)),
        (0.0, 0.3, (1, 0, 1)),
        (0.1, 0.3, (1, 0, 0)),
        (0.246, 0.5, (1, 1, 0)),
        (math.nan, math.nan, (0, 0, 0)),
    ],
)
def test_intervals_are_set_against_the_published_gain(low: float, high: float, counts: tuple[int, ...]) -> None:
    row = by_method(findings.tallies(compared({"gain_low": low, "gain_high": high}), [], SOUGHT))["*"]
    assert (row["reaching"], row["above"], row["undecided"]) == counts


def test_a_backbone_that_cannot_answer_is_not_counted() -> None:
    table = compared({}, {"backbone": "caser"}, {"experiment": "other"})
    floors = [{**PLACE, "answers": False}, {**PLACE, "backbone": "caser", "answers": True}]
    rows = [row for row in findings.tallies(table, floors, SOUGHT) if row["method"] == "*"]
    assert [(row["experiment"], row["gain"]) for row in rows] == [("main", 1), ("other", 1)]
    assert findings.tallies(compared({}), floors, SOUGHT) == []


def test_protocol_and_method_effects_are_under_one_ranking_rule() -> None:
    ndcg = {"metric": "NDCG@10", "ranking": "excluded"}
    protocol = {**ndcg, "kind": "protocol", "method": "none", "protocol": "strong"}
    table = compared(
        {**protocol, "difference": 0.02, "gain": 2.0},
        {**protocol, "backbone": "caser", "difference": 0.028, "gain": 3.0},
        {**protocol, "method": "iadsr", "difference": 9.0, "gain": 9.0},
        {**ndcg, "difference": 0.002},
        {**ndcg, "protocol": "strong", "difference": -0.004},
        {**ndcg, "difference": 9.0, "baseline_method": "aux_only"},
        {**ndcg, "difference": 9.0, "ranking": "kept"},
        {**ndcg, "difference": 9.0, "experiment": "other"},
        {**ndcg, "difference": 9.0, "dataset": "beauty"},
        {**ndcg, "difference": 9.0, "metric": "HR@5"},
    )
    (row,) = findings.protocol_effects(table, "iadsr")
    assert (row["dataset"], row["protocol"], row["baseline_protocol"], row["ranking"]) == (
        "toys", "strong", "paper", "excluded"
    )  # fmt: skip
    assert (row["low"], row["high"]) == (3.0, 4.0)
    assert row["difference"] == pytest.approx(0.024) and row["own_size"] == pytest.approx(0.003)
    assert row["times"] == pytest.approx(8.0)


def test_protocol_effects_without_anything_beside_them() -> None:
    alone = compared({"metric": "NDCG@10", "ranking": "excluded", "kind": "protocol", "method": "none"})
    (row,) = findings.protocol_effects(alone, "iadsr")
    assert row["own_size"] is None and row["times"] is None
    assert findings.protocol_effects(alone.assign(gain=math.nan), "iadsr") == []
    assert findings.protocol_effects(alone.iloc[:0], "iadsr") == []


def reached(*rows: dict[str, Any]) -> pd.DataFrame:
    """Summaries of metrics: NDCG@10 of `none` is 0.1, that of the most popular items 0.05, but for what rows say."""
    usual = {
        **PLACE, "method": "none", "ranking": "kept", "group": "all", "metric": "NDCG@10", "mean": 0.1, "sd": 0.01,
        "gain": math.nan, "popular": 0.05, "headline": True,
    }  # fmt: skip
    return pd.DataFrame([usual | row for row in rows])


POPULAR = {"method": "most_popular", "backbone": "", "mean": 0.05}


def test_backbones_above_the_most_popular_items_are_counted() -> None:
    table = reached(
        {}, {"backbone": "caser", "mean": 0.05}, {"backbone": "sasrec", "mean": math.nan}, POPULAR,
        {"method": "iadsr", "mean": 0.01}, {"headline": False}, {"group": "cold"}, {"metric": "HR@5"},
        {"experiment": "other", "popular": math.nan},
    )  # fmt: skip
    rows = by_method(findings.above_popular(table))
    assert set(rows) == {"none", "iadsr"}
    assert (rows["none"]["above"], rows["none"]["backbones"], rows["none"]["popular"]) == (1, 2, 0.05)
    assert (rows["iadsr"]["above"], rows["iadsr"]["backbones"]) == (0, 1)


RELEASED = grid_of([cell("none"), cell("iadsr_released"), cell("none", protocol="strong")], released=["paper"])


@pytest.mark.parametrize(
    ("rows", "mean", "popular", "answers"),
    [
        ([{}, POPULAR], 0.1, 0.05, True),
        ([{"mean": 0.05}, POPULAR], 0.05, 0.05, False),
        ([{"mean": math.nan}, POPULAR], None, 0.05, False),
        ([POPULAR], None, 0.05, False),
        ([{}], 0.1, None, False),
        ([{}, POPULAR, {"mean": 9.0, "metric": "HR@5"}, {"mean": 9.0, "headline": False}], 0.1, 0.05, True),
    ],
)
def test_the_release_answers_only_above_the_most_popular_items(
    rows: list[dict[str, Any]], mean: float | None, popular: float | None, answers: bool
) -> None:
    (found,) = findings.release_floors([RELEASED], reached(*rows))
    assert found == {**PLACE, "method": "none", "mean": mean, "popular": popular, "answers": answers}


def test_without_none_the_release_s_baseline_must_stand_above() -> None:
    grid = grid_of([cell("iadsr_released")], baseline="iadsr_released", released=["paper"])
    (found,) = findings.release_floors([grid], reached({"method": "iadsr_released"}, POPULAR))
    assert found["method"] == "iadsr_released" and found["answers"]
    assert findings.release_floors([grid_of([cell("none")])], reached({}, POPULAR)) == []


def cells_of(runs: dict[Address, dict[str, Any]], missing: tuple[Address, ...] = ()) -> pd.DataFrame:
    return summaries.expected_cells(grid_of([*runs, *missing]), runs_of(runs))


def test_mask_learning_is_over_runs_whose_noise_is_known() -> None:
    auc = {"noise_auc": 0.7, "untrained_auc": 0.5}
    cells = cells_of(
        {
            cell("iadsr", 0): auc, cell("iadsr", 1): {"noise_auc": 0.4, "untrained_auc": 0.5},
            cell("iadsr", 2): {**auc, "status": "diverged"}, cell("iadsr", 3): {"noise_auc": 0.9},
            cell("random_mask"): auc, cell("iadsr", backbone="caser"): auc,
        }
    )  # fmt: skip
    rows = findings.mask_learning(cells, "iadsr")
    assert [row["backbone"] for row in rows] == ["gru4rec", "caser"]
    assert rows[0] == {**PLACE, "before": 0.5, "after": pytest.approx(0.55), "raised": 1, "runs": 2}
    assert findings.mask_learning(cells_of({cell("iadsr"): {}}), "iadsr") == []


RUNGS = grid_of([cell("none", protocol=name) for name in ("first", "second", "third")], view="ladder")


def test_ladder_ends_and_each_method_s_largest_and_last_difference() -> None:
    table = reached(
        *({"protocol": name, "mean": mean} for name, mean in (("third", 0.4), ("first", 0.1), ("second", 0.2))),
        {"protocol": "first", "method": "iadsr", "mean": 0.12, "gain": 0.2},
        {"protocol": "second", "method": "iadsr", "mean": 0.3, "gain": 0.5},
        {"protocol": "third", "method": "iadsr", "mean": 0.36, "gain": -0.1},
        {"protocol": "third", "method": "lost", "mean": math.nan, "gain": math.nan},
        {**POPULAR, "protocol": "first"},
    )
    (row,) = findings.ladder_ends(RUNGS, table)
    assert (row["first"], row["last"], row["begin"], row["end"]) == (1, 3, 0.1, 0.4)
    (iadsr,) = row["methods"]
    assert iadsr == {
        "method": "iadsr", "most": pytest.approx(0.1), "most_rung": 2, "final": pytest.approx(-0.04), "final_rung": 3
    }  # fmt: skip


def test_a_baseline_on_one_rung_goes_nowhere() -> None:
    assert findings.ladder_ends(RUNGS, reached({"protocol": "first"})) == []
    assert findings.ladder_ends(RUNGS, reached({"protocol": "first"}, {"protocol": "third", "mean": math.nan})) == []


def test_main_gains_are_those_of_the_headline() -> None:
    table = compared(
        {}, {"headline": False}, {"experiment": "x"}, {"kind": "backbones"}, {"method": "random_mask"},
        {"baseline_method": "aux_only"}, {"backbone": "caser", "difference": math.nan},
    )  # fmt: skip
    gains, deviations = findings.main_gains(
        table, reached({}, {"method": "iadsr"}, {"method": "aux_only"}, {"experiment": "x"}, {"group": "cold"}), "iadsr"
    )
    assert len(gains) == 1 and one_row(gains)["difference"] == 0.01
    assert deviations["method"].tolist() == ["none", "iadsr"]


SEEDS = (0, 1, 2)
WHOLE = {cell(method, seed): {} for method in ("none", "iadsr") for seed in SEEDS}
NO_BUDGETS = pd.DataFrame()
FACTS = {"toys": {"reconstructed": False, "tied_share": 0.05}}


def warned(
    runs: dict[Address, dict[str, Any]],
    metrics: pd.DataFrame | None = None,
    budgets: pd.DataFrame = NO_BUDGETS,
    facts: dict[str, dict[str, Any]] = FACTS,
    missing: tuple[Address, ...] = (),
) -> dict[str, dict[str, Any]]:
    """Warnings by code, each of which occurs once."""
    table = reached({}) if metrics is None else metrics
    rows = findings.warnings(cells_of(runs, missing), table, budgets, facts, PUBLISHED)
    assert len({row["code"] for row in rows}) == len(rows)
    return {row.pop("code"): row for row in rows}


def changed(changes: dict[Address, dict[str, Any]]) -> dict[Address, dict[str, Any]]:
    return {one: changes.get(one, {}) for one in WHOLE} | changes


def test_nothing_amiss_is_no_warning() -> None:
    assert warned(WHOLE) == {}


def test_backbones_that_learned_too_little_come_first() -> None:
    """Without a denoiser, in a metric of the claim and under the headline rule, at most the most popular items."""
    low = {"metric": "HR@5", "mean": 0.05}
    table = reached(
        {}, low, low | {"metric": "NDCG@5"}, low | {"backbone": "caser", "mean": 0.06}, low | {"method": "iadsr"},
        low | {"backbone": "sasrec", "metric": "NDCG@10"}, low | {"backbone": "sasrec", "headline": False},
        low | {"backbone": "sasrec", "experiment": "x"}, low | {"backbone": "sasrec", "group": "cold"},
        low | {"backbone": "sasrec", "mean": math.nan},
    )  # fmt: skip
    found = warned(WHOLE, table, facts={"toys": {"reconstructed": False, "tied_share": 0.5}})
    assert list(found) == ["weak", "ties"]
    assert found["weak"] == {"dataset": "toys", "protocol": PLACE["protocol"], "backbones": [PLACE["backbone"]]}


def test_untrained_runs_of_all_experiments_are_warned_of_once() -> None:
    runs = changed({cell("iadsr", seed): {"status": "untrained"} for seed in (1, 2)})
    cells = cells_of(runs)
    beside = cells_of({cell("iadsr", 1): {"status": "untrained"}, cell("soft"): {"status": "untrained"}})
    cells = pd.concat([cells, beside.assign(experiment="other")], ignore_index=True)
    (row,) = (
        one for one in findings.warnings(cells, reached({}), NO_BUDGETS, FACTS, PUBLISHED) if one["code"] == "untrained"
    )
    assert (row["runs"], row["expected"]) == (3, 7)
    place = {name: PLACE[name] for name in ("dataset", "protocol", "backbone")}
    assert row["places"] == [{**place, "method": "iadsr", "seeds": [1, 2]}, {**place, "method": "soft", "seeds": [0]}]


@pytest.mark.parametrize("status", ["diverged", "failed", "missing"])
def test_lost_runs_of_the_main_grid_are_counted(status: str) -> None:
    lost = cell("aux_only")
    runs = WHOLE if status == "missing" else changed({lost: {"status": status}})
    found = warned(runs, missing=(lost,) if status == "missing" else ())
    assert found["lost"] == {"status": status, "runs": 1, "expected": 7}


def test_few_seeds() -> None:
    runs = {one: own for one, own in WHOLE.items() if one.seed < 2}
    assert warned(runs) == {"few_seeds": {"seeds": 2}}
    absent = tuple(one for one in WHOLE if one.seed > 0 and one.method == "none")
    left = {one: own for one, own in WHOLE.items() if one not in absent}
    assert warned(left, missing=absent)["few_seeds"] == {"seeds": 1}, "seeds that are still to be run do not count"


def test_mixed_provenance() -> None:
    assert warned(changed({cell("none", 1): {"dirty": True}})) == {"dirty": {}}
    assert warned(changed({cell("none", 1): {"dirty": None}})) == {}
    assert warned(changed({cell("none", 1): {"commit": "f00"}})) == {"commits": {"commits": 2}}
    assert warned(changed({cell("none", 1): {"commit": None}})) == {"commits": {"commits": 2}}
    assert warned(changed({cell("none", 1): {"device": "cuda"}})) == {"devices": {"datasets": ["toys"]}}
    assert warned(changed({cell("none", 1): {"source_digest": "6d"}})) == {"sources": {"datasets": ["toys"]}}
    assert warned(changed({cell("none", seed): {"source_digest": "6d"} for seed in SEEDS})) == {}, "methods may differ"


@pytest.mark.parametrize("control", ["random_mask", "random_mask_matched", "random_drop"])
def test_a_control_that_drops_less_is_warned_of(control: str) -> None:
    runs = changed({cell("iadsr", seed): {"train_keep_rate": 0.7, "test_keep_rate": 0.7} for seed in SEEDS})
    for rate, expected in ((0.9, True), (0.64, True), (0.74, False)):
        found = warned(runs | {cell(control, seed): {"train_keep_rate": rate} for seed in SEEDS})
        assert set(found) == ({"keep_rate"} if expected else set())
    assert found == {} and warned(runs | {cell("other", seed): {"train_keep_rate": 0.9} for seed in SEEDS}) == {}
    row = warned(runs | {cell(control, seed): {"train_keep_rate": 0.9} for seed in SEEDS})["keep_rate"]
    (one,) = row["backbones"]
    assert (row["method"], one["rate"], one["rate_tested"]) == (control, pytest.approx(0.9), pytest.approx(0.7))


@pytest.mark.parametrize(("rate", "idle"), [(0.995, True), (0.8, False)])
def test_a_mask_that_keeps_everything_at_test_time_is_told(rate: float, idle: bool) -> None:
    runs = changed({cell("iadsr", seed): {"train_keep_rate": 0.7, "test_keep_rate": rate} for seed in SEEDS})
    runs |= {cell("iadsr", seed, backbone="caser"): {"train_keep_rate": 0.8, "test_keep_rate": 1.0} for seed in SEEDS}
    row = warned(runs)["idle"]
    assert row["backbones"] == (["gru4rec", "caser"] if idle else ["caser"])
    assert (row["low"], row["high"], row["bound"]) == (pytest.approx(0.7 if idle else 0.8), pytest.approx(0.8), 0.99)


@pytest.mark.parametrize("method", ["iadsr", "hsd"])
@pytest.mark.parametrize(("rate", "bare"), [(0.02, True), (0.14, True), (0.2, False)])
def test_a_mask_that_keeps_hardly_anything_is_told(rate: float, bare: bool, method: str) -> None:
    runs = changed({cell(method, seed): {"train_keep_rate": 0.3, "test_keep_rate": rate} for seed in SEEDS})
    row = warned(runs).get("bare", {})
    assert (row.get("method"), row.get("backbones")) == ((method, ["gru4rec"]) if bare else (None, None))


def test_masks_are_told_of_by_method_and_a_control_s_is_not() -> None:
    kept = {"train_keep_rate": 0.7, "test_keep_rate": 1.0}
    runs = changed({cell(method, seed): kept for method in ("iadsr", "hsd", "random_mask") for seed in SEEDS})
    rows = findings.warnings(cells_of(runs, ()), reached({}), NO_BUDGETS, FACTS, PUBLISHED)
    assert [(row["code"], row["method"]) for row in rows] == [("idle", "iadsr"), ("idle", "hsd")]


def test_data_and_encoders_that_a_reader_should_know_of() -> None:
    ties = {"toys": {"reconstructed": False, "tied_share": 0.1}}
    assert warned(WHOLE, facts=ties) == {"ties": {"dataset": "toys", "share": 0.1}}
    assert warned(WHOLE, facts={"toys": {"reconstructed": True, "tied_share": 0}}) == {
        "placeholder": {"dataset": "toys"}
    }
    runs = changed({cell("iadsr", seed): {"encoder": "random", "encoder_kind": "random"} for seed in SEEDS})
    assert warned(runs) == {"random_encoder": {"dataset": "toys"}}


def test_budgets_that_are_too_small() -> None:
    usual = {**PLACE, "experiment": "budget", "larger": "double", "method": "none"}
    budgets = pd.DataFrame(
        [
            {**usual, "change": 0.05, "enough": False},
            {**usual, "method": "iadsr", "change": 0.1, "enough": False},
            {**usual, "method": "aux_only", "change": 0.01, "enough": True},
            {**usual, "method": "lost", "change": math.nan, "enough": None},
        ]
    )
    budgets = budgets.assign(change_low=budgets["change"] - 0.5, change_high=budgets["change"] + 0.5)
    assert warned(WHOLE, budgets=budgets)["budget"] == {
        "experiment": "budget", "dataset": "toys", "protocol": "paper", "larger": "double",
        "short": 2, "known": 3,
        "method": "iadsr", "backbone": "gru4rec", "change": 0.1, "change_low": -0.4, "change_high": 0.6,
    }  # fmt: skip
    assert warned(WHOLE, budgets=budgets[budgets["enough"] != False]) == {}  # noqa: E712


def test_nothing_worked() -> None:
    """Every run diverged: warnings, and nothing else to tell."""
    runs = {one: {"status": "diverged", "reason": "NaN", "best_epoch": None} for one in WHOLE}
    nothing = {
        "outcome": "diverged",
        **dict.fromkeys(("difference", "gain", "gain_low", "gain_high"), math.nan),
    }
    table = compared(nothing)
    assert warned(runs) == {"lost": {"status": "diverged", "runs": 6, "expected": 6}}
    row = by_method(findings.tallies(table, [], SOUGHT))["*"]
    assert (row["diverged"], row["compared"], row["reaching"]) == (1, 0, 0)
    assert findings.protocol_effects(table, "iadsr") == findings.mask_learning(cells_of(runs), "iadsr") == []


def test_rows_are_plain_values() -> None:
    table = pd.DataFrame(
        {"a": pd.array([1, None], "Int64"), "b": [math.inf, 0.5], "c": [True, False], "d": ["x", None]}
    )
    first, second = findings.rows_of(table)
    assert first == {"a": 1, "b": None, "c": True, "d": "x"} and second["a"] is None
    assert type(first["a"]) is int and type(second["b"]) is float and type(first["c"]) is bool


def test_runs_that_vary_unevenly_are_warned_of_among_all_that_were_tested() -> None:
    def table(*rows: tuple[str, str, str, float], **changes: Any) -> pd.DataFrame:
        columns = ["backbone", "kind", "metric", "p_even"]
        rest = {"experiment": "main", "dataset": "toys", "protocol": "strong", "headline": True}
        return pd.DataFrame(rows, columns=columns).assign(**rest, **changes)

    rows = [("gru4rec", "method", "HR@5", 0.02), ("gru4rec", "method", "NDCG@5", 0.5)]
    rows.append(("all", "backbones", "HR@5", 0.9))
    assert findings.uneven_runs(table(*rows), PAPER.metrics) == [], "of three tests one is likely to be as small"
    twice = [*rows[:1], *rows]  # several pairs of a place are one test
    twice[0] = twice[1] = ("gru4rec", "method", "HR@5", 0.01)
    found = findings.uneven_runs(table(*twice), PAPER.metrics)
    place = {"dataset": "toys", "protocol": "strong", "backbone": "gru4rec"}
    assert found == [{**place, "p_even": 0.01, "code": "uneven"}]
    for passed_over in (
        table(("gru4rec", "protocol", "HR@5", 0.0)),
        table(("gru4rec", "method", "HR@20", 0.0)),
        table(("gru4rec", "method", "HR@5", math.nan)),
        table(*twice).assign(experiment="other"),
        table(*twice).assign(headline=False),
    ):
        assert findings.uneven_runs(passed_over, PAPER.metrics) == []
