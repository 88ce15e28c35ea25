"""The interface of encoders, and the choice of one."""

from __future__ import annotations

import importlib
from collections.abc import Hashable, Sequence
from typing import Protocol

from iadsr.config.encoder_spec import EncoderSpec
from iadsr.formats.embeddings import Vectors


class Encoder(Protocol):
    """Encodes texts as vectors; equal texts give equal vectors on one machine.

    Attributes:
        corpus_wide: a text's vector depends on the other texts, so that all must come in one call.
    """

    corpus_wide: bool

    @property
    def identity(self) -> dict[str, str]:
        """Name the vectors for a reader: `encoder`, `model`, `revision` and `pooling`.

        Holds no path of a machine, and loads no weights.
        """

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: float32 (len(texts), d), row i for text i. Loads the weights on the first call."""

    def reads(self, texts: Sequence[str]) -> Sequence[Hashable]:
        """Return what the encoder reads of each text, once cut: texts that are equal then have equal vectors."""
        return texts


def make_encoder(spec: EncoderSpec, device: str = "auto") -> Encoder:
    """Make the encoder that `spec` describes; neural ones run on `device` ("auto", "cpu", "cuda", "cuda:1").

    Raises:
        IadsrError: a package or a device that the encoder needs is missing.
    """
    module, name = spec.implementation.split(":")  # imported here: torch and scikit-learn are not always there
    encoder: Encoder = getattr(importlib.import_module(module), name)(spec, device)
    return encoder
