"""Opens raw files, unpacked within bounds, so that a damaged one or a bomb is one error."""

from __future__ import annotations

import contextlib
import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REMEDY = "delete it to fetch it again"
RATIO = 100  # the text of these datasets shrinks five times, a zip bomb a thousand times
SLACK = 1 << 26  # bytes; files of this size are unpacked whatever their ratio
LONGEST_LINE = 1 << 23  # bytes; upstream's longest is under 64 KiB


def most_bytes(path: Path) -> int:
    """Bound the bytes that a compressed text file may unpack to."""
    return SLACK + RATIO * path.stat().st_size


@contextlib.contextmanager
def open_raw(path: Path, member: str | None = None) -> Iterator[Any]:
    """Open a file, unpacked if its name ends in .gz, or a member of a .zip."""
    if member is not None:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield stream
    elif path.suffix == ".gz":
        with gzip.open(path) as stream:
            yield stream
    else:
        with path.open("rb") as stream:
            yield stream


def read_raw(path: Path, member: str | None = None) -> bytes:
    """Read a file as `open_raw` opens it. Raises ValueError if it holds much more than its size."""
    limit = most_bytes(path)
    with open_raw(path, member) as stream:
        data: bytes = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it unpacks to more than {limit} bytes")
    return data


def read_lines(path: Path, member: str | None, encoding: str) -> Iterator[str]:
    """Yield the lines of a file. Raises ValueError if a line is endless, or the file much larger than its size."""
    limit, total = most_bytes(path), 0
    with open_raw(path, member) as stream:
        while line := stream.readline(LONGEST_LINE):
            total += len(line)
            if len(line) == LONGEST_LINE or total > limit:
                raise ValueError(f"it unpacks to a line of {LONGEST_LINE} bytes, or to more than {limit} bytes")
            yield line.decode(encoding)
