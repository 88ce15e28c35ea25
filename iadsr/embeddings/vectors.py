"""What encoders share: unit length, batches with little padding, one CPU thread."""

from __future__ import annotations

import contextlib
import sys
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


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit the numerical libraries loaded so far to one CPU thread; more would change the order of sums."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    with threadpool_limits(limits=1):
        try:
            if torch:
                torch.set_num_threads(1)  # also its own MKL, which threadpoolctl does not see
            yield
        finally:
            if torch:
                torch.set_num_threads(before)
