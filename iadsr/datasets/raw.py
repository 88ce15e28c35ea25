"""What the readers of raw files share: bounds on what is unpacked, and the way to mend a damaged file."""

from __future__ import annotations

import zipfile
from pathlib import Path

REMEDY = "delete it to fetch it again"
RATIO = 100  # the text of these datasets shrinks five times, a zip bomb a thousand times
SLACK = 1 << 26  # bytes; files of this size are unpacked whatever their ratio


def most_bytes(path: Path) -> int:
    """How many bytes a compressed file of text may unpack to."""
    return SLACK + RATIO * path.stat().st_size


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of one file in an archive. Raises ValueError if that would take much more memory than its data."""
    size = archive.getinfo(name).file_size  # no more than this is unpacked, even if it is a lie
    if size > SLACK:
        raise ValueError(f"{name} would unpack to {size} bytes, {SLACK} at most are expected")
    return archive.read(name)
