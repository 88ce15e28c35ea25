"""Leave-one-out by time, with ties in the source's order."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iadsr.core.errors import DataError
from iadsr.sequences.split import build_sequences, load_sequences, save_sequences

ITEMS = pd.DataFrame({"item": ["a", "b", "c", "d"]})
ROWS = pd.DataFrame(
    {
        "user": ["u2", "u1", "u1", "u2", "u1", "u2", "u1"],
        "item": ["a", "d", "c", "b", "b", "c", "a"],
        "timestamp": [5, 3, 1, 5, 3, 2, 3],
    }
)


def test_order_ties_targets_and_counts() -> None:
    sequences = build_sequences(ROWS, ITEMS)
    assert sequences.users.tolist() == ["u1", "u2"]
    # u1: c at 1, then d, b, a tied at 3 in row order; u2: c at 2, then a, b tied at 5
    assert sequences.items.tolist() == [3, 4, 2, 1, 3, 1, 2]
    assert sequences.items[sequences.target_positions("test")].tolist() == [1, 2]
    assert sequences.items[sequences.target_positions("validation")].tolist() == [2, 1]
    assert sequences.train_counts().tolist() == [0, 0, 0, 2, 1]


def test_a_user_without_training_items_is_refused() -> None:
    with pytest.raises(DataError, match="'u2' has 2"):
        build_sequences(ROWS.drop(index=0), ITEMS)


def test_saved_and_loaded_are_equal(tmp_path: Path) -> None:
    sequences = build_sequences(ROWS.assign(noise=[True, *[False] * 6]), ITEMS)
    save_sequences(tmp_path / "s.npz", sequences)
    loaded = load_sequences(tmp_path / "s.npz")
    assert sequences.times is not None
    for name in ("items", "offsets", "users", "noise", "times"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(sequences, name))
    assert loaded.noise is not None
    assert loaded.noise.tolist() == [False, False, False, False, False, True, False]
    with pytest.raises(DataError, match="missing"):
        load_sequences(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("rows", "items", "message"),
    [
        (ROWS.iloc[:0], ITEMS, "no interaction"),
        (ROWS.assign(user=[None, *ROWS["user"][1:]]), ITEMS, "lacks its user"),
        (ROWS.assign(timestamp=ROWS["timestamp"].astype(str)), ITEMS, "timestamps are"),
        (ROWS, ITEMS.iloc[:2], "2 of its items are not in items.parquet beside it, e.g. 'c'"),
        (ROWS, pd.concat([ITEMS, ITEMS]), "an item occurs twice"),
    ],
)
def test_tables_that_do_not_fit_are_refused(rows: pd.DataFrame, items: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_sequences(rows, items)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": np.array([1, 2, 9, 1, 2, 3, 4])}, "outside the catalogue of 4"),
        ({"items": np.array([1.0, 2, 3, 1, 2, 3, 4])}, "items is float64"),
        ({"offsets": np.array([0, 3, 6])}, "offsets do not divide 7"),
        ({"offsets": np.array([0, 5, 7])}, "offsets do not divide 7"),
        ({"users": np.array(["u1"])}, "1 user ids for 2 users"),
        ({"times": np.array([1, 2])}, "times has 2 entries"),
        ({"noise": np.array([True])}, "noise has 1 entries"),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(
    changes: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    save_sequences(tmp_path / "s.npz", replace(build_sequences(ROWS, ITEMS), **changes))
    with pytest.raises(DataError, match=message):
        load_sequences(tmp_path / "s.npz")
