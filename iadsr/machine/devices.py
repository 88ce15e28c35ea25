"""Chooses the device that torch computes on."""

from __future__ import annotations

from iadsr.core.errors import IadsrError


def resolve_device(name: str) -> str:
    """Return torch's name for the device `name`; `auto` is CUDA where there is one.

    Raises:
        IadsrError: CUDA is asked for, and torch sees none.
    """
    import torch

    if name != "cpu" and torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise IadsrError("device 'cuda' was asked for, and torch sees none: set `device: auto` or install a CUDA torch")
    return "cpu"
