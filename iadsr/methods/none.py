"""`none`: the backbone without denoising."""

from __future__ import annotations

from iadsr.methods.method import Method, MethodInputs
from iadsr.methods.none_options import NoneOptions


def build(inputs: MethodInputs, options: NoneOptions) -> Method:
    """Build the base class, which is this method."""
    return Method()
