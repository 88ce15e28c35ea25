"""Filters or checks for a k-core, in which every user and item has at least k interactions."""

from __future__ import annotations

import pandas as pd

from iadsr.core.columns import ITEM, USER
from iadsr.core.errors import DataError


def k_core(interactions: pd.DataFrame, k: int) -> pd.DataFrame:
    """Keep the largest part of `interactions` in which every user and item has at least k rows, in the same order.

    Dropping users can push items below k and the other way round, so both are dropped until nothing changes.
    """
    while True:
        keep = _counts(interactions, USER).ge(k) & _counts(interactions, ITEM).ge(k)
        if keep.all():
            return interactions.reset_index(drop=True)
        interactions = interactions[keep]


def check_core(interactions: pd.DataFrame, k: int, name: str) -> None:
    """Raise DataError unless every user and every item has at least k rows. `name` is the dataset's."""
    for column in (USER, ITEM):
        counts = interactions[column].value_counts()
        if below := int((counts < k).sum()):
            raise DataError(
                f"{name} should be a {k}-core, but {below} of {len(counts)} {column}s have "
                f"fewer than {k} interactions (e.g. '{counts.index[-1]}' has {counts.iloc[-1]}): the "
                "file is not the published one; replace it, or set check_core: false to filter it"
            )


def _counts(interactions: pd.DataFrame, column: str) -> pd.Series:
    """Count, for every row, the rows with its value of `column`."""
    return interactions.groupby(column)[column].transform("size")
