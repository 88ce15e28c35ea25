"""Options of FMLP-Rec."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from iadsr.config.fields import Layers, Width
from iadsr.config.options import BackboneOptions


class FMLPOptions(BackboneOptions):
    """FMLP-Rec (Zhou et al., WWW 2022): learned filters over the frequencies of the padded input. It looks ahead, so it
    needs objective `last` or `prefix`.

    Sizes are those of the authors' code (RUCAIBox/FMLP-Rec f3c4285), which has an `inner` of four times the width.
    """

    name: ClassVar[str] = "fmlp"
    title: ClassVar[str] = "FMLP-Rec"
    implementation: ClassVar[str] = "iadsr.models.fmlp:build"
    causal: ClassVar[bool] = False

    layers: Layers = Field(2, description="blocks of a filter and a position-wise network")
    inner: Width = Field(256, description="width inside the position-wise network")
