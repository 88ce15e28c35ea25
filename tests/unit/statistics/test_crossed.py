"""Estimates over crossed users and seeds: by hand, against scipy and statsmodels, by simulation on hits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as statsmodels
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from iadsr.statistics.crossed import (
    LEVEL,
    MARGIN,
    Contrast,
    RunSpread,
    compare_crossed,
    holm,
    pool_runs,
)

USERS = 943  # as MovieLens-100K


def test_one_seed_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    method, baseline = rng.normal(0.1, 1, (4, 1, 200)), rng.normal(1, 1, (4, 1, 200))
    found = compare_crossed(method, baseline)
    theirs = stats.ttest_rel(method[:, 0], baseline[:, 0], axis=1)
    interval = theirs.confidence_interval()
    np.testing.assert_allclose(found.p, theirs.pvalue)
    np.testing.assert_allclose((found.low, found.high), (interval.low, interval.high))
    assert np.isnan(found.seed_sd).all()
    spread = (method - baseline)[:, 0].std(axis=1, ddof=1)
    np.testing.assert_allclose(found.effect, found.difference / spread)


def test_variance_by_hand() -> None:
    """Users' means .0 .3 .6, seeds' means .1 .5 with a rest of +-.1: every part from the sums of squares."""
    difference = np.array([[-0.3, 0.2, 0.4], [0.3, 0.4, 0.8]])
    found = compare_crossed((1 + difference)[None], np.ones((1, 2, 3)))
    users, seeds = np.array([0.0, 0.3, 0.6]), np.array([0.1, 0.5])
    rest = difference - users - seeds[:, None] + 0.3
    user_part = users.var(ddof=1) / 3
    seed_part = seeds.var(ddof=1) - (rest**2).sum() / 2 / 3
    assert seed_part > 0
    error = np.sqrt(user_part + seed_part / 2)
    freedom = (user_part + seed_part / 2) ** 2 / (user_part**2 / 2 + (seeds.var(ddof=1) / 2) ** 2)
    assert freedom > 1, "else as many as there are of seeds"
    assert found.difference[0] == pytest.approx(0.3) and found.error[0] == pytest.approx(error)
    reach = stats.t.ppf(0.975, freedom) * error
    assert (found.low[0], found.high[0]) == pytest.approx((0.3 - reach, 0.3 + reach))
    assert found.p[0] == pytest.approx(2 * stats.t.sf(0.3 / error, freedom))
    assert found.seed_sd[0] == pytest.approx(seeds.std(ddof=1))


@pytest.mark.parametrize(("seeds", "seed_sd"), [(4, 0.4), (8, 0.4)])
def test_error_is_that_of_a_mixed_model_with_crossed_effects(seeds: int, seed_sd: float) -> None:
    """Restricted maximum likelihood by statsmodels; in a balanced design both are the same estimate."""
    rng = np.random.default_rng(4)
    users = 30
    parts = rng.normal(0, 0.5, (1, users)), rng.normal(0, seed_sd, (seeds, 1)), rng.normal(0, 1, (seeds, users))
    difference = 0.3 + sum(parts)
    found = compare_crossed((1 + difference)[None], np.ones((1, seeds, users)))
    seed, user = (part.ravel() for part in np.indices(difference.shape))
    rows = pd.DataFrame({"y": difference.ravel(), "seed": seed, "user": user, "all": 1})
    crossed = {"user": "0 + C(user)", "seed": "0 + C(seed)"}
    model = statsmodels.MixedLM.from_formula("y ~ 1", groups="all", vc_formula=crossed, data=rows).fit(reml=True)
    assert (model.vcomp > 0).all(), "no part is at its bound, where the two would differ"
    assert found.difference[0] == pytest.approx(model.fe_params.iloc[0])
    assert found.error[0] == pytest.approx(model.bse_fe.iloc[0], rel=1e-3)


def test_a_pool_is_the_mean_square_of_an_analysis_of_variance() -> None:
    """Of each run's mean over users, within methods; by statsmodels."""
    rng = np.random.default_rng(8)
    methods = [rng.normal(number, 1, (1, seeds, 20)) for number, seeds in enumerate((2, 3, 4))]
    found = pool_runs(methods)
    means = [(method, mean) for method, values in enumerate(methods) for mean in values[0].mean(axis=1)]
    table = pd.DataFrame(means, columns=["method", "mean"])
    fitted = statsmodels.OLS.from_formula("mean ~ C(method)", table).fit()
    assert (found.square[0], found.freedom) == pytest.approx((fitted.mse_resid, fitted.df_resid))


def test_a_pool_by_hand() -> None:
    """Runs' means .1 .5 with a rest of +-.1, and 0 0 with none."""
    first = 1 + np.array([[-0.3, 0.2, 0.4], [0.3, 0.4, 0.8]])
    found = pool_runs([first[None], np.ones((1, 2, 3))])
    rest = 0.04 / 2 / 3  # (sum of squares) / (degrees of freedom) / users
    assert found.square[0] == pytest.approx(0.08 / 2) and found.freedom == 2
    assert found.excess[0] == pytest.approx((0.08 - rest) / 2)
    assert found.p_even[0] == 0 and found.methods == 2, "one varies and the other does not"


def test_two_sides_vary_by_themselves() -> None:
    """Each side's runs add their own variance, the baseline's also to that of the gain's denominator."""
    rng = np.random.default_rng(9)
    baseline, users = rng.normal(2, 0.01, (1, 2, 400)), rng.normal(0, 0.01, (1, 1, 400))
    method = baseline * 1.5 + users
    known = {"p_even": np.ones(1), "freedom": 10**9, "methods": 10**9}
    spreads = [RunSpread(square=np.full(1, var), excess=np.full(1, var), **known) for var in (0.02, 0.06)]
    found = compare_crossed(method, baseline, (spreads[0], spreads[1]))
    assert found.error[0] == pytest.approx(np.sqrt(0.08 / 2), rel=1e-3)
    base, gain = found.difference[0] / found.gain[0], found.gain[0]
    # the roots of Fieller's quadratic: variances of difference and baseline and their covariance, two runs each
    square = stats.norm.ppf(0.975) ** 2
    dd, db, bb = 0.08 / 2 * square, -0.06 / 2 * square, 0.06 / 2 * square
    roots = np.sort(np.roots([base**2 - bb, -2 * (base**2 * gain - db), (base * gain) ** 2 - dd]))
    assert (found.gain_low[0], found.gain_high[0]) == pytest.approx(tuple(roots), rel=1e-3)


def test_that_methods_vary_alike_is_tested() -> None:
    """By the method that varies most: of runs that are alike 5 % fall below 5 % at most, and an odd one is found."""
    rng = np.random.default_rng(12)
    alike = [rng.normal(0, 1, (2000, seeds, 1)) for seeds in (3, 3, 2, 4)]
    p_even = pool_runs(alike).p_even
    assert 0.03 < (p_even < 0.05).mean() <= 0.06
    ratio = alike[0][0].var(ddof=1) / (sum((len(v[0]) - 1) * v[0].var(ddof=1) for v in alike[1:]) / 6)
    assert p_even[0] <= 4 * stats.f.sf(ratio, 2, 6) + 1e-12
    odd = [alike[0] * 10, *alike[1:]]
    assert (pool_runs(odd).p_even < 0.05).mean() > 0.8
    assert (pool_runs(alike[:1]).p_even == 1).all()


def test_the_very_same_runs_are_equal_whatever_varies() -> None:
    rng = np.random.default_rng(13)
    runs, others = rng.normal(2, 1, (2, 1, 3, 50)) + rng.normal(0, 1, (2, 1, 3, 1))
    spread = pool_runs([runs, others])
    found = compare_crossed(runs, runs, (spread, spread))
    assert (found.low, found.high, found.gain_low, found.gain_high, found.p) == (0, 0, 0, 0, 1) and found.p_equal < 1e-3


def test_a_pool_keeps_the_level_and_finds_more() -> None:
    """Three seeds, which by themselves know little of how much runs vary."""
    rng = np.random.default_rng(10)
    level, found = [], []
    for _ in range(400):
        runs = rng.normal(0, 0.2, (4, 3, 1)) + rng.normal(0, 1, (4, 3, 200))
        spread = pool_runs(runs[:, None])
        for shift, rejected in ((0.0, level), (0.5, found)):
            pair = (runs[0] + shift)[None], runs[1][None]
            rejected.append([compare_crossed(*pair, with_).p[0] < 0.05 for with_ in (None, (spread, spread))])
    false, (own_power, power) = np.mean(level, axis=0)[1], np.mean(found, axis=0)
    low, high = stats.binom.interval(0.998, 400, 0.05)
    assert low <= 400 * false <= high
    assert power > own_power + 0.15


def test_fieller_of_a_gain_by_its_closed_form() -> None:
    """With one seed the ends are the roots of a quadratic in the gain."""
    rng = np.random.default_rng(2)
    baseline = rng.normal(1, 1, 80)
    method = baseline + rng.normal(0.2, 1, 80)
    found = compare_crossed(method[None, None], baseline[None, None])
    difference = method - baseline
    (dd, db), (_, bb) = np.cov(difference, baseline) / 80 * stats.t.ppf(0.975, 79) ** 2
    mean, base = difference.mean(), baseline.mean()
    roots = np.sort(np.roots([base**2 - bb, -2 * (mean * base - db), mean**2 - dd]))
    assert (found.gain_low[0], found.gain_high[0]) == pytest.approx(tuple(roots))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(-0.5, 0.5))
def test_both_intervals_and_the_test_agree_on_zero(seed: int, seeds: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    baseline = rng.normal(2, 1, (2, seeds, 25))
    found = compare_crossed(baseline + rng.normal(shift, 1, baseline.shape), baseline)
    for at in range(2):
        off = found.p[at] < 0.05
        assert off == (found.low[at] > 0 or found.high[at] < 0)
        if np.isfinite([found.gain_low[at], found.gain_high[at]]).all():
            assert off == (found.gain_low[at] > 0 or found.gain_high[at] < 0)


def test_nothing_that_varies() -> None:
    base = np.random.default_rng(0).random((1, 3, 50))
    shifted, same = compare_crossed(base + 0.25, base), compare_crossed(base, base)
    assert (shifted.low, shifted.high, shifted.p) == pytest.approx((0.25, 0.25, 0)) and np.isnan(shifted.effect)
    assert shifted.gain_low < 0.25 / base.mean() < shifted.gain_high, "the baseline's mean is uncertain"
    assert (same.low, same.high, same.gain_low, same.gain_high, same.p, same.effect) == (0, 0, 0, 0, 1, 0)
    assert same.p_equal < 0.001


def test_a_baseline_of_zero_has_no_gain() -> None:
    found = compare_crossed(np.ones((1, 1, 9)), np.zeros((1, 1, 9)))
    assert found.difference == 1 and np.isnan([found.gain, found.gain_low, found.gain_high, found.detectable]).all()


def test_wrong_values_are_refused() -> None:
    for first, second in (((1, 3), (1, 3)), ((1, 2, 3), (1, 2, 4)), ((1, 0, 3), (1, 0, 3))):
        with pytest.raises(ValueError, match="need equal shapes"):
            compare_crossed(np.ones(first), np.ones(second))
    with pytest.raises(ValueError, match="not finite"):
        compare_crossed(np.full((1, 1, 3), np.nan), np.ones((1, 1, 3)))


def hits(rng: np.random.Generator, seeds: int, seed_sd: float, gain: float = 0.0, runs: int = 400) -> Contrast:
    """`runs` comparisons of two methods with hit rates of .06 and .06 (1 + gain), each of another set of users.

    Most users hit hardly ever (Beta-distributed tastes), half of them like the same under both methods, and each run
    moves a method's rate by `seed_sd` over the square root of 2.
    """
    mean = 0.06
    taste, other = rng.beta(2 * mean, 2 * (1 - mean), (2, runs, 1, USERS))
    theirs = np.where(rng.random((runs, 1, USERS)) < 0.5, taste, other) * (1 + gain)
    moved = 1 + rng.normal(0, seed_sd / np.sqrt(2) / mean, (2, runs, seeds, 1))
    method, baseline = (
        rng.random((runs, seeds, USERS)) < rate * move for rate, move in zip((theirs, taste), moved, strict=True)
    )
    return compare_crossed(method, baseline)


@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.0), (3, 0.008), (5, 0.004)])
def test_coverage_and_false_positives_on_hits(seeds: int, seed_sd: float) -> None:
    """With the interaction of users and seeds, which is nearly all of a hit's variance, and with that of seeds."""
    found = hits(np.random.default_rng(7), seeds, seed_sd)
    covered = int(((found.low <= 0) & (found.high >= 0)).sum())
    low, high = stats.binom.interval(0.998, 400, 0.95)
    assert low <= covered <= high
    assert covered == 400 - int((found.p < 0.05).sum())


def test_one_run_s_interval_does_not_know_the_seeds() -> None:
    """The reason why few seeds are warned of."""
    found = hits(np.random.default_rng(7), 1, 0.016)
    assert ((found.low <= 0) & (found.high >= 0)).mean() < 0.85


def test_gains_as_large_as_detectable_are_found_with_that_power() -> None:
    rng = np.random.default_rng(3)
    for seeds in (1, 5):
        detectable = float(np.median(hits(rng, seeds, 0.0, runs=100).detectable))
        assert 0.68 < (hits(rng, seeds, 0.0, gain=detectable).p < 0.05).mean() < 0.88


def test_equal_methods_are_found_equal_and_unequal_ones_are_not() -> None:
    rng = np.random.default_rng(5)
    for gain, equal in ((0.0, True), (0.1, False)):
        method, baseline = rng.random((2, 1, 3, 20000))
        assert (compare_crossed(method < 0.5 * (1 + gain), baseline < 0.5).p_equal < 0.05) == equal


def test_holm_by_hand() -> None:
    # 4 x 0.01, 3 x 0.02 = 0.06, 2 x 0.03 = 0.06, 1 x 0.04 raised to 0.06
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.6]), [1.0, 1.0])
    assert holm([]).size == 0


def test_holm_leaves_missing_tests_out_of_the_family() -> None:
    np.testing.assert_allclose(holm([0.01, np.nan, 0.03]), [0.02, np.nan, 0.03])
    assert np.isnan(holm([np.nan])).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_equal_at_half_the_level_means_that_the_interval_lies_within_the_margin(seed: int, seeds: int) -> None:
    rng = np.random.default_rng(seed)
    baseline = rng.normal(2, 1, (2, seeds, 400))
    found = compare_crossed(baseline + rng.normal(0, 1, baseline.shape), baseline)
    inside = (found.gain_low > -MARGIN) & (found.gain_high < MARGIN)
    np.testing.assert_array_equal(found.p_equal < (1 - LEVEL) / 2, inside)


def test_one_user_tests_nothing() -> None:
    found = compare_crossed(np.ones((1, 3, 1)), np.zeros((1, 3, 1)) + 0.5)
    assert np.isnan(found.p).all() and np.isnan(found.low).all()
    same = compare_crossed(np.ones((1, 3, 5)), np.ones((1, 3, 5)))
    assert (same.p == 1).all()
