"""Options of `none`."""

from __future__ import annotations

from typing import ClassVar

from iadsr.config.options import ItemTableOptions


class NoneOptions(ItemTableOptions):
    """The backbone alone. With item vectors from text (`items`), a control: what texts give without denoising."""

    name: ClassVar[str] = "none"
    implementation: ClassVar[str] = "iadsr.methods.none:build"
