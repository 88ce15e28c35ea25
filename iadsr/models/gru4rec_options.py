"""Options of GRU4Rec."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from iadsr.config.fields import Layers, Width
from iadsr.config.options import BackboneOptions


class GRU4RecOptions(BackboneOptions):
    """Hidasi et al., ICLR 2016: a GRU over item embeddings."""

    name: ClassVar[str] = "gru4rec"
    title: ClassVar[str] = "GRU4Rec"
    implementation: ClassVar[str] = "iadsr.models.gru4rec:build"

    hidden: Width = Field(64, description="width of the recurrent state")
    layers: Layers = Field(1, description="stacked recurrent layers")
