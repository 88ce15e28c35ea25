"""Complete training states, keyed by a run's identity, so that a killed run goes on as if it never was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from iadsr.core.files import atomic_path


def checkpoint_path(root: Path, identity: str, device: torch.device) -> Path:
    """Where a run keeps its state: outside declared outputs, which a workflow wipes on failure.

    One for each kind of device: the state of its random stream means nothing to another.
    """
    return root / "scratch" / f"{identity}-{device.type}.pt"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write atomically: a kill leaves the previous state or the new one."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The stored state, or None if there is none."""
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state
