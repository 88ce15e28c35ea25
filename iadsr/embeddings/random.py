"""Random directions: a control without meaning, in which equal texts have equal vectors.

A text's numbers come from a SplitMix64 stream (Steele, Lea and Flood, OOPSLA 2014) that is seeded by the text and
the seed, so that a vector depends on no other text and on no library's generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from iadsr.embeddings.encoder import Encoder
from iadsr.embeddings.random_options import RandomSpec
from iadsr.embeddings.vectors import unit_rows
from iadsr.formats.embeddings import Vectors

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


def _start(text: str, seed: int) -> int:
    """Seed the stream of `text`: 64 bits."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=seed.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")


def _uniforms(starts: NDArray[np.uint64], count: int) -> NDArray[np.float64]:
    """Draw (n, count) numbers strictly between 0 and 1, one stream per row."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
    z = starts[:, None] + steps
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    z = z ^ (z >> np.uint64(31))
    bits: NDArray[np.float64] = (z >> np.uint64(11)).astype(np.float64)
    return (bits + 0.5) * 2.0**-53


class RandomDirections(Encoder):
    """Encodes texts as directions drawn uniformly from the unit sphere."""

    corpus_wide = False

    def __init__(self, spec: RandomSpec, _device: str = "cpu") -> None:
        self._dimension = spec.dimension
        self._seed = spec.seed

    @property
    def identity(self) -> dict[str, str]:
        """See `Encoder`."""
        return {
            "encoder": "random",
            "model": "normal directions",
            "revision": f"splitmix64, seed {self._seed}",
            "pooling": "none",
        }

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (len(texts), dimension), unit rows."""
        from scipy.special import ndtri

        starts = np.array([_start(text, self._seed) for text in texts], dtype=np.uint64)
        return unit_rows(ndtri(_uniforms(starts, self._dimension)))
