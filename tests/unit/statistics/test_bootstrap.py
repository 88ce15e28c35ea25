from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from iadsr.statistics.bootstrap import _weights, hierarchical_bootstrap


def test_constant_difference_has_no_width() -> None:
    base = np.random.default_rng(0).random((3, 50))
    found = hierarchical_bootstrap(base + 0.25, base, resamples=200)
    assert (found.difference_low, found.difference_high) == pytest.approx((0.25, 0.25))
    assert found.gain_low < 0.25 / base.mean() < found.gain_high
    same = hierarchical_bootstrap(base, base, resamples=200)
    assert same.difference_low == same.difference_high == same.gain_low == same.gain_high == 0


def test_one_seed_agrees_with_scipy_over_users() -> None:
    rng = np.random.default_rng(1)
    method, baseline = rng.normal(0.1, 1, 200), rng.normal(0, 1, 200)
    theirs = stats.bootstrap(
        (method - baseline,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(0)
    ).confidence_interval
    found = hierarchical_bootstrap(method[None], baseline[None], resamples=4000)
    assert (found.difference_low, found.difference_high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_seed_variance_widens_the_interval() -> None:
    rng = np.random.default_rng(2)
    users = rng.normal(0, 0.1, 400)
    steady = np.tile(users, (4, 1))
    varying = steady + np.array([-0.3, -0.1, 0.1, 0.3])[:, None]
    baseline = np.ones_like(steady)

    def width(difference: np.ndarray) -> float:
        found = hierarchical_bootstrap(baseline + difference, baseline)
        return float(found.difference_high - found.difference_low)

    # users alone: 2 x 1.96 x 0.1 / sqrt(400); with seeds the sd of a mean of 4 draws is 0.11
    assert width(steady) == pytest.approx(0.0196, rel=0.15)
    assert width(varying) == pytest.approx(2 * 1.96 * 0.112, rel=0.15)


def test_metrics_share_resamples_and_equal_one_at_a_time() -> None:
    method, baseline = np.random.default_rng(3).random((2, 5, 3, 30))
    together = hierarchical_bootstrap(method, baseline, resamples=300, seed=9)
    assert together.gain_high.shape == (5,)
    for i in range(5):
        alone = hierarchical_bootstrap(method[i], baseline[i], resamples=300, seed=9)
        for name in ("difference_low", "difference_high", "gain_low", "gain_high"):
            assert getattr(together, name)[i] == pytest.approx(getattr(alone, name))


def test_blocks_do_not_change_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    method, baseline = np.random.default_rng(3).normal(size=(2, 2, 100))
    whole = hierarchical_bootstrap(method, baseline, resamples=4000)
    monkeypatch.setattr("iadsr.statistics.bootstrap._BLOCK_ENTRIES", 700)
    blocks = hierarchical_bootstrap(method, baseline, resamples=4000)
    assert blocks.difference_low == pytest.approx(whole.difference_low, abs=0.03)


def test_weights_are_multinomial() -> None:
    weights = _weights(4000, 5, np.random.default_rng(0))
    assert np.allclose(weights.sum(axis=1), 1)
    counts = weights * 5
    assert counts.mean(axis=0) == pytest.approx(np.ones(5), abs=0.07)
    assert counts.var(axis=0) == pytest.approx(np.full(5, 0.8), abs=0.1)  # n p (1 - p)
    assert np.corrcoef(counts[:, 0], counts[:, 1])[0, 1] == pytest.approx(-0.25, abs=0.06)


def test_gain_without_a_baseline_is_undefined() -> None:
    found = hierarchical_bootstrap(np.ones((1, 9)), np.zeros((1, 9)), resamples=50)
    assert found.difference_low == pytest.approx(1)
    assert np.isnan(found.gain_low) and np.isnan(found.gain_high)


def test_wrong_shapes_are_refused() -> None:
    for method, baseline in (
        (np.ones(3), np.ones(3)),
        (np.ones((2, 3)), np.ones((2, 4))),
        (np.ones((0, 3)),) * 2,
    ):
        with pytest.raises(ValueError, match="need equal shapes"):
            hierarchical_bootstrap(method, baseline)


@pytest.mark.parametrize("seeds", [1, 3])
def test_covers_the_truth_when_seeds_do_not_vary(seeds: int) -> None:
    rng = np.random.default_rng(21)
    sims, users, difference, base = 400, 120, 0.2, 1.0
    covered = np.zeros(2)
    for i in range(sims):
        baseline = np.tile(rng.normal(base, 0.5, users), (seeds, 1))
        method = baseline + rng.normal(difference, 1.0, users)
        found = hierarchical_bootstrap(method, baseline, resamples=500, seed=i)
        covered += [
            found.difference_low <= difference <= found.difference_high,
            found.gain_low <= difference / base <= found.gain_high,
        ]
    # a percentile interval is a little narrow: 94 % is expected, bounds are 3.5 standard errors
    assert (covered / sims > 0.90).all() and (covered / sims < 0.985).all()
