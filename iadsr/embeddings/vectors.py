"""Arithmetic that several encoders share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def unit_rows(matrix: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows (n, d) divided by their L2 norm, as float32; a zero row stays zero."""
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    return (matrix / np.where(norms > 0, norms, 1)).astype(np.float32)


def batches_by_length(lengths: Sequence[int], size: int) -> Iterator[NDArray[np.int64]]:
    """Positions in batches of at most `size`, longest first, so that a batch holds little padding and the
    largest one, which decides whether memory suffices, runs first. Equal lengths keep their order."""
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]
