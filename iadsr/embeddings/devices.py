"""Where a neural encoder runs."""

from __future__ import annotations

from iadsr.core.errors import ConfigError


def resolve_device(name: str) -> str:
    """The torch device for `name`: "auto" is the GPU where there is one, else the processor.

    Raises:
        ConfigError: if the name is no such device, or a GPU is asked for and torch sees none.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ConfigError(f"device '{name}' is unknown (known: auto, cpu, cuda, cuda:<number>)")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device '{name}' is not available: torch {torch.__version__} sees {torch.cuda.device_count()} "
            "GPUs. Use device 'auto' or 'cpu', or install a CUDA build of torch."
        )
    return name
