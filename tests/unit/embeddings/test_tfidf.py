"""TF-IDF with SVD: shapes at the edges, determinism, and that shared words bring texts together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from iadsr.core.errors import DataError
from iadsr.embeddings.tfidf import TfidfSvd
from iadsr.embeddings.tfidf_options import TfidfSpec

WORDS = ["soap", "shampoo", "brush", "cream", "oil", "lotion", "mirror", "comb", "powder", "balm", "gel"]
TEXTS = [f"{a} {b} {a} set" for a in WORDS for b in WORDS if a != b]


def _encode(texts: list[str], dimension: int = 8, seed: int = 0) -> np.ndarray:
    return TfidfSvd(TfidfSpec(dimension=dimension, seed=seed)).encode(texts)


def test_unit_float32_rows_the_same_every_time() -> None:
    vectors = _encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 8)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors, _encode(TEXTS))


def test_texts_with_shared_words_are_closer() -> None:
    soap, same, other = _encode(["soap with oil", "oil with soap", "mirror and comb"], dimension=3)
    assert soap @ same > 0.999
    assert abs(soap @ other) < 1e-5


def test_a_small_vocabulary_leaves_zero_columns() -> None:
    vectors = _encode(["soap", "brush", "soap brush"], dimension=50)
    assert vectors.shape == (3, 50)
    assert not vectors[:, 2:].any()
    np.testing.assert_allclose(vectors[0] @ vectors[1], 0, atol=1e-6)


def test_a_text_without_words_gets_zeros() -> None:
    vectors = _encode(["soap oil", "", "brush comb"], dimension=2)
    assert not vectors[1].any()
    assert np.isfinite(vectors).all()


def test_no_word_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="no word"):
        _encode(["", "?"])


def test_the_seed_is_part_of_the_identity() -> None:
    one, two = (TfidfSvd(TfidfSpec(seed=seed)).identity for seed in (1, 2))
    assert one != two
    assert set(one) == {"encoder", "model", "revision", "pooling"}


_ENCODE = """
import sys
import numpy as np
from iadsr.embeddings.tfidf_options import TfidfSpec
from iadsr.embeddings.tfidf import TfidfSvd
rng = np.random.default_rng(0)
texts = [" ".join(f"word{number}" for number in rng.integers(900, size=12)) for _ in range(1500)]
sys.stdout.buffer.write(TfidfSvd(TfidfSpec()).encode(texts).tobytes())
"""


def test_threads_of_the_shell_change_no_byte() -> None:
    found = set()
    for threads in ("1", "2"):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command, root = [sys.executable, "-c", _ENCODE], Path(__file__).parents[3]
        done = subprocess.run(command, env=environment, cwd=root, capture_output=True, check=True)
        assert len(done.stdout) == 1500 * 384 * 4
        found.add(done.stdout)
    assert len(found) == 1
