"""Which text of a table belongs to each interaction, where texts are joined names and not those of single items."""

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
    """Write (N,) rows of a table of texts, with the digests of the histories and of the texts that they belong to."""
    histories, texts = np.array(histories_digest(sequences)), np.array(text_digest)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, rows=rows, histories=histories, texts=texts)


def with_text_rows(sequences: Sequences, path: Path, text_digest: str) -> Sequences:
    """The sequences with `texts` filled in from what `save_text_rows` wrote.

    Args:
        text_digest: that of the texts whose vectors are in use.

    Raises:
        DataError: the file is damaged, or belongs to other histories or other texts.
    """
    with reading(path), np.load(path, allow_pickle=False) as stored:
        rows, histories, texts = stored["rows"], str(stored["histories"]), str(stored["texts"])
    for found, wanted, of in ((histories, histories_digest(sequences), "histories"), (texts, text_digest, "texts")):
        if found != wanted:
            raise DataError(f"{path} was made from other {of}; {remake(path)}")
    with reading(path):
        if rows.shape != sequences.items.shape or rows.dtype != np.int32 or rows.min() < 0:
            raise ValueError("it lacks one row number per interaction")
    return replace(sequences, texts=rows.astype(np.int64) + 1)  # row 0 of a table is padding


def histories_digest(sequences: Sequences) -> str:
    """SHA-256 of whose items come in which order."""
    digest = hashlib.sha256(sequences.offsets.astype("<i8").tobytes())
    digest.update(sequences.items.astype("<i8").tobytes())
    return digest.hexdigest()
