"""TF-IDF and truncated SVD: a control that knows word overlap alone, without a language model."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

import numpy as np

from iadsr.core.errors import DataError
from iadsr.embeddings.encoder import Encoder
from iadsr.embeddings.tfidf_options import TfidfSpec
from iadsr.embeddings.vectors import one_thread, unit_rows
from iadsr.formats.embeddings import Vectors


class TfidfSvd(Encoder):
    """Latent semantic analysis, fitted on the texts that it encodes."""

    corpus_wide = True

    def __init__(self, spec: TfidfSpec, _device: str = "cpu") -> None:
        self._dimension = spec.dimension
        self._seed = spec.seed

    @property
    def identity(self) -> dict[str, str]:
        """See `Encoder`. The SVD is a randomised one, so the seed belongs to the revision."""
        version = importlib.metadata.version("scikit-learn")
        return {
            "encoder": "tfidf",
            "model": "TfidfVectorizer + TruncatedSVD",
            "revision": f"scikit-learn {version}, seed {self._seed}",
            "pooling": "none",
        }

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (len(texts), dimension), unit rows, zeros for a text without a word of two letters.

        With fewer words or texts than `dimension` the surplus columns are zero.

        Raises:
            DataError: no text holds a word.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        try:
            weights = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)
        except ValueError as error:
            raise DataError(f"TF-IDF finds no word in {len(texts)} texts: {error}") from error
        rank = min(self._dimension, *weights.shape)
        with one_thread():
            reduced = TruncatedSVD(n_components=rank, random_state=self._seed).fit_transform(weights)
        vectors = np.zeros((len(texts), self._dimension))
        vectors[:, :rank] = reduced
        return unit_rows(vectors)
