"""Options of `adt`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from iadsr.config.fields import Steps
from iadsr.config.options import MethodOptions
from iadsr.config.search import Search


class ADTOptions(MethodOptions):
    """Adaptive denoising training (Wang et al., WSDM 2021): targets with a large loss count less, or not at all."""

    name: ClassVar[str] = "adt"
    implementation: ClassVar[str] = "iadsr.methods.adt:ADT"
    neutral: ClassVar[Mapping[str, Any]] = {"rate": 0.0}

    weights: Literal["truncated", "reweighted"] = Field("truncated", description="leave targets out, or weigh them")
    rate: Annotated[float, Search(0.02, 0.4, log=True)] = Field(0.1, ge=0, lt=1)
    """largest share of targets left out, rounded down within a batch, so that of 32 targets a rate below 0.031 leaves
    out none; released: 0.1 to 0.4 (0.05 to 0.2 of all pairs, half of which are negatives and stay)"""
    ramp: Steps = Field(1000, description="training steps until the share is `rate`; released: 1,000 to 30,000")
    power: Annotated[float, Search(0.1, 0.5)] = Field(0.2, ge=0, le=10)
    """reweighted: w = p(target)^power, with p of a softmax over all items, so that weights differ more than with the
    release's sigmoid"""

    @classmethod
    def is_active(cls, name: str, options: Mapping[str, Any]) -> bool:
        """Tell whether an option acts: each kind of weights has its own."""
        return name == {"truncated": "rate", "reweighted": "power"}[options["weights"]]
