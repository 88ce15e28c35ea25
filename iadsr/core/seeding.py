"""Seeds: one stream for each purpose, so that drawing more from one never shifts another."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, purpose: str) -> int:
    """Derive a 63-bit seed for `purpose` from nothing but the two arguments."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Make a numpy generator for `purpose`."""
    return np.random.default_rng(derive(seed, purpose))
