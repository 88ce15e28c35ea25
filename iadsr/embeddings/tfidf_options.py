"""Options of the encoder `tfidf`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from iadsr.config.encoder_spec import Dimension, EncoderSpec, Seed


class TfidfSpec(EncoderSpec):
    """TF-IDF and a singular value decomposition. Vectors have length 1."""

    implementation: ClassVar[str] = "iadsr.embeddings.tfidf:TfidfSvd"
    kind: Literal["tfidf"] = Field("tfidf", description="this encoder")
    dimension: Dimension = Field(384, description="length of a vector")
    seed: Seed = Field(0, description="seed of the decomposition")
