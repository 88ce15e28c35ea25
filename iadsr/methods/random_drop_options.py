"""Options of `random_drop`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from iadsr.config.fields import Label, Remove
from iadsr.config.options import MethodOptions
from iadsr.config.search import Search


class RandomDropOptions(MethodOptions):
    """Input dropout at the rates of another method's run, without its losses."""

    name: ClassVar[str] = "random_drop"
    implementation: ClassVar[str] = "iadsr.methods.random_drop:RandomDrop"
    neutral: ClassVar[dict[str, Any]] = {}

    match: Label = "iadsr"
    """the method whose keep rates are copied, epoch by epoch and at test time, with the same seed"""
    remove: Annotated[Remove, Search(choices=("zero", "pack"))] = "zero"
    """what becomes of a dropped input: its embedding is zeroed and keeps its place (`zero`), or the inputs behind it
    move up (`pack`)"""
