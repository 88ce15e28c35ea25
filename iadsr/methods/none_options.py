"""Options of `none`."""

from __future__ import annotations

from typing import ClassVar

from iadsr.config.options import MethodOptions


class NoneOptions(MethodOptions):
    """The backbone alone."""

    name: ClassVar[str] = "none"
    implementation: ClassVar[str] = "iadsr.methods.none:build"
