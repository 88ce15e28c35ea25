"""Assigns a row in a table of joined names to each interaction."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from iadsr.core.errors import DataError
from iadsr.core.files import atomic_path, reading, remake
from iadsr.sequences.split import Sequences


def save_text_rows(path: Path, rows: npt.NDArray[np.int32], sequences: Sequences, text_digest: str) -> None:
    """Write the row of each interaction, (N,), with the digests of the histories and of the texts."""
    histories, texts = np.array(histories_digest(sequences)), np.array(text_digest)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, rows=rows, histories=histories, texts=texts)


def with_text_rows(sequences: Sequences, path: Path, text_digest: str) -> Sequences:
    """Fill in `texts` from the file that `save_text_rows` wrote.

    Args:
        text_digest: digest of the texts that the vectors in use encode.

    Raises:
        DataError: the file is damaged, or belongs to other histories or other texts.
    """
    with reading(path), np.load(path, allow_pickle=False) as stored:
        rows, histories, texts = stored["rows"], str(stored["histories"]), str(stored["texts"])
    for name, digest, wanted in (("histories", histories, histories_digest(sequences)), ("texts", texts, text_digest)):
        if digest != wanted:
            raise DataError(f"{path} was made from other {name}; {remake(path)}")
    with reading(path):
        if rows.shape != sequences.items.shape or rows.dtype != np.int32 or rows.min() < 0:
            raise ValueError("it lacks one row number per interaction")
    return replace(sequences, texts=rows.astype(np.int64) + 1)  # row 0 of a table is padding


def histories_digest(sequences: Sequences) -> str:
    """Digest the items of each user in their order (SHA-256)."""
    digest = hashlib.sha256(sequences.offsets.astype("<i8").tobytes())
    digest.update(sequences.items.astype("<i8").tobytes())
    return digest.hexdigest()
