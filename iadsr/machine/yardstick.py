"""A fixed piece of work that tells how fast this CPU is at the moment, whoever else uses it."""

from __future__ import annotations

import time

_SIDE, _PRODUCTS = 384, 100


def yardstick() -> float:
    """Time a product of two matrices of 384 x 384 float32 on the CPU, with torch's threads: seconds, the mean of 100.

    A record's seconds say how long a run took; this says how much of that is owed to others on the same core.
    """
    import torch

    matrix = torch.ones(_SIDE, _SIDE)
    matrix @ matrix  # threads and buffers are made at the first
    began = time.perf_counter()
    for _ in range(_PRODUCTS):
        matrix @ matrix
    return (time.perf_counter() - began) / _PRODUCTS
