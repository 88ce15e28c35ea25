"""Random directions: equal texts share one, order and company do not matter, and the draw is even."""

from __future__ import annotations

import numpy as np

from iadsr.embeddings.random import RandomDirections
from iadsr.embeddings.random_options import RandomSpec


def _encode(texts: list[str], dimension: int = 16, seed: int = 0) -> np.ndarray:
    return RandomDirections(RandomSpec(dimension=dimension, seed=seed)).encode(texts)


def test_a_vector_depends_on_its_text_alone() -> None:
    vectors = _encode(["a", "b", "a"])
    assert vectors.shape == (3, 16)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])
    np.testing.assert_array_equal(vectors[1:2], _encode(["b"]))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_seed_changes_every_vector() -> None:
    assert not np.allclose(_encode(["a"], seed=0), _encode(["a"], seed=1))


def test_directions_are_spread_evenly() -> None:
    vectors = _encode([str(number) for number in range(4000)], dimension=32).astype(np.float64)
    # even directions have mean 0 and covariance I / d, up to errors near 1 / sqrt(n d) and 1 / (d sqrt(n))
    assert np.abs(vectors.mean(axis=0)).max() < 5 / np.sqrt(4000 * 32)
    covariance = vectors.T @ vectors / len(vectors)
    assert np.abs(covariance - np.eye(32) / 32).max() < 6 * 1.5 / (32 * np.sqrt(4000))


def test_the_stream_is_splitmix64() -> None:
    from iadsr.embeddings.random import _uniforms

    # first outputs of SplitMix64 from state 1234567, as Rosetta Code lists them
    known = np.array([6457827717110365317, 3203168211198807973, 9817491932198370423], dtype=np.uint64)
    expected = ((known >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    np.testing.assert_array_equal(_uniforms(np.array([1234567], dtype=np.uint64), 3)[0], expected)
