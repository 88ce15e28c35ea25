"""Complete training states, keyed by a run's identity, so that a killed run goes on as if it never was."""

from __future__ import annotations

import copy
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from iadsr.core.errors import one_line
from iadsr.core.files import atomic_path, set_aside

logger = logging.getLogger("iadsr.training")

State = dict[str, Any]


def checkpoint_path(root: Path, identity: str, device: torch.device) -> Path:
    """Where a run keeps its state: outside declared outputs, which a workflow wipes on failure.

    One for each kind of device: the state of its random stream means nothing to another.
    """
    return root / "scratch" / f"{identity}-{device.type}.pt"


def save_checkpoint(path: Path, state: State) -> None:
    """Write atomically: a kill leaves the previous state or the new one."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:  # given a path, torch hides a full disk
        torch.save(state | _maker(path), stream)


def resume(path: Path, device: torch.device, state: Callable[[], State], restore: Callable[[State], None]) -> bool:
    """Restore the state stored at `path`, if there is one that can be used.

    A damaged file, or one that another run or another torch wrote, is renamed to `<name>.damaged` with a warning, and
    what was restored of it is undone.

    Args:
        state: returns the run's present state.
        restore: puts a state back.

    Returns:
        Whether a state was restored.
    """
    if not path.is_file():
        return False
    start = copy.deepcopy(state())
    try:
        restore(_load(path, device, start))
    except (OSError, MemoryError, torch.OutOfMemoryError):  # the file may well be sound
        raise
    except Exception as error:  # what torch raises for a damaged file is not documented
        restore(start)
        aside = set_aside(path)
        text = "checkpoint %s cannot be used (%s): moved to %s, training starts afresh"
        logger.warning(text, path, one_line(error), aside.name)
        return False
    return True


def _load(path: Path, device: torch.device, start: State) -> State:
    """The state stored at `path`. Raises ValueError, or whatever torch does, if it is not one of this run."""
    with zipfile.ZipFile(path) as archive:  # torch does not check the checksums that it writes
        if (entry := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {entry} is wrong")
    state: State = torch.load(path, map_location=device, weights_only=True)
    maker = _maker(path)
    if state.keys() != (start | maker).keys():
        raise ValueError(f"it holds {sorted(map(str, state))}")
    for name, value in maker.items():
        if state[name] != value:
            raise ValueError(f"its {name} is {state[name]}, not {value}")
    return state


def _maker(path: Path) -> dict[str, str]:
    """What tells a state of this run, made by this torch, from any other."""
    return {"file": path.name, "torch": str(torch.__version__)}
