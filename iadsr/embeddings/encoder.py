"""The interface that every encoder keeps, and the way from a spec to an encoder."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from iadsr.config.encoders import EncoderSpec
from iadsr.formats.embeddings import Vectors


class Encoder(Protocol):
    """Texts in, one float32 vector a text out. Equal input gives equal output on one machine."""

    @property
    def identity(self) -> dict[str, str]:
        """`encoder`, `model`, `revision` and `pooling`: what a reader must know to name the vectors. It
        holds no path of a machine and may be read without loading any weights."""

    @property
    def corpus_wide(self) -> bool:
        """True where a text's vector depends on the other texts: all of them must come in one call."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), d), row i for text i. Weights are loaded on the first call."""

    def reads(self, texts: Sequence[str]) -> Sequence[Hashable]:
        """What is left of each text when the encoder has cut it: texts that it reads alike have equal vectors."""


def make_encoder(spec: EncoderSpec, device: str = "auto") -> Encoder:
    """The encoder that `spec` describes. Neural ones run on `device` ("auto", "cpu", "cuda", "cuda:1").

    Raises:
        IadsrError: if a package or a device that the encoder needs is missing.
    """
    # each kind is imported when asked for: torch and scikit-learn are slow to load and not always there
    if spec.kind == "minilm":
        from iadsr.embeddings.minilm import MiniLM

        return MiniLM(spec, device)
    if spec.kind == "tfidf":
        from iadsr.embeddings.tfidf import TfidfSvd

        return TfidfSvd(spec)
    if spec.kind == "random":
        from iadsr.embeddings.random import RandomDirections

        return RandomDirections(spec)
    from iadsr.embeddings.llm2vec_encoder import Llm2Vec

    return Llm2Vec(spec, device)
