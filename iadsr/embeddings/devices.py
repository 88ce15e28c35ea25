"""Chooses the device and the CPU threads of encoders."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from iadsr.core.errors import ConfigError


def resolve_device(name: str) -> str:
    """Return the torch device for `name`; "auto" is the GPU if there is one, else the CPU.

    Raises:
        ConfigError: the name is no device, or names a GPU that torch does not see.
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


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit the numerical libraries loaded so far to one CPU thread; more would change the order of sums."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    with threadpool_limits(limits=1):
        try:
            if torch:
                torch.set_num_threads(1)  # also its own MKL, which threadpoolctl does not see
            yield
        finally:
            if torch:
                torch.set_num_threads(before)
