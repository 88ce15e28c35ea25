"""Ranking metrics of one relevant item per user, from that item's rank.

Ranks start at 1. A tied target has its expected rank under a random order of the tied items
(1 + better + tied / 2), so a rank may end in .5; a metric is taken at that rank.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from iadsr.core import columns as c
from iadsr.core.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

GROUPS = (c.ALL_USERS, *c.BY_POPULARITY)
_TENTHS = len(c.TENTHS)
COVERAGE_DEPTH = 10
COVERAGE = f"coverage@{COVERAGE_DEPTH}"
TIED_SHARE = "tied_share"


def hit_rate(rank: ArrayLike, k: int) -> Floats:
    """Return 1 for each rank within the first `k`, else 0. Shape of `rank`."""
    return np.asarray(np.asarray(rank, np.float64) <= k, np.float64)


def ndcg(rank: ArrayLike, k: int) -> Floats:
    """Return 1 / log2(rank + 1) for each rank within the first `k`, else 0 (the ideal is 1). Shape of `rank`."""
    rank = np.asarray(rank, np.float64)
    return np.where(rank <= k, 1.0 / np.log2(rank + 1.0), 0.0)


def reciprocal_rank(rank: ArrayLike) -> Floats:
    """Return 1 / rank, without a cut-off. Shape of `rank`."""
    return np.asarray(1.0 / np.asarray(rank, np.float64), np.float64)


# a user's metrics by name: each maps ranks (users,) to values (users,)
METRICS: dict[str, Callable[[Floats], Floats]] = {
    f"{name}@{k}": functools.partial(metric, k=k)
    for k in c.CUTOFFS
    for name, metric in (("HR", hit_rate), ("NDCG", ndcg))
} | {"MRR": reciprocal_rank}


def add_metrics(paths: Iterable[str]) -> None:
    """Add metrics of the user's own, `package.module:function`, to `METRICS`.

    Raises:
        ConfigError: there is no such function, or a metric of its name.
    """
    for path in paths:
        module, _, name = path.partition(":")
        try:
            metric = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"metric {path}: {error}; name a function of a module on Python's path") from None
        if METRICS.setdefault(name, metric) is not metric:
            raise ConfigError(f"metric {path}: there is a metric '{name}' already; give the function another name")


def per_user(ranks: pd.DataFrame, ranking: str) -> pd.DataFrame:
    """Compute every metric of `METRICS` (a column each) for every row of `ranks`, under one ranking rule."""
    rank = ranks[c.rank_column(ranking)].to_numpy(np.float64)
    return pd.DataFrame({name: metric(rank) for name, metric in METRICS.items()}, index=ranks.index)


def popularity_decile(counts: ArrayLike) -> NDArray[np.int64]:
    """Assign each target to a decile (1 least popular .. 10) by its training count. Shape (users,).

    Targets are ordered by count and equal counts share their mean position m in 1..n; the decile is
    floor(10 (m - 1/2) / n) + 1. Equal counts therefore never part, and a decile may be small or empty.
    """
    counts = np.asarray(counts)
    # doubled so that the arithmetic is exact: a mean position is a multiple of 1/2
    doubled = np.rint(2 * pd.Series(counts).rank().to_numpy()).astype(np.int64)
    return np.asarray(_TENTHS * (doubled - 1) // (2 * max(counts.size, 1)) + 1, np.int64)


def group_members(ranks: pd.DataFrame) -> Bools:
    """Mark which users (columns) are in which of `GROUPS` (rows). Shape (12, users)."""
    counts = ranks[c.TARGET_TRAIN_COUNT].to_numpy()
    deciles = popularity_decile(counts) == np.arange(1, _TENTHS + 1)[:, None]
    return np.vstack([np.ones(len(ranks), np.bool_), counts <= c.COLD_LIMIT, deciles])


def count_shown(top: pd.Series, items: int) -> int:
    """Count the distinct items in anybody's first `COVERAGE_DEPTH` of `top` (lists of indices; 0 pads short ones).

    Raises:
        DataError: an index is outside the catalogue of `items`.
    """
    parts = [np.asarray(row[:COVERAGE_DEPTH]) for row in top]
    shown = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
    if shown.size and (shown[0] < 0 or shown[-1] > items):
        raise DataError(f"a recommended item index is outside the catalogue of {items} items")
    return int(np.count_nonzero(shown))


def tied_share(ranks: pd.DataFrame, ranking: str) -> float:
    """Compute the share of users whose target ties with another candidate; NaN without users."""
    ties = ranks[c.ties_column(ranking)].to_numpy()
    return float(np.mean(ties > 0)) if ties.size else float("nan")


def average_groups(ranks: pd.DataFrame, ranking: str, coverage: float) -> pd.DataFrame:
    """Average every metric over every group under one ranking rule: columns group, metric, value, users.

    An empty group has value NaN and 0 users; without any user every row is such a row. `coverage` goes in as it is.
    """
    members = group_members(ranks).astype(np.float64)
    users = members.sum(axis=1)
    sums = members @ per_user(ranks, ranking).to_numpy()
    means = np.divide(sums, users[:, None], out=np.full_like(sums, np.nan), where=users[:, None] > 0)
    grouped = pd.DataFrame(
        {
            c.GROUP: np.repeat(GROUPS, len(METRICS)),
            c.METRIC: np.tile([*METRICS], len(GROUPS)),
            c.VALUE: means.ravel(),
            c.USERS: np.repeat(users.astype(np.int64), len(METRICS)),
        }
    )
    whole = pd.DataFrame(
        {
            c.GROUP: c.ALL_USERS,
            c.METRIC: [COVERAGE, TIED_SHARE],
            c.VALUE: [coverage, tied_share(ranks, ranking)],
            c.USERS: len(ranks),
        }
    )
    return pd.concat([grouped, whole], ignore_index=True)
