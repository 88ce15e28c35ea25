"""Hierarchical bootstrap of a paired difference: seeds with replacement, then users with replacement.

Users are crossed with seeds (the same users are ranked in every run), so a resample draws one set of users
and uses it for both methods and all of its seeds. A set of users for each seed would average the users'
variance away over the seeds and give intervals that are too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2_000
LEVEL = 0.95
_BLOCK_ENTRIES = 1 << 21


@dataclass(frozen=True)
class Intervals:
    """Percentile intervals; each field has the shape of the metrics axis, () without one."""

    difference_low: Floats
    difference_high: Floats
    gain_low: Floats
    gain_high: Floats


def hierarchical_bootstrap(
    method: ArrayLike,
    baseline: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int | list[int] = 0,
) -> Intervals:
    """Compute intervals of mean(method) - mean(baseline) and of that difference over mean(baseline).

    `method` and `baseline`: (seeds, users), or (metrics, seeds, users) to use the same resamples for several
    metrics. With one seed only users are resampled. The interval of the gain is NaN where a resampled
    baseline mean is 0.

    Raises:
        ValueError: the shapes differ or are empty.
    """
    method, baseline = np.asarray(method, np.float64), np.asarray(baseline, np.float64)
    if method.shape != baseline.shape or method.ndim not in (2, 3) or 0 in method.shape:
        raise ValueError(f"need equal shapes ([metrics,] seeds, users), got {method.shape} and {baseline.shape}")
    metrics = method.shape[:-2]
    pairs = np.stack([method - baseline, baseline]).reshape(-1, *method.shape[-2:])
    means = _resampled_means(pairs, resamples, np.random.default_rng(seed))
    difference, base = means.reshape(resamples, 2, *metrics).swapaxes(0, 1)
    defined = base != 0
    gain = np.divide(difference, base, out=np.full_like(base, np.nan), where=defined)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(difference, [tail, 1.0 - tail], axis=0)
    gain_low, gain_high = np.quantile(gain, [tail, 1.0 - tail], axis=0)  # NaN if any resample is NaN
    return Intervals(low, high, gain_low, gain_high)


def _resampled_means(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Resample means over seeds and users of `values` (rows, seeds, users). Shape (resamples, rows)."""
    rows, seeds, users = values.shape
    flat = values.reshape(rows * seeds, users).T
    means = np.empty((resamples, rows))
    step = max(1, _BLOCK_ENTRIES // users)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        seed_weights = _weights(size, seeds, rng)
        by_seed = (_weights(size, users, rng) @ flat).reshape(size, rows, seeds)
        means[start : start + size] = np.einsum("brs,bs->br", by_seed, seed_weights)
    return means


def _weights(resamples: int, units: int, rng: np.random.Generator) -> Floats:
    """Draw `units` units with replacement, and count each one's share. Shape (resamples, units).

    Counting uniform draws gives the same law as `Generator.multinomial`, several times faster for many units.
    """
    draws = rng.integers(0, units, size=(resamples, units), dtype=np.int64)
    draws += np.arange(resamples, dtype=np.int64)[:, None] * units
    counts = np.bincount(draws.ravel(), minlength=resamples * units)
    return counts.reshape(resamples, units) / units
