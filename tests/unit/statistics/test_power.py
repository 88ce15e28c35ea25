"""Forecasts of what other numbers of seeds would find: by hand, against the test itself, and by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from iadsr.evaluation.runs import Address
from iadsr.statistics import power
from iadsr.statistics.compare import Scores, compare_all, scores_of
from iadsr.statistics.crossed import compare_crossed, forecast_crossed, pool_runs
from iadsr.statistics.power import COLUMNS, forecast
from tests.unit.statistics.frames import SOUGHT, grid_of, one_row, ranks

Floats = NDArray[np.float64]
USERS = 60
METHODS = ("none", "iadsr")


def found_with(variance: float, freedom: float) -> float:
    """The gain over a baseline of 1 that such an error finds, as the fixed point of its definition."""
    error = np.sqrt(variance) * (stats.t.ppf(0.975, freedom) + stats.t.ppf(0.8, freedom))
    gain = 0.0
    for _ in range(300):
        gain = error * np.sqrt(1 + gain / 2)
    return float(gain)


def drawn(seed: int, seeds: int, users: int = 25) -> tuple[Floats, Floats]:
    """Metrics of a method and a baseline with a mean of about 2, with parts of users, seeds and both."""
    rng = np.random.default_rng(seed)
    own, run, rest = rng.choice([0.0, 0.3, 1.0], 3)
    baseline = rng.normal(2, 0.1, (3, seeds, users))
    difference = own * rng.normal(size=(3, 1, users)) + run * rng.normal(size=(3, seeds, 1)) / np.sqrt(users)
    return baseline + difference + rest * rng.normal(size=baseline.shape), baseline


def test_forecast_by_hand() -> None:
    """Users' means .0 .3 .6, runs' means .1 .5 with a rest of +-.1."""
    difference = np.array([[-0.3, 0.2, 0.4], [0.3, 0.4, 0.8]])
    told = forecast_crossed((1 + difference)[None], np.ones((1, 2, 3)), [8])
    rest = 0.04 / 2 / 3  # (sum of squares) / (degrees of freedom) / users
    users, runs = 0.09 / 3 - rest / 2, 0.08 - rest
    eighth = users + rest / 8
    assert told.detectable[0, 0] == pytest.approx(
        found_with(eighth + runs / 8, (eighth + runs / 8) ** 2 / (eighth**2 / 2 + (0.08 / 8) ** 2 / 7))
    )
    most = 0.08 / stats.chi2.ppf(0.1, 1)
    worst = (most - rest) / 8
    assert told.at_worst[0, 0] == pytest.approx(
        found_with(eighth + worst, (eighth + worst) ** 2 / (eighth**2 / 2 + (most / 8) ** 2 / 7))
    )
    assert told.floor[0] == pytest.approx(found_with(users, 2))


def test_where_users_vary_less_than_chance_all_of_it_is_chance() -> None:
    """Users' means +-.1 with a rest of +-.4, which alone would make more: all of it shrinks with seeds."""
    difference = np.array([[0.5, -0.5, 0.3, -0.3], [-0.3, 0.3, -0.5, 0.5]])
    told = forecast_crossed((1 + difference)[None], np.ones((1, 2, 4)), [2, 8])
    users = 0.04 / 3 / 4
    assert told.detectable[:, 0] == pytest.approx([found_with(users, 3), found_with(users / 4, 3)])
    assert told.floor[0] == 0


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_with_the_pilot_s_seeds_it_is_what_the_test_says(seed: int, seeds: int) -> None:
    method, baseline = drawn(seed, seeds)
    told = forecast_crossed(method, baseline, [seeds])
    np.testing.assert_allclose(told.detectable[0], compare_crossed(method, baseline).detectable)
    assert (told.at_worst >= told.detectable).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_more_seeds_find_less_down_to_the_floor(seed: int, seeds: int) -> None:
    told = forecast_crossed(*drawn(seed, seeds, users=300), [*range(2, 40), 10**9])
    for gains in (told.detectable, told.at_worst):
        assert (np.diff(gains, axis=0) <= 1e-12).all()
        np.testing.assert_allclose(gains[-1], told.floor, atol=1e-3)


def test_the_floor_is_that_of_users_alone() -> None:
    """What all runs of a seed share moves no user's difference from another's."""
    rng = np.random.default_rng(3)
    baseline = np.ones((1, 3, USERS))
    users, runs = rng.normal(0, 0.5, (1, 1, USERS)), rng.normal(0, 0.2, (1, 3, 1))
    alone = compare_crossed((baseline + users)[:, :1], baseline[:, :1]).detectable
    told = forecast_crossed(baseline + users + runs, baseline, [3])
    np.testing.assert_allclose(told.floor, alone)
    assert told.detectable[0, 0] > 1.2 * alone[0]


def test_one_seed_says_nothing_of_more() -> None:
    method, baseline = drawn(1, 1)
    told = forecast_crossed(method, baseline, [3, 10])
    assert np.isnan(told.detectable).all() and np.isnan(told.at_worst).all() and np.isnan(told.floor).all()


def test_a_pool_of_more_seeds_than_the_pair_s_forecasts_as_many_degrees_of_freedom_as_it_will_have() -> None:
    """Four methods: with s seeds 4 (s - 1), whatever the pair's own number; a pair of one seed forecasts nothing."""
    rng = np.random.default_rng(14)
    runs = 9 + rng.normal(0, 0.01, (4, 1, 4, 60)) + rng.normal(0, 0.5, (4, 1, 4, 1))
    spread = pool_runs(runs)
    whole, part = (
        forecast_crossed(runs[0][:, :seeds], runs[1][:, :seeds], [4, 9], (spread, spread)) for seeds in (4, 2)
    )
    now = compare_crossed(runs[0], runs[1], (spread, spread)).detectable
    assert whole.detectable[0] == pytest.approx(now)
    base = [run.mean() for run in (runs[1], runs[1][:, :2])]
    small = (gain / np.sqrt(1 + gain / 2) * mean for gain, mean in zip((now, part.detectable[0]), base, strict=True))
    assert next(small) == pytest.approx(next(small), rel=0.01), "the same error and the same degrees of freedom"
    alone = forecast_crossed(runs[0][:, :1], runs[1][:, :1], [4], (spread, spread))
    assert np.isnan([*alone.detectable[0], *alone.at_worst[0], *alone.floor]).all()


def test_a_forecast_for_one_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        forecast_crossed(*drawn(1, 3), [1, 3])


@pytest.mark.parametrize(("own", "run", "rest"), [(1.0, 1.0, 1.0), (0.3, 1.5, 1.0), (1.0, 0.0, 2.0)])
def test_ten_seeds_find_the_gain_that_three_forecast(own: float, run: float, rest: float) -> None:
    """Parts are standard deviations of a mean over users (times 1 %); the baseline is 1 and does not vary."""
    rng = np.random.default_rng(11)

    def studies(count: int, seeds: int, gain: float) -> tuple[Floats, Floats]:
        parts = (
            own * np.sqrt(USERS) * rng.normal(size=(count, 1, USERS)),
            run * rng.normal(size=(count, seeds, 1)),
            rest * np.sqrt(USERS) * rng.normal(size=(count, seeds, USERS)),
        )
        return 1 + gain + sum(parts, np.zeros(())) / 100, np.ones((count, seeds, USERS))

    count = 1500
    told = forecast_crossed(*studies(count, 3, 0.0), [10])
    gain = float(np.sqrt((told.detectable[0] ** 2).mean()))
    known = forecast_crossed(*studies(count, 10, 0.0), [10]).detectable[0]
    assert gain == pytest.approx(np.sqrt((known**2).mean()), rel=0.05)
    # what is cut at zero raises a forecast a little; the Monte Carlo error is 1 %
    assert 0.77 < (compare_crossed(*studies(count, 10, gain)).p < 0.05).mean() < 0.86
    assert 0.87 < (told.at_worst[0] > gain * 0.98).mean() < 0.95


def run(
    rng: np.random.Generator, method: str, seed: int, backbone: str = "gru4rec", digest: str | None = None
) -> Scores:
    address = Address("toys", "strong", backbone, method, seed)
    table = ranks(list(rng.integers(1, 8, USERS).astype(float)))
    return scores_of(address, table, digest=digest or str(address))


def told_of(runs: list[Scores], *, each: bool = False, sought: float = SOUGHT) -> pd.DataFrame:
    """The forecast of a grid of two backbones and three seeds, of which there are these runs."""
    cells = [
        Address("toys", "strong", backbone, method, seed)
        for backbone in ("gru4rec", "caser")
        for method in METHODS
        for seed in range(3)
    ]
    return forecast(grid_of(cells), runs, [3, 12], ["HR@5", "NDCG@10"], sought, each)


def all_runs(seeds: int = 3) -> list[Scores]:
    rng = np.random.default_rng(5)
    return [
        run(rng, method, seed, backbone)
        for backbone in ("gru4rec", "caser")
        for method in METHODS
        for seed in range(seeds)
    ]


def test_pairs_are_averaged_over_backbones() -> None:
    runs = all_runs()
    table = told_of(runs)
    assert list(table.columns) == list(COLUMNS) and len(table) == 4
    assert set(table["backbone"]) == {"all"} and set(table["status"]) == {"ok"}
    values = {one.address: one.values for one in runs}
    method, baseline = (
        np.stack(
            [sum(values[Address("toys", "strong", b, m, s)] for b in ("gru4rec", "caser")) / 2 for s in range(3)], 1
        )
        for m in ("iadsr", "none")
    )
    row = table[(table["metric"] == "NDCG@10") & (table["seeds"] == 12)].iloc[0]
    averages = {
        m: np.stack(
            [sum(values[Address("toys", "strong", b, m, s)] for b in ("gru4rec", "caser")) / 2 for s in range(3)], 1
        )
        for m in METHODS
    }
    spread = pool_runs(averages.values())
    spreads = (spread, spread)
    found, at = compare_crossed(method, baseline, spreads), power.tested().index(("excluded", "NDCG@10"))
    assert (row["users"], row["pilot_seeds"], row["gain"], row["now"]) == pytest.approx(
        (USERS, 3, found.gain[at], found.detectable[at])
    )
    assert row["detectable"] == pytest.approx(forecast_crossed(method, baseline, [12], spreads).detectable[0, at])
    many = forecast_crossed(method, baseline, range(2, 1001), spreads)
    for name, gains in (("needed", many.detectable[:, at]), ("needed_at_worst", many.at_worst[:, at])):
        assert gains[row[name] - 2] <= SOUGHT and (row[name] == 2 or gains[row[name] - 3] > SOUGHT)


def test_a_comparison_says_how_many_seeds_it_needs() -> None:
    runs = all_runs()
    tested_all = compare_all([grid_of([one.address for one in runs])], {one.address: one for one in runs}, SOUGHT)
    told = told_of(runs).query("seeds == 12")
    assert told["needed"].nunique() > 1 and told["needed"].notna().all()
    for row in told.to_dict("records"):
        found = one_row(tested_all, backbone="all", metric=row["metric"], ranking=row["ranking"], method=row["method"])
        assert found["needed"] == row["needed"]


def test_each_backbone_by_itself() -> None:
    table = told_of(all_runs(), each=True)
    assert list(dict.fromkeys(table["backbone"])) == ["gru4rec", "caser", "all"]


def test_no_number_is_needed_where_none_suffices() -> None:
    table = told_of(all_runs(), sought=1e-6)
    assert (table["floor"] > 1e-6).all() and table["needed"].isna().all() and table["needed_at_worst"].isna().all()


def test_one_seed_has_no_forecast() -> None:
    table = told_of(all_runs(seeds=1))
    assert table["now"].notna().all() and (table["pilot_seeds"] == 1).all()
    assert table[["detectable", "at_worst", "floor", "needed", "needed_at_worst"]].isna().all(axis=None)


def test_without_runs_the_reason_is_told() -> None:
    table = told_of([])
    assert len(table) == 4 and table["now"].isna().all() and (table["pilot_seeds"] == 0).all()
    assert (table["status"] == "no run").all()
    baseline = told_of([one for one in all_runs() if one.address.method == "none"])
    assert baseline["status"].str.contains("iadsr: not in the grid").all()


def test_methods_with_the_same_runs_have_no_forecast() -> None:
    twins = [
        run(np.random.default_rng(7), method, seed, backbone, f"{backbone}{seed}")
        for backbone in ("gru4rec", "caser")
        for method in METHODS
        for seed in range(3)
    ]
    table = told_of(twins)
    assert set(table["status"]) == {"the same runs as none"} and table["now"].isna().all()
