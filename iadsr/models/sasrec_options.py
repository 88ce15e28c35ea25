"""Options of SASRec."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from iadsr.config.fields import Layers, Width
from iadsr.config.options import BackboneOptions
from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError


class SASRecOptions(BackboneOptions):
    """Causal self-attention after Kang and McAuley, ICDM 2018, whose own network is `norm: pre`, `activation: relu`,
    `attention_dropout` as high as `dropout`, two layers, one head, `inner` as wide as the embeddings."""

    name: ClassVar[str] = "sasrec"
    title: ClassVar[str] = "SASRec"
    implementation: ClassVar[str] = "iadsr.models.sasrec:build"

    layers: Layers = Field(2, description="attention blocks")
    heads: Width = Field(2, description="attention heads; must divide the dimension")
    inner: Width = Field(256, description="width inside the position-wise network")
    norm: Literal["post", "pre"] = "post"
    """layer norm after each residual connection, or before each sub-layer (`pre`, as published)"""
    activation: Literal["gelu", "relu"] = Field("gelu", description="of the position-wise network; `relu` as published")
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """on the attention weights; as published, that of `dropout`"""

    def check(self, settings: Settings, where: str) -> None:
        """See `BackboneOptions`."""
        check_heads(self.heads, settings, where)


def check_heads(heads: int, settings: Settings, where: str) -> None:
    """Refuse a number of attention heads that does not divide the dimension.

    Raises:
        ConfigError: naming `where` and both numbers.
    """
    if settings.dimension % heads:
        raise ConfigError(f"{where}: heads: {heads} do not divide the dimension, {settings.dimension}")
