"""Options of the encoder `random`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from iadsr.config.encoder_spec import Dimension, EncoderSpec, Seed


class RandomSpec(EncoderSpec):
    """One random direction per text. Vectors have length 1."""

    implementation: ClassVar[str] = "iadsr.embeddings.random:RandomDirections"
    kind: Literal["random"] = Field("random", description="this encoder")
    dimension: Dimension = Field(384, description="length of a vector")
    seed: Seed = Field(0, description="seed of the directions")
