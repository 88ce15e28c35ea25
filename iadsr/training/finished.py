"""Finds finished runs, also after a workflow deleted their files.

A workflow that was killed deletes and repeats the jobs that it did not see finish, although a job can outlive it. Links
to the files of finished runs are therefore kept in the scratch folder until the workflow succeeds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from iadsr.core import columns as c
from iadsr.core.errors import IadsrError
from iadsr.core.files import file_digest, read_json

FILES = (c.CURVE, c.RANKS, c.RECORD)  # the record is written last
FINISHED = (c.DONE, c.UNTRAINED, c.DIVERGED)  # with the same inputs and code these come out the same; a failure may not


def find_finished(folder: Path, store: Path, identity: str) -> bool:
    """Find a finished run of `identity` in `folder`, else in `store`, and put its files, with new times, into `folder`.

    Returns:
        False if neither has it.
    """
    if not holds(folder, identity):
        if not holds(store, identity):
            return False
        link_files(store, folder)
    for name in FILES:
        (folder / name).touch()
    return True


def holds(folder: Path, identity: str) -> bool:
    """Tell whether `folder` holds a finished run of `identity`, its files as the record describes them."""
    if not all((folder / name).is_file() for name in FILES):
        return False
    try:
        record = read_json(folder / c.RECORD)
        same = record["identity"] == identity and record["status"] in FINISHED
        return bool(same and record["files"] == digests(folder))
    except (IadsrError, ValueError, KeyError, TypeError):  # damaged: it is written anew
        return False


def digests(folder: Path) -> dict[str, str]:
    """Digest the files of a run, by name, for its record."""
    return {name: file_digest(folder / name) for name in FILES if name != c.RECORD}


def link_files(source: Path, target: Path) -> None:
    """Link the files of the run in `source` into `target`, the record last."""
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        with contextlib.suppress(FileNotFoundError):
            (target / name).unlink()
        try:
            os.link(source / name, target / name)
        except OSError:  # a file system without hard links
            shutil.copyfile(source / name, target / name)
