"""Unit length, and batches with little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def unit_rows(matrix: NDArray[np.floating]) -> NDArray[np.float32]:
    """Divide rows (n, d) by their L2 norm; a zero row stays zero."""
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    return (matrix / np.where(norms > 0, norms, 1)).astype(np.float32)


def batches_by_length(lengths: Sequence[int], size: int) -> Iterator[NDArray[np.int64]]:
    """Yield positions in batches of at most `size`, longest first; equal lengths keep their order.

    Batches hold little padding, and the largest, which decides whether memory suffices, comes first.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]
