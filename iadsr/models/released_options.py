"""Options of the release's backbones, the setting `networks: released`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from iadsr.config.fields import Layers, Networks, Width
from iadsr.config.options import BackboneOptions
from iadsr.config.settings import Settings
from iadsr.models.sasrec_options import check_heads


class ReleasedGRU4RecOptions(BackboneOptions):
    """The release's GRU4Rec."""

    name: ClassVar[str] = "gru4rec"
    title: ClassVar[str] = "GRU4Rec"
    networks: ClassVar[Networks] = "released"
    implementation: ClassVar[str] = "iadsr.models.released:build"

    hidden: Width = Field(128, description="width of the recurrent state, of interests and of the output layer")
    layers: Layers = Field(2, description="stacked recurrent layers")


class ReleasedSASRecOptions(BackboneOptions):
    """The release's SASRec: no causal mask, no padding mask."""

    name: ClassVar[str] = "sasrec"
    title: ClassVar[str] = "SASRec"
    networks: ClassVar[Networks] = "released"
    causal: ClassVar[bool] = False
    implementation: ClassVar[str] = "iadsr.models.released:build"

    hidden: Width = Field(128, description="width of interests and of the output layer")
    layers: Layers = Field(2, description="attention blocks")
    heads: Width = Field(2, description="attention heads; must divide the dimension")
    inner: Width = Field(100, description="width inside the position-wise network")

    def check(self, settings: Settings, where: str) -> None:
        """See `BackboneOptions`."""
        check_heads(self.heads, settings, where)


class ReleasedCaserOptions(BackboneOptions):
    """The release's Caser: filters over the whole input, a user embedding."""

    name: ClassVar[str] = "caser"
    title: ClassVar[str] = "Caser"
    networks: ClassVar[Networks] = "released"
    causal: ClassVar[bool] = False
    implementation: ClassVar[str] = "iadsr.models.released:build"

    hidden: Width = Field(128, description="width of interests and of the output layer")
    filters: Width = Field(64, description="horizontal filters for each height and as many vertical ones")
