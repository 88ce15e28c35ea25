"""Rows of a table of joined names: read back for the histories and texts that they were made from, and no others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from iadsr.core.errors import DataError
from iadsr.sequences.text_rows import save_text_rows, with_text_rows
from tests.helpers import small_sequences

SEQUENCES = small_sequences()
ROWS = np.arange(len(SEQUENCES.items), dtype=np.int32) % 7


def test_row_zero_is_padding(tmp_path: Path) -> None:
    save_text_rows(tmp_path / "r.npz", ROWS, SEQUENCES, "digest")
    read = with_text_rows(SEQUENCES, tmp_path / "r.npz", "digest")
    assert read.texts is not None
    assert read.texts.tolist() == (ROWS + 1).tolist()
    assert read.items is SEQUENCES.items


def test_rows_of_other_histories_or_texts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    save_text_rows(path, ROWS, SEQUENCES, "digest")
    with pytest.raises(DataError, match="other texts"):
        with_text_rows(SEQUENCES, path, "another")
    swapped = SEQUENCES.items.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    with pytest.raises(DataError, match="other histories"):
        with_text_rows(replace(SEQUENCES, items=swapped), path, "digest")
    with pytest.raises(DataError, match="other histories"):
        with_text_rows(small_sequences(seed=5), path, "digest")


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"r\.npz is damaged"):
        with_text_rows(SEQUENCES, tmp_path / "r.npz", "digest")


@pytest.mark.parametrize("rows", [ROWS[:-1], ROWS - 1, ROWS.astype(np.float32), ROWS[:, None]])
def test_rows_that_are_not_one_per_interaction_are_refused(rows: npt.NDArray[np.int32], tmp_path: Path) -> None:
    save_text_rows(tmp_path / "r.npz", rows, SEQUENCES, "digest")
    with pytest.raises(DataError, match=r"r\.npz is damaged \(it lacks one row number per interaction"):
        with_text_rows(SEQUENCES, tmp_path / "r.npz", "digest")
