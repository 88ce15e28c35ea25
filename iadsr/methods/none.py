"""`none`: the backbone without denoising."""

from __future__ import annotations

from iadsr.methods.method import Context, Method


def build(context: Context) -> Method:
    """Needs nothing."""
    return Method()
