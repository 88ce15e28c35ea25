from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from iadsr.core.errors import DataError
from iadsr.core.files import file_digest
from iadsr.evaluation.runs import Address, read_run
from iadsr.statistics import compare
from iadsr.statistics.compare import (
    COLUMNS,
    Scores,
    compare_all,
    comparison_tables,
    group_by_side,
    plan_comparisons,
    pool_spreads,
    read_scores,
    scores_of,
)
from iadsr.statistics.crossed import Contrast, Spreads, compare_crossed, holm, pool_runs
from iadsr.statistics.grids import Grid
from tests.unit.statistics.frames import SOUGHT, cell, ranks, write_run

USERS = 40
AGAINST_NONE = (("*", "none"),)
# what no other method's runs bear on
ESTIMATES = ["mean", "baseline_mean", "difference", "gain", "effect", "wins", "ties", "losses", "seed_sd", "seeds"]
CONTROLLED = (*AGAINST_NONE, ("iadsr", "random_mask"), ("iadsr", "aux_only"))


def grid(cells: Iterable[Address], *pairs: tuple[str, str], name: str = "main") -> Grid:
    """A grid in which `paper` has the history kept; its methods are compared with `none` unless pairs are given."""
    cells = list(cells)
    rankings = {cell.protocol: "kept" if cell.protocol == "paper" else "excluded" for cell in cells}
    return Grid(name, "table", "none", pairs or AGAINST_NONE, cells, rankings)


def compare_in(grids: dict[str, tuple[list[Scores], tuple[tuple[str, str], ...]]]) -> pd.DataFrame:
    """Comparisons of several grids, each with its runs and pairs."""
    made = [grid([run.address for run in runs], *pairs, name=name) for name, (runs, pairs) in grids.items()]
    scores = {run.address: run for runs, _ in grids.values() for run in runs}
    return compare_all(made, scores, SOUGHT)


def compare_runs(runs: list[Scores], *pairs: tuple[str, str], name: str = "main") -> pd.DataFrame:
    """Comparisons of one grid of these runs."""
    return compare_in({name: (runs, pairs)})


def run(
    method: str,
    seed: int = 0,
    rank: float | list[float] = 1.0,
    *,
    protocol: str = "paper",
    backbone: str = "gru4rec",
    reason: str | None = None,
) -> Scores:
    values = [] if reason else [rank] * USERS if isinstance(rank, (int, float)) else rank
    return scores_of(Address("toys", protocol, backbone, method, seed), ranks(values), reason)


def some_run(rng: np.random.Generator, method: str, seed: int = 0, **where: str) -> Scores:
    """A run that ranks its targets at random."""
    return run(method, seed, list(rng.integers(1, 30, USERS).astype(float)), **where)


def row(table: pd.DataFrame, metric: str = "HR@5", **where: str) -> pd.Series:
    chosen = table[(table["metric"] == metric) & (table["ranking"] == where.pop("ranking", "excluded"))]
    for name, value in where.items():
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_plan() -> None:
    methods = ("none", "iadsr", "random_mask", "random_drop")
    cells = [Address("d", p, "b", m, seed) for p in ("paper", "strong") for m in methods for seed in (0, 1)]
    cells += [Address("d", "strong", "b", m, 0) for m in ("aux_only", "iadsr-theta=-0.5")]
    planned = plan_comparisons(grid(cells, ("*", "none"), ("iadsr", "random_mask"), ("iadsr", "aux_only")))
    found = [(k, s.protocol, s.method, b.protocol, b.method) for k, s, b in planned]
    assert len(found) == len(set(found))
    assert set(found) == {
        ("method", "paper", "iadsr", "paper", "none"),
        ("method", "paper", "iadsr", "paper", "random_mask"),
        ("method", "paper", "iadsr", "paper", "aux_only"),  # not in the grid: the row will say so
        ("method", "paper", "random_mask", "paper", "none"),
        ("method", "paper", "random_drop", "paper", "none"),
        ("method", "strong", "iadsr", "strong", "none"),
        ("method", "strong", "iadsr", "strong", "random_mask"),
        ("method", "strong", "iadsr", "strong", "aux_only"),
        ("method", "strong", "random_mask", "strong", "none"),
        ("method", "strong", "random_drop", "strong", "none"),
        ("method", "strong", "aux_only", "strong", "none"),
        ("method", "strong", "iadsr-theta=-0.5", "strong", "none"),
        ("protocol", "strong", "none", "paper", "none"),
        ("protocol", "strong", "iadsr", "paper", "iadsr"),
        ("protocol", "strong", "random_mask", "paper", "random_mask"),
        ("protocol", "strong", "random_drop", "paper", "random_drop"),
    }


def test_pairs_of_several_backbones_are_also_compared_on_average() -> None:
    cells = [Address("d", "paper", b, m, 0) for b in ("a", "b") for m in ("none", "iadsr", "random_mask")]
    pairs = (*AGAINST_NONE, ("iadsr", "random_mask"))
    for name in ("main", "further"):
        planned = plan_comparisons(grid(cells, *pairs, name=name))
        found = {(s.backbone, s.method, b.method) for k, s, b in planned if k == "backbones"}
        assert found == {("all", "iadsr", "none"), ("all", "iadsr", "random_mask"), ("all", "random_mask", "none")}
    assert not [k for k, _, _ in plan_comparisons(grid(cells[:3], *pairs)) if k == "backbones"]


def test_main_grid_alone_compares_protocols_and_with_the_first_one() -> None:
    cells = [Address("d", p, "b", "none", 0) for p in ("strong", "paper", "other")]
    found = [(k, s.protocol, b.protocol) for k, s, b in plan_comparisons(grid(cells))]
    assert found == [("protocol", "paper", "strong"), ("protocol", "other", "strong")]
    assert plan_comparisons(grid(cells, name="ladder")) == []


def test_comparisons_follow_the_order_of_the_cells() -> None:
    cells = [Address("d", "strong", b, m, 0) for b in ("z", "a") for m in ("none", "second", "first")]
    planned = [(side.backbone, side.method) for _, side, _ in plan_comparisons(grid(cells, *AGAINST_NONE))]
    assert planned == [(b, m) for b in ("z", "a", "all") for m in ("second", "first")]


def test_equal_methods_do_not_differ() -> None:
    values = list(np.arange(1.0, USERS + 1))
    table = compare_runs([run("iadsr", rank=values), run("none", rank=values)])
    assert (table["difference"] == 0).all() and (table["p"] == 1).all() and (table["p_holm"] == 1).all()
    assert (table["ties"] == USERS).all() and (table["effect"] == 0).all()
    assert (table["ci_low"] == 0).all() and (table["ci_high"] == 0).all()
    assert (table["outcome"] == "equal").all()


def test_an_end_of_an_interval_that_is_zero_but_for_rounding_is_zero() -> None:
    """Added up in another order, a user's metrics on three backbones differ in the last digit."""
    ranks_of = [[float((user + shift) % 5 + 1) for user in range(USERS)] for shift in range(3)]
    runs = [
        run(method, rank=ranks_of[(place + shift) % 3], backbone=backbone)
        for place, backbone in enumerate("abc")
        for shift, method in enumerate(("none", "iadsr"))
    ]
    table = compare_runs(runs).query("kind == 'backbones'")
    assert (table[["ci_low", "ci_high", "difference"]] == 0).all(axis=None)


@pytest.mark.parametrize(
    ("iadsr", "none", "outcome"),
    [(1.0, 9.0, "gain"), (9.0, 1.0, "loss"), ([1.0] * 22 + [9.0] * 18, [9.0] * 18 + [1.0] * 22, "underpowered")],
)
def test_outcome_is_on_the_side_of_a_significant_difference(
    iadsr: float | list[float], none: float | list[float], outcome: str
) -> None:
    found = row(compare_runs([run("iadsr", rank=iadsr), run("none", rank=none)]))
    assert found["outcome"] == outcome


def test_a_gain_of_one_seed_alone_is_none() -> None:
    """Every user gains in one seed and none in the other: the seeds decide, and two say little."""
    runs = [run("none", seed, 9.0) for seed in range(2)] + [run("iadsr", 0, 1.0), run("iadsr", 1, 9.0)]
    found = row(compare_runs(runs), "MRR")
    assert found["difference"] > 0 and found["ci_low"] < 0 and found["p"] > 0.05
    assert found["outcome"] == "underpowered"


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "gain"),
        ({"difference": -0.01}, "loss"),
        ({"p_equal": 0.01}, "gain"),
        ({"p_holm": 0.05}, "none"),
        ({"p_holm": math.nan}, "none"),
        ({"p_holm": 0.05, "p_equal": 0.0249}, "equal"),
        ({"p_holm": 0.05, "p_equal": 0.0251}, "none"),
        ({"p_holm": 0.05, "detectable": 0.246}, "none"),
        ({"p_holm": 0.05, "detectable": 0.247}, "underpowered"),
        ({"p_holm": 0.05, "detectable": math.nan}, "underpowered"),
        ({"p_holm": 0.05, "detectable": 0.3, "p_equal": 0.01}, "equal"),
        ({"status": "ok, without iadsr seed 2: diverged (NaN)"}, "gain"),
        ({"difference": math.nan, "status": "no run"}, "missing"),
        ({"difference": math.nan, "status": "iadsr: not in the grid"}, "missing"),
        ({"difference": math.nan, "status": "iadsr seed 0: diverged (an assertion failed)"}, "diverged"),
        ({"difference": math.nan, "status": "iadsr seed 0: failed (ValueError: it diverged)"}, "failed"),
        ({"difference": math.nan, "status": "iadsr seed 0: untrained (2 %)"}, "untrained"),
    ],
)
def test_outcome_of_a_row(changes: dict[str, object], outcome: str) -> None:
    made = {
        "status": "ok",
        "users": 9,
        "difference": 0.01,
        "p": 0.01,
        "p_holm": 0.01,
        "p_equal": 0.5,
        "detectable": 0.1,
        **changes,
    }
    decided = compare._decided(pd.DataFrame([made]), SOUGHT).iloc[0]
    assert decided["outcome"] == outcome
    assert decided["alone"] == (outcome in ("none", "equal", "underpowered")), "its own p is below the level"
    assert not compare._decided(pd.DataFrame([made | {"p": 0.05}]), SOUGHT).iloc[0]["alone"]


def test_headline_is_the_protocol_s_own_ranking_rule() -> None:
    runs = [run(m, protocol=p) for p in ("paper", "strong") for m in ("none", "iadsr")]
    table = compare_runs(runs).query("kind == 'method'")
    shown = table[table["headline"]].groupby("protocol")["ranking"].unique().map(list)
    assert shown.to_dict() == {"paper": ["kept"], "strong": ["excluded"]}


def test_a_comparison_without_seeds_says_why() -> None:
    runs = [
        run("none", reason="diverged (loss is NaN)"),
        run("iadsr"),
        run("iadsr", backbone="sasrec"),
        run("none", 1, backbone="caser"),
        run("iadsr", 2, backbone="caser"),
    ]
    table = compare_runs(runs)
    assert table[["p", "p_holm", "difference", "wins", "ci_low"]].isna().all(axis=None)
    assert (table["users"] == 0).all() and (table["seeds"] == 0).all()
    for backbone, status, outcome in (
        ("gru4rec", "none seed 0: diverged (loss is NaN)", "diverged"),
        ("sasrec", "none: not in the grid", "missing"),
        ("caser", "iadsr seed 1: not in the grid; none seed 2: not in the grid", "missing"),
    ):
        found = row(table, backbone=backbone)
        assert (found["status"], found["outcome"]) == (status, outcome)


def test_expected_runs_without_a_record_are_missing() -> None:
    cells = [Address("toys", "paper", "gru4rec", method, seed) for method in ("none", "iadsr") for seed in (0, 1)]
    scores = {one.address: one for one in (run("none", 0), run("none", 1), run("iadsr", 0, 9.0))}
    table = compare_all([grid(cells)], scores, SOUGHT)
    assert (table["seeds"] == 1).all() and (table["outcome"] != "missing").all()
    for gone in ({run("none").address: run("none")}, {}):
        table = compare_all([grid(cells)], gone, SOUGHT)
        assert (table["seeds"] == 0).all() and (table["outcome"] == "missing").all()


def test_nothing_to_compare_is_an_empty_table() -> None:
    table = compare_runs([run("none")])
    assert table.empty and list(table.columns) == list(COLUMNS)
    assert table["p"].dtype == np.float64
    both = compare_in({"alone": ([run("none")], ()), "main": ([run("none"), run("iadsr")], ())})
    assert both["headline"].dtype == table["headline"].dtype == np.bool_
    assert both["wins"].dtype == "Int64"


def test_reads_the_scores_of_runs(tmp_path: Path) -> None:
    folder = write_run(tmp_path, cell("iadsr"), [1.0, 2.0])
    assert read_scores(read_run(folder)).values[0].tolist() == [1, 1]
    lost = read_scores(read_run(write_run(tmp_path, cell("broken"), [])))
    assert lost.reason == "diverged (loss is NaN)" and lost.users.size == 0
    (folder / "ranks.parquet").unlink()
    with pytest.raises(DataError, match=r"has no ranks\.parquet"):
        read_scores(read_run(folder))


def test_pairs_may_have_any_baseline() -> None:
    rng = np.random.default_rng(3)
    runs = [some_run(rng, method) for method in ("none", "iadsr", "soft")]

    def pairs(*given: tuple[str, str]) -> list[tuple[str, str]]:
        table = compare_runs(runs, *given)
        return list(dict.fromkeys(zip(table["method"], table["baseline_method"], strict=True)))

    assert pairs(("*", "iadsr")) == [("none", "iadsr"), ("soft", "iadsr")]
    assert pairs(("iadsr", "*")) == [("iadsr", "none"), ("iadsr", "soft")]
    assert pairs(("soft", "none"), ("*", "none")) == [("soft", "none"), ("iadsr", "none")]


def test_experiments_change_no_row_of_the_main_grid() -> None:
    rng = np.random.default_rng(1)
    main = [
        some_run(rng, method, seed, protocol=protocol)
        for protocol in ("paper", "strong")
        for method in ("none", "iadsr", "random_drop")
        for seed in range(2)
    ]
    more = [some_run(rng, method, seed) for method in ("soft", "mean") for seed in range(2)]
    table = compare_in(
        {
            "main": (main, ()),
            "first": ([*main, *more], ()),
            "second": ([*main[2:4], *more], (("*", "iadsr"),)),
            "third": ([run("soft", protocol="other", backbone="sasrec")], ()),
        }
    )
    alone = compare_runs(main)
    pd.testing.assert_frame_equal(table.iloc[: len(alone)], alone, check_exact=True)
    assert (alone["experiment"] == "main").all()
    assert alone["family"].str.match(r"main \| (method|protocol) \| toys \| ").all()
    assert table["experiment"].unique().tolist() == ["main", "first", "second", "third"]


def test_families_of_experiments() -> None:
    rng = np.random.default_rng(2)
    methods = ("none", "iadsr", "soft", "random_drop")
    runs = [some_run(rng, m, protocol=p, backbone=b) for p in ("a", "b") for b in ("caser", "sasrec") for m in methods]
    table = compare_in({"one": (runs, ()), "two": (runs, (("*", "iadsr"),))})
    sizes = table.groupby(["experiment", "kind", "family"]).size()
    # 3 methods against the baseline for each of 2 backbones; 2 protocols x 2 rankings x 7 metrics
    for name in ("one", "two"):
        assert (sizes[name]["method"] == 6).all() and (sizes[name]["backbones"] == 3).all()
        assert len(sizes[name]["method"]) == len(sizes[name]["backbones"]) == 28
    assert "one | method | toys | a | kept | NDCG@10" in sizes["one"]["method"]
    assert set(table["kind"]) == {"method", "backbones"} and (table["protocol"] == table["baseline_protocol"]).all()
    assert table.groupby("experiment")["baseline_method"].unique().map(list).to_dict() == {
        "one": ["none"],
        "two": ["iadsr"],
    }


def test_holm_within_an_experiment_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # each method differs from `none` for another number of users, by which its p value is known here
    p_values = {3: 0.01, 5: 0.04, 7: 0.03, 9: 0.005}

    def with_p(method: np.ndarray, baseline: np.ndarray, spreads: Spreads | None) -> Contrast:
        differing = (method != baseline).sum(axis=(1, 2))
        return replace(
            compare_crossed(method, baseline, spreads), p=np.array([p_values.get(int(n), 1.0) for n in differing])
        )

    monkeypatch.setattr(compare.crossed, "compare_crossed", with_p)
    main = [run("none", rank=9.0), run("m3", rank=[1.0] * 3 + [9.0] * (USERS - 3))]
    others = [run(f"m{count}", rank=[1.0] * count + [9.0] * (USERS - count)) for count in (5, 7, 9)]
    table = compare_in({"main": (main, ()), "all": ([*main, *others], ()), "small": ([*main, others[0]], ())})
    hits = table[(table["metric"] == "HR@5") & (table["ranking"] == "kept")]
    adjusted = {name: part.set_index("method")["p_holm"].to_dict() for name, part in hits.groupby("experiment")}
    # sorted 0.005 0.01 0.03 0.04 times 4 3 2 1 is 0.02 0.03 0.06 0.04, of which the last must not fall
    assert adjusted["all"] == pytest.approx({"m9": 0.02, "m3": 0.03, "m7": 0.06, "m5": 0.06})
    assert adjusted["small"] == pytest.approx({"m3": 0.02, "m5": 0.04})
    assert adjusted["main"] == {"m3": 0.01}


def test_users_are_averaged_over_backbones() -> None:
    half, all_, none = [1.0] * 20 + [9.0] * 20, 1.0, 9.0
    runs = [
        run("none", rank=none, backbone="a"),
        run("iadsr", rank=half, backbone="a"),
        run("none", rank=half, backbone="b"),
        run("iadsr", rank=all_, backbone="b"),
    ]
    found = row(compare_runs(runs), kind="backbones")
    assert found["backbone"] == "all" and found["family"] == "main | backbones | toys | paper | excluded | HR@5"
    assert (found["mean"], found["baseline_mean"], found["difference"]) == (0.75, 0.25, 0.5)
    assert (found["wins"], found["ties"], found["users"]) == (40, 0, 40), "each user gains a half, in one backbone"
    assert found[["ci_low", "ci_high"]].tolist() == pytest.approx([0.5, 0.5])


def test_an_average_over_backbones_uses_the_seeds_that_all_have_and_names_the_rest() -> None:
    runs = [run(m, seed, backbone=b) for m in ("none", "iadsr") for seed in (0, 1) for b in ("a", "b")]
    runs += [run("none", 0, backbone="c"), run("iadsr", 0, backbone="c", reason="diverged (loss is NaN)")]
    runs[-3] = run("iadsr", 1, backbone="b", reason="diverged (NaN)")
    found = row(compare_runs(runs), kind="backbones")
    assert found["seeds"] == 1
    assert found["status"] == ("ok, without b: iadsr seed 1: diverged (NaN); c: iadsr seed 0: diverged (loss is NaN)")
    lost = [
        one
        if one.address.method == "none"
        else run("iadsr", one.address.seed, backbone=one.address.backbone, reason="x")
        for one in runs
    ]
    assert row(compare_runs(lost), kind="backbones")["status"] == "a: iadsr: x; b: iadsr: x; c: iadsr seed 0: x"


def test_direction_and_numbers_by_hand() -> None:
    # HR@5 of iadsr: 30 of 40 users hit, 10 of them missed by none; none hits 24: 4 of them missed by iadsr
    iadsr = [1.0] * 30 + [9.0] * 10
    none = [1.0] * 20 + [9.0] * 10 + [1.0] * 4 + [9.0] * 6
    table = compare_runs([run("iadsr", rank=iadsr), run("none", rank=none)])
    assert list(table.columns) == list(COLUMNS) and len(table) == 14
    found = row(table)
    assert (found["mean"], found["baseline_mean"]) == (0.75, 0.6)
    assert found["difference"] == pytest.approx(0.15)
    assert found["gain"] == pytest.approx(0.25)
    assert (found["wins"], found["ties"], found["losses"]) == (10, 26, 4)
    assert (found["users"], found["seeds"], found["status"]) == (40, 1, "ok")
    assert found["ci_low"] < 0.15 < found["ci_high"] and found["gain_low"] < 0.25 < found["gain_high"]
    assert np.isnan(found["seed_sd"])
    spread = np.array([1] * 10 + [0] * 26 + [-1] * 4)
    assert found["effect"] == pytest.approx(spread.mean() / spread.std(ddof=1))
    assert found["p"] == pytest.approx(stats.ttest_1samp(spread, 0).pvalue)
    bare = (2.0227 + 0.8512) * spread.std(ddof=1) / 40**0.5 / 0.6  # t quantiles of 39 degrees: 97.5 % and 80 %
    assert found["detectable"] == pytest.approx(bare * math.sqrt(1 + found["detectable"] / 2), rel=1e-3)


def test_a_mean_of_zero_has_no_relative_gain() -> None:
    table = compare_runs([run("iadsr", rank=1.0), run("none", rank=50.0)])
    found = row(table, "HR@20")
    assert found["difference"] == 1 and np.isnan(found["gain"]) and np.isnan(found["gain_low"])
    assert row(table, "MRR")["gain"] == pytest.approx(49)


def test_users_are_joined_by_id_not_by_position() -> None:
    address = Address("toys", "paper", "gru4rec", "none", 0)
    table = ranks(np.arange(1.0, USERS + 1))
    shuffled = scores_of(address._replace(method="iadsr"), table.sample(frac=1, random_state=0))
    found = compare_runs([scores_of(address, table), shuffled])
    assert (found["ties"] == USERS).all()


def test_seeds_are_matched_by_number() -> None:
    # seed 1 is worse for both, so matched differences are equal: no spread between seeds
    good, bad = [1.0] * 20 + [9.0] * 20, [1.0] * 10 + [9.0] * 30
    better, worse = [1.0] * 24 + [9.0] * 16, [1.0] * 14 + [9.0] * 26
    runs = [run("none", 0, good), run("none", 1, bad), run("iadsr", 1, worse), run("iadsr", 0, better)]
    found = row(compare_runs(runs))
    assert found["seeds"] == 2 and found["seed_sd"] == pytest.approx(0) and found["difference"] == pytest.approx(0.1)
    unequal = row(compare_runs([*runs[:2], run("iadsr", 0, bad), run("iadsr", 1, good)]))
    assert unequal["difference"] == pytest.approx(0)
    assert unequal["seed_sd"] == pytest.approx(np.std([-0.25, 0.25], ddof=1))
    assert unequal["ties"] == USERS


def test_family_is_everything_of_one_kind_protocol_ranking_and_metric() -> None:
    rng = np.random.default_rng(0)
    runs = [
        run(method, rank=list(rng.integers(1, 30, USERS).astype(float)), protocol=protocol, backbone=backbone)
        for protocol in ("paper", "strong")
        for backbone in ("gru4rec", "sasrec", "caser")
        for method in ("none", "iadsr", "random_mask")
    ]
    table = compare_runs(runs, *AGAINST_NONE, ("iadsr", "random_mask"))
    sizes = table.groupby(["kind", "family"]).size()
    # kind method: 3 backbones x 3 pairs in each protocol; kind protocol: 3 backbones x 3 methods
    assert (sizes[["method", "protocol"]] == 9).all() and (sizes["backbones"] == 3).all()
    assert len(sizes["method"]) == 2 * 2 * 7 and len(sizes["protocol"]) == 2 * 7
    assert "main | method | toys | strong | kept | NDCG@10" in sizes["method"]
    assert "main | protocol | toys | kept | NDCG@10" in sizes["protocol"]
    for _, family in table.groupby("family"):
        np.testing.assert_allclose(family["p_holm"], holm(family["p"].to_numpy()))
        assert (family["tests"] == len(family)).all()
    assert (table["p_holm"] >= table["p"]).all()


def test_a_diverged_seed_is_left_out_and_named() -> None:
    runs = [run("none", 0), run("none", 1), run("iadsr", 0, 3.0), run("iadsr", 1, reason="diverged (loss is NaN)")]
    found = row(compare_runs(runs))
    assert found["seeds"] == 1 and found["users"] == USERS
    assert found["status"] == "ok, without iadsr seed 1: diverged (loss is NaN)"


def test_missing_rows_do_not_count_in_the_family() -> None:
    runs = [run("none"), run("iadsr", rank=9.0), run("other", reason="loss is NaN")]
    found = row(compare_runs(runs), method="iadsr")
    assert found["p_holm"] == found["p"]
    assert found["tests"] == 1


def test_unequal_users_or_targets_are_refused() -> None:
    address = Address("toys", "paper", "gru4rec", "none", 0)
    method = scores_of(address._replace(method="iadsr"), ranks([1.0, 2.0]))
    with pytest.raises(
        DataError,
        match=r"toys/paper/gru4rec/iadsr/seed0 and toys/paper/gru4rec/none/seed0 .*\(1 only in .* 1 only",
    ):
        compare_runs([method, scores_of(address, ranks([1.0, 2.0], first_user=1))])
    with pytest.raises(DataError, match="different test items for 1 of the same users"):
        compare_runs([method, scores_of(address, ranks([1.0, 2.0]).assign(target=[0, 7]))])


def test_numbers_do_not_depend_on_the_rest_of_the_grid() -> None:
    rng = np.random.default_rng(4)
    runs = [run(m, rank=list(rng.integers(1, 30, USERS).astype(float))) for m in ("none", "iadsr", "aux_only")]
    few = compare_runs(runs[:2])
    many = compare_runs(runs)
    kept = many[(many["method"] == "iadsr") & (many["baseline_method"] == "none")].reset_index(drop=True)
    pd.testing.assert_frame_equal(*(one.drop(columns=["p_holm", "tests"]) for one in (few, kept)))


def swept(rng: np.random.Generator, digests: dict[str, list[str]]) -> list[Scores]:
    """`none`, and methods by digest of each seed's ranks: equal digests have equal ranks."""
    values = {digest: list(rng.integers(1, 30, USERS).astype(float)) for own in digests.values() for digest in own}
    runs = [run(method, seed, values[digest]) for method, own in digests.items() for seed, digest in enumerate(own)]
    named = [digest for own in digests.values() for digest in own]
    return [
        *(some_run(rng, "none", seed) for seed in range(2)),
        *(replace(one, digest=digest) for one, digest in zip(runs, named, strict=True)),
    ]


def test_points_with_the_same_runs_are_one_test() -> None:
    points = {"x=-1.0": ["a", "b"], "x=-0.5": ["a", "b"], "x=0.0": ["a", "c"], "x=0.5": ["d", "e"]}
    members = swept(np.random.default_rng(5), points)
    table = compare_runs(members, name="sweep")
    one = {method: row(table, method=method) for method in points}
    assert {method: found["same_as"] for method, found in one.items()} == {
        "x=-1.0": "",
        "x=-0.5": "x=-1.0",
        "x=0.0": "",
        "x=0.5": "",
    }
    adjusted = holm([one[method]["p"] for method in points if method != "x=-0.5"])
    assert [one[method]["p_holm"] for method in ("x=-1.0", "x=0.0", "x=0.5")] == pytest.approx(adjusted.tolist())
    numbers = [name for name in COLUMNS if name not in ("method", "same_as")]
    pd.testing.assert_series_equal(one["x=-1.0"][numbers], one["x=-0.5"][numbers], check_names=False)


def test_a_method_with_the_baseline_s_runs_is_no_test() -> None:
    members = swept(np.random.default_rng(6), {"iadsr": ["a", "b"], "theta=-0.9": ["a", "b"], "theta=0.5": ["c", "d"]})
    table = compare_runs(members[2:], ("*", "iadsr"), name="sweep")
    same, other = row(table, method="theta=-0.9"), row(table, method="theta=0.5")
    assert (same["same_as"], same["p"], same["p_holm"], same["difference"]) == ("iadsr", 1.0, 1.0, 0.0)
    assert other["p_holm"] == other["p"], "the only test of its family"
    assert (same["tests"], other["tests"]) == (1, 1)


def test_runs_that_diverged_alike_are_not_the_same_run() -> None:
    lost = [replace(run(method, reason="diverged (NaN)"), digest="empty") for method in ("x=1", "x=2")]
    table = compare_runs([run("none"), *lost], name="sweep")
    assert set(table["same_as"]) == {""}


def test_a_run_s_digest_is_that_of_its_ranks(tmp_path: Path) -> None:
    folder = write_run(tmp_path, cell("iadsr"), [1.0, 2.0])
    record = json.loads((folder / "record.json").read_text())
    digest = file_digest(folder / "ranks.parquet")
    (folder / "record.json").write_text(json.dumps({**record, "files": {"ranks.parquet": digest}}))
    assert read_scores(read_run(folder)).digest == digest


def test_a_control_s_twin_is_still_tested_against_the_other_control() -> None:
    """`iadsr` with the runs of `aux_only`: no test against that, one against `random_mask`, in its family."""
    twins = {"iadsr": ["a", "b"], "aux_only": ["a", "b"], "random_mask": ["c", "d"]}
    table = compare_runs(swept(np.random.default_rng(7), twins), *CONTROLLED)
    found = {
        (method, baseline): row(table, kind="method", method=method, baseline_method=baseline)
        for method, baseline in (*((method, "none") for method in twins), *CONTROLLED[1:])
    }
    same = {pair: one["same_as"] for pair, one in found.items() if one["same_as"]}
    assert same == {("aux_only", "none"): "iadsr", ("iadsr", "aux_only"): "aux_only"}
    tested = [pair for pair in found if pair not in same]
    adjusted = holm([found[pair]["p"] for pair in tested])
    assert [found[pair]["p_holm"] for pair in tested] == pytest.approx(adjusted.tolist())
    assert found["aux_only", "none"]["p_holm"] == found["iadsr", "none"]["p_holm"]


def test_averages_over_backbones_of_the_same_runs_are_one_test_too() -> None:
    points = {"x=1": ["a", "b"], "x=2": ["a", "b"], "x=3": ["c", "d"]}
    one = swept(np.random.default_rng(8), points)
    members = [*one, *(replace(run, address=run.address._replace(backbone="sasrec")) for run in one)]
    for name in ("sweep", "main"):
        table = compare_runs(members, name=name)
        for kind in ("method", "backbones"):
            part = table[table["kind"] == kind]
            assert set(part.loc[part["method"] == "x=2", "same_as"]) == {"x=1"}
            assert set(part.loc[part["method"] != "x=2", "same_as"]) == {""}


def test_a_pair_has_the_same_numbers_in_every_grid_with_the_same_seeds() -> None:
    rng = np.random.default_rng(3)
    runs = [some_run(rng, method, seed) for method in ("none", "iadsr") for seed in range(3)]
    fewer = [scores for scores in runs if scores.address.seed < 2]
    table = compare_in({"main": (runs, ()), "all": (runs, ()), "two": (fewer, ())})
    apart = table.drop(columns=["experiment", "family"])
    parts = {name: apart[table["experiment"] == name].reset_index(drop=True) for name in ("main", "all", "two")}
    pd.testing.assert_frame_equal(parts["main"], parts["all"], check_exact=True)
    assert (parts["two"]["seeds"] == 2).all() and (parts["all"]["seeds"] == 3).all()
    again = compare_runs(fewer, name="two").drop(columns=["experiment", "family"])
    pd.testing.assert_frame_equal(parts["two"][ESTIMATES], again[ESTIMATES], check_exact=True)
    values = [
        np.stack([one.values for one in runs if one.address.method == method], axis=1) for method in ("iadsr", "none")
    ]
    spread = pool_runs(values)
    found = compare_crossed(*(part[:, :2] for part in values), (spread, spread))
    pd.testing.assert_series_equal(parts["two"]["ci_low"], pd.Series(found.low), check_names=False)


def test_how_much_runs_vary_is_pooled_over_the_methods_of_a_backbone() -> None:
    """A run that two methods share counts once; one seed and a run that is not done tell nothing."""
    rng = np.random.default_rng(4)
    runs = [some_run(rng, m, seed, backbone=b) for m in ("none", "iadsr") for seed in (0, 1) for b in ("a", "b")]
    copies = [replace(one, address=one.address._replace(method="copy")) for one in runs if one.address.method == "none"]
    digests = {one.address: f"{one.address.backbone}{one.address.seed}" for one in runs[:4]}
    runs = [replace(one, digest=digests.get(one.address)) for one in runs]
    copies = [replace(one, digest=digests[one.address._replace(method="none")]) for one in copies]
    lost = [some_run(rng, "none", backbone="c"), run("none", 1, backbone="c", reason="diverged (NaN)")]
    found = pool_spreads(group_by_side([*runs, *copies, *lost, some_run(rng, "other", backbone="a")]))
    assert set(found) == {("toys", "paper", "a"), ("toys", "paper", "b")}, "c has no pool, so averages have none"
    for backbone in "ab":
        values = [
            np.stack([one.values for one in runs if one.address[2:4] == (backbone, method)], axis=1)
            for method in ("none", "iadsr")
        ]
        expected = pool_runs(values)
        assert expected.freedom == 2
        for name in ("square", "excess", "p_even", "freedom"):
            np.testing.assert_allclose(getattr(found["toys", "paper", backbone], name), getattr(expected, name))


def test_averages_over_backbones_have_a_pool_of_their_own() -> None:
    """What a seed does with all backbones alike does not average out."""
    rng = np.random.default_rng(5)
    methods = ("none", "iadsr", "hsd")
    runs = [some_run(rng, m, seed, backbone=b) for m in methods for seed in range(3) for b in ("a", "b")]
    values = {one.address[2:]: one.values for one in runs}
    averages = {
        m: np.stack([(values["a", m, seed] + values["b", m, seed]) / 2 for seed in range(3)], axis=1) for m in methods
    }
    spread = pool_runs(averages.values())
    assert spread.freedom == 6
    expected = compare_crossed(averages["iadsr"], averages["none"], (spread, spread))
    got = row(compare_runs(runs), kind="backbones", method="iadsr")
    at = compare.tested().index(("excluded", "HR@5"))
    assert (got["ci_low"], got["ci_high"], got["p_even"]) == pytest.approx(
        (expected.low[at], expected.high[at], spread.p_even[at])
    )
    left = [one if one.address[2:4] != ("b", "iadsr") else replace(one, reason="diverged (NaN)") for one in runs]
    own = row(compare_runs(left), kind="backbones", method="iadsr")
    alone = compare_crossed(*(np.stack([values["a", m, s] for s in range(3)], axis=1) for m in ("iadsr", "none")))
    assert np.isnan(own["p_even"]) and own["ci_low"] == pytest.approx(alone.low[at]), "a backbone is left out"


def test_a_method_that_shares_a_run_brings_its_own_ones_alone() -> None:
    rng = np.random.default_rng(3)
    none = [replace(some_run(rng, "none", seed), digest=str(seed)) for seed in range(3)]
    copy = [replace(one, address=one.address._replace(method="copy")) for one in none[1:]]
    found = pool_spreads(group_by_side([*none, *copy, replace(some_run(rng, "copy"), digest="own")]))
    assert [spread.freedom for spread in found.values()] == [2]


def test_one_pair_has_the_intervals_of_its_backbone_s_pool() -> None:
    """Under each protocol its own."""
    rng = np.random.default_rng(6)
    kinds = [(m, p) for p in ("paper", "strong") for m in ("none", "iadsr", "hsd")]
    runs = [some_run(rng, m, seed, protocol=p) for m, p in kinds for seed in range(3)]
    values = {
        kind: np.stack([one.values for one in runs if (one.address.method, one.address.protocol) == kind], axis=1)
        for kind in kinds
    }
    paper, strong = (pool_runs([values[kind] for kind in kinds if kind[1] == p]) for p in ("paper", "strong"))
    table, at = compare_runs(runs), compare.tested().index(("excluded", "HR@5"))
    for kind, one, other, spreads in (
        ("method", ("iadsr", "strong"), ("none", "strong"), (strong, strong)),
        ("protocol", ("iadsr", "strong"), ("iadsr", "paper"), (strong, paper)),
    ):
        expected = compare_crossed(values[one], values[other], spreads)
        got = row(table, kind=kind, method="iadsr", protocol="strong")
        assert (got["ci_low"], got["ci_high"], got["p"]) == pytest.approx(
            (expected.low[at], expected.high[at], expected.p[at])
        )


def test_an_average_is_over_the_backbones_of_its_own_experiment() -> None:
    rng = np.random.default_rng(9)
    runs = [some_run(rng, m, seed, backbone=b) for b in ("a", "b", "c") for m in ("none", "iadsr") for seed in (0, 1)]
    runs[2] = run("iadsr", 0, backbone="a", reason="diverged (NaN)")
    few = [one for one in runs if one.address.backbone != "c"]
    one_seed = [one for one in runs if one.address.seed == 1]
    table = compare_in({"main": (runs, ()), "few": (few, ()), "one": (one_seed, ())}).query("kind == 'backbones'")
    assert table.groupby("experiment")["status"].unique().map(list).to_dict() == {
        "main": ["ok, without a: iadsr seed 0: diverged (NaN)"],
        "few": ["ok, without a: iadsr seed 0: diverged (NaN)"],
        "one": ["ok"],
    }
    for name, own in (("few", few), ("one", one_seed)):
        alone = compare_runs(own, name=name).query("kind == 'backbones'")
        part = table[table["experiment"] == name].reset_index(drop=True)
        same = ["experiment", "family", "status", *ESTIMATES]
        pd.testing.assert_frame_equal(part[same], alone.reset_index(drop=True)[same], check_exact=True)


def test_an_experiment_without_its_baseline_says_why() -> None:
    main = [run("none"), run("iadsr", rank=9.0)]
    lost = [run("base", reason="diverged (loss is NaN)"), run("soft")]
    pairs = (("*", "base"),)
    table = compare_in({"gone": (main, pairs), "lost": (lost, pairs)})
    assert table[["p", "p_holm", "difference", "wins", "ci_low"]].isna().all(axis=None)
    assert (table["seeds"] == 0).all() and (table["users"] == 0).all()
    assert set(table.query("experiment == 'gone'")["status"]) == {"base: not in the grid"}
    assert set(table.query("experiment == 'lost'")["status"]) == {"base seed 0: diverged (loss is NaN)"}


def test_planned_runs_without_a_record_are_named_as_lost() -> None:
    """On one side or on both, of one backbone or of all; what is left is compared."""
    done = [run(m, seed, backbone=b) for m in ("none", "iadsr") for seed in (0, 1) for b in ("a", "b")]
    planned = [Address("toys", "paper", b, m, seed) for b in "abc" for m in ("none", "iadsr") for seed in (0, 1, 2)]
    table = compare_all([grid(planned)], {one.address: one for one in done[:-1]}, SOUGHT)
    said = {b: row(table, kind="method", backbone=b) for b in "abc"}
    assert [said[b]["status"] for b in "abc"] == [
        "ok, without iadsr seed 2: missing; none seed 2: missing",
        "ok, without iadsr seeds 1, 2: missing; none seed 2: missing",
        "iadsr: missing; none: missing",
    ]
    assert [(said[b]["seeds"], said[b]["outcome"]) for b in "bc"] == [(1, "equal"), (0, "missing")]
    mean = row(table, kind="backbones")
    assert (mean["status"][:11], mean["seeds"], mean["backbones"]) == ("ok, without", 1, 3)
    assert set(table.query("kind == 'method'")["backbones"]) == {1}


def test_cold_targets_are_compared_by_themselves() -> None:
    """Users 0 to 5 have a target with at most five interactions in training; only there are the methods apart."""
    ranked = {"none": [5.0, 30.0] * 3 + [1.0] * 34, "iadsr": [1.0] * 6 + [1.0] * 34}
    runs = [run(method, seed, values) for method, values in ranked.items() for seed in (0, 1)]
    tables = comparison_tables([grid([one.address for one in runs])], {one.address: one for one in runs}, SOUGHT)
    cold, whole = (row(tables[name]) for name in ("cold_comparisons", "comparisons"))
    assert (cold["users"], cold["mean"], cold["baseline_mean"], cold["group"]) == (6, 1.0, 0.5, "cold")
    assert (whole["users"], whole["mean"], whole["baseline_mean"]) == (USERS, 1.0, 37 / 40)


def test_without_a_cold_target_nothing_is_compared() -> None:
    made = [run(method, seed) for method in ("none", "iadsr") for seed in (0, 1)]
    runs = [scores_of(one.address, ranks([1.0, 2.0]).assign(target_train_count=6)) for one in made]
    tables = comparison_tables([grid([one.address for one in runs])], {one.address: one for one in runs}, SOUGHT)
    cold = tables["cold_comparisons"]
    assert (cold["outcome"] == "underpowered").all() and cold["gain"].isna().all()
    assert (cold["status"] == "ok").all() and (cold["users"] == 0).all() and (cold["seeds"] == 2).all()
    assert (tables["comparisons"]["status"] == "ok").all()


def test_the_row_that_speaks_for_all_backbones_is_marked() -> None:
    """The mean where a pair is averaged; else the only backbone's."""
    runs = [
        run(method, seed, backbone=name)
        for name in ("gru4rec", "caser")
        for method in ("none", "iadsr")
        for seed in (0, 1)
    ]
    table = compare_in({"main": (runs, AGAINST_NONE)})
    table = table[table["kind"] != "protocol"]
    assert set(table.loc[table["whole"], "kind"]) == {"backbones"} and set(table["kind"]) == {"backbones", "method"}
    alone = compare_in({"main": ([one for one in runs if one.address.backbone == "caser"], AGAINST_NONE)})
    assert alone.loc[alone["kind"] == "method", "whole"].all() and "backbones" not in set(alone["kind"])


def test_a_gain_is_ruled_out_by_an_interval_of_several_seeds() -> None:
    """One user in forty better, or half of them: the first interval ends below 24.6 %, the second does not."""
    little, much = [5.0] * 39 + [3.0], [2.0] * 20 + [5.0] * 20
    for ranked, seeds, expected in ((little, (0, 1), True), (much, (0, 1), False), (little, (0,), False)):
        runs = [run(name, k, own) for name, own in (("none", [5.0] * 40), ("iadsr", ranked)) for k in seeds]
        assert row(compare_in({"main": (runs, AGAINST_NONE)}), metric="NDCG@5")["ruled_out"] == expected


def test_the_difference_s_interval_is_laid_around_the_mean() -> None:
    runs = [
        run(name, k, own) for name, own in (("none", [5.0] * 40), ("iadsr", [2.0] * 20 + [5.0] * 20)) for k in (0, 1)
    ]
    found = row(compare_in({"main": (runs, AGAINST_NONE)}), metric="NDCG@5")
    assert found["mean"] - found["mean_low"] == pytest.approx(found["difference"] - found["ci_low"])
    assert found["mean_high"] - found["mean"] == pytest.approx(found["ci_high"] - found["difference"])
    assert found["mean_low"] < found["mean"] < found["mean_high"]
