"""Folders that can be written, and damaged files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def check_writable(folder: Path) -> None:
    """Raise OSError, naming the folder, unless a file can be written in it, or in its nearest parent that exists."""
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(bytes(4096))
            stream.flush()
    except OSError as error:  # names a file that nobody knows, or none
        raise OSError(error.errno, error.strerror, str(folder)) from error


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `<name>.damaged`, so that it can be inspected but is never read again."""
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    return aside
