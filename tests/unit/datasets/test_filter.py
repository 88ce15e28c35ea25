"""The k-core."""

import numpy as np
import pandas as pd
import pytest

from iadsr.core.errors import DataError
from iadsr.datasets.filter import check_core, k_core


def frame(pairs: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["user", "item"]).assign(timestamp=range(len(pairs)))


def test_users_and_items_are_dropped_until_stable() -> None:
    square = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]
    chain = [("b", "3"), ("c", "3"), ("c", "4"), ("d", "4")]  # d falls, then 4, then c, then 3
    assert k_core(frame(square + chain), 2)["timestamp"].tolist() == [0, 1, 2, 3]


def test_row_order_is_kept() -> None:
    table = frame([("b", "2"), ("a", "1"), ("b", "1"), ("a", "2")])
    for k in (0, 1, 2):
        pd.testing.assert_frame_equal(k_core(table, k), table)


def test_k_above_every_count_leaves_nothing() -> None:
    assert k_core(frame([("a", "1"), ("b", "1")]), 3).empty


def test_a_k_core_passes_the_check() -> None:
    rng = np.random.default_rng(0)
    table = frame([(str(u), str(i)) for u, i in rng.integers(0, 60, (400, 2))])
    with pytest.raises(DataError, match="should be a 5-core"):
        check_core(table, 5, "some data")
    core = k_core(table, 5)
    assert 0 < len(core) < len(table)
    check_core(core, 5, "some data")
