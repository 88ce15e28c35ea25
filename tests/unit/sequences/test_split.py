"""Leave-one-out by time, with ties in the source's order."""

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
