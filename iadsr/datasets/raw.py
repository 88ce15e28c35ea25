"""Unpacks raw files within bounds, so that a damaged one or a bomb is one error."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

REMEDY = "delete it to fetch it again"
RATIO = 100  # the text of these datasets shrinks five times, a zip bomb a thousand times
SLACK = 1 << 26  # bytes; files of this size are unpacked whatever their ratio


def most_bytes(path: Path) -> int:
    """Bound the bytes that a compressed text file may unpack to."""
    return SLACK + RATIO * path.stat().st_size


def read_member(archive: zipfile.ZipFile, name: str, limit: int = SLACK) -> bytes:
    """Read one file in an archive. Raises ValueError if it holds more than `limit` bytes."""
    size = archive.getinfo(name).file_size  # no more than this is unpacked, even if it is a lie
    if size > limit:
        raise ValueError(f"{name} would unpack to {size} bytes, {limit} at most are expected")
    return archive.read(name)


def unpack(path: Path, member: str | None) -> bytes:
    """Read a file, or the `member` of a .zip, or what a .gz holds. Raises ValueError if it is a bomb."""
    limit = most_bytes(path)
    if member is not None:
        with zipfile.ZipFile(path) as archive:
            return read_member(archive, member, limit)
    if path.suffix != ".gz":
        return path.read_bytes()
    with gzip.open(path) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it unpacks to more than {limit} bytes")
    return data
