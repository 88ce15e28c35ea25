from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from iadsr.statistics.paired import effect_size, holm, paired_test


def test_small_case_by_enumeration() -> None:
    # of the 8 sign patterns of (1, 2, 3) only +++ and --- reach |6|: p tends to 1/4
    assert paired_test([1.0, 2.0, 3.0]) == pytest.approx(0.25, abs=0.02)
    # |sum| >= 2 for (1, 2, 3) with one sign flipped: +-+ 2, ++- 0, -++ 4; so 2, 4 and 6 each twice: 6/8
    assert paired_test([1.0, -2.0, 3.0]) == pytest.approx(0.75, abs=0.02)


def test_agrees_with_scipy_permutation_test() -> None:
    difference = np.random.default_rng(1).normal(0.15, 1.0, 83)  # not a multiple of 8
    theirs = stats.permutation_test(
        (difference, np.zeros_like(difference)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9_999,
        rng=np.random.default_rng(5),
    )
    assert paired_test(difference) == pytest.approx(theirs.pvalue, abs=0.02)


@pytest.mark.parametrize("shift", [0.0, 0.03, 0.06])
def test_agrees_with_t_test_for_many_users(shift: float) -> None:
    first, second = np.random.default_rng(2).normal(size=(2, 3000))
    theirs = stats.ttest_rel(first + shift, second).pvalue
    assert paired_test(first + shift - second) == pytest.approx(theirs, abs=0.02)


def test_zero_differences() -> None:
    assert paired_test(np.zeros(50)) == 1.0
    assert paired_test([]) == 1.0
    difference = np.random.default_rng(0).normal(size=40)
    assert paired_test(np.concatenate([difference, np.zeros(1000)])) == paired_test(difference)
    with pytest.raises(ValueError, match="NaN"):
        paired_test([1.0, np.nan])


def test_certain_difference_has_the_smallest_p() -> None:
    assert paired_test(np.ones(100), resamples=999) == 1 / 1000
    assert paired_test(-np.ones(100), resamples=999) == 1 / 1000


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=40))
def test_p_is_a_probability_and_ignores_direction_and_scale(values: list[float]) -> None:
    difference = np.array(values)
    p = paired_test(difference, resamples=199)
    assert 1 / 200 <= p <= 1
    assert paired_test(-difference, resamples=199) == p
    assert paired_test(4 * difference, resamples=199) == p


def test_same_seed_same_p() -> None:
    difference = np.random.default_rng(0).normal(0.1, 1, 300)
    assert paired_test(difference, seed=4) == paired_test(difference, seed=4)
    assert paired_test(difference, seed=4) != paired_test(difference, seed=5)


@pytest.mark.parametrize("kind", ["continuous", "hits"])
def test_false_positives_at_the_null_and_power_at_an_effect(kind: str) -> None:
    rng = np.random.default_rng(11)
    sims, users, effect = 1000, 100, 0.3

    def draw(shift: float) -> np.ndarray:
        if kind == "continuous":
            return np.asarray(rng.normal(shift, 1.0, users))
        # hit differences of -1, 0, 1; (up - down) / sd = shift for up + down = 0.4
        gap = shift * np.sqrt(0.4)
        return rng.choice([-1.0, 0.0, 1.0], users, p=[0.2 - gap / 2, 0.6, 0.2 + gap / 2])

    null = sum(paired_test(draw(0.0), resamples=399, seed=i) <= 0.05 for i in range(sims))
    low, high = stats.binom.interval(0.999, sims, 0.05)
    assert null <= high
    if kind == "continuous":  # the discrete test is conservative, never exact
        assert null >= low
    found = sum(paired_test(draw(effect), resamples=399, seed=i) <= 0.05 for i in range(sims // 2))
    # t test with dz = 0.3 and 100 users: power 0.84
    assert 0.76 < found / (sims // 2) < 0.92


def test_effect_size() -> None:
    assert effect_size([1.0, 2.0, 3.0]) == 2.0
    assert effect_size([-1.0, -2.0, -3.0]) == -2.0
    assert effect_size([0.0, 0.0]) == 0.0
    assert np.isnan(effect_size([1.0, 1.0])) and np.isnan(effect_size([1.0])) and np.isnan(effect_size([]))


def test_holm_by_hand() -> None:
    # 4 x 0.01, 3 x 0.02 = 0.06, 2 x 0.03 = 0.06, 1 x 0.04 raised to 0.06
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.6]), [1.0, 1.0])
    assert holm([]).size == 0


def test_holm_leaves_missing_tests_out_of_the_family() -> None:
    np.testing.assert_allclose(holm([0.01, np.nan, 0.03]), [0.02, np.nan, 0.03])
    assert np.isnan(holm([np.nan])).all()
