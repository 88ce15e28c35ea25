"""Options of `random_drop`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from iadsr.config.fields import Label, Remove
from iadsr.config.options import ItemTableOptions
from iadsr.config.search import Search
from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError


class RandomDropOptions(ItemTableOptions):
    """Input dropout at the rates of another method's run, without its losses, or at one rate."""

    name: ClassVar[str] = "random_drop"
    implementation: ClassVar[str] = "iadsr.methods.random_drop:RandomDrop"
    neutral: ClassVar[dict[str, Any]] = {}

    match: Label | None = "iadsr"
    """the method whose keep rates are copied, epoch by epoch and at test time, with the same seed"""
    rate: float | None = Field(None, gt=0, lt=1, description="share of inputs that is dropped, in place of `match`")
    remove: Annotated[Remove, Search(choices=("zero", "pack"))] = "zero"
    """what becomes of a dropped input: its embedding is zeroed and keeps its place (`zero`), or the inputs behind it
    move up (`pack`)"""

    @property
    def has_keep_rates(self) -> bool:
        """Tell whether a control can copy the keep rates: those of a copy are to be copied from the first run."""
        return self.rate is not None

    def settle(self, settings: Settings, backbone: str, label: str) -> tuple[dict[str, Any], Settings]:
        """Leave out `rate` or unset `match`, whichever the other takes the place of; see `MethodOptions`."""
        options, settings = super().settle(settings, backbone, label)
        matched = self.match is not None and ("match" in self.model_fields_set or self.rate is None)
        if matched == (self.rate is not None):
            raise ConfigError(f"method '{label}' needs either `match` or `rate`")
        if matched:
            del options["rate"]
        else:
            options["match"] = None
        return options, settings
