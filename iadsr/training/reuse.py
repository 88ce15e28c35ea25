"""Copies a run that a finished one has shown to be the same: see `iadsr.config.reuse`."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from iadsr.config.cell import Cell
from iadsr.config.reuse import holds_for
from iadsr.core import columns as c
from iadsr.core.files import atomic_path, read_json, write_json
from iadsr.training.finished import FILES, digests, holds

logger = logging.getLogger("iadsr.training")


def reuse_run(cell: Cell, earlier: Sequence[Cell], runs: Path, identify: Callable[[Cell], str]) -> bool:
    """Copy the first of the `earlier` runs that is finished and the same as the cell's, if there is one.

    Time alone depends on whether there is: without it, training comes to the same files. The copy's record is that of
    the training, with the cell and identity of the copy and the address of the original, `reused_from`.

    Args:
        runs: the folder of runs, by address.
        identify: computes the identity that a cell's run has with the present inputs, code and torch.
    """
    for other in earlier:
        source, target = runs / other.address, runs / cell.address
        if not holds(source, identify(other)):
            continue
        record: dict[str, Any] = read_json(source / c.RECORD)
        if not holds_for(cell, record):
            continue
        original = record.get("reused_from") or other.address
        (target / c.RECORD).unlink(missing_ok=True)  # written last: it vouches for the others
        for name in (name for name in FILES if name != c.RECORD):
            with atomic_path(target / name) as temporary:  # no link: files are dated by those who use them
                shutil.copyfile(source / name, temporary)
        if digests(target) != record["files"]:  # somebody trains the original anew
            continue
        own = {"identity": identify(cell), "cell": cell.record, "reused_from": original}
        write_json(target / c.RECORD, record | own)
        logger.info("%s is the same run as %s, and copied from it", cell.address, original)
        return True
    return False
