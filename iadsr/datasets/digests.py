"""Raw files on disk, and the record of the digests of those that a reader has accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from iadsr.core.files import reading, write_json

Origin = Literal["mirror", "upstream", "wheel"]
Digests = dict[str, dict[Origin, str]]  # SHA-256 by file name and origin


@dataclass(frozen=True)
class RawFile:
    """A raw file on disk.

    Attributes:
        published: it has the digest that upstream publishes.
        enforced: its digest was known before; with another one it would have been refused.
    """

    path: Path
    origin: Origin
    sha256: str
    bytes: int
    published: bool
    enforced: bool


def read_digests(record: Path) -> Digests:
    """Read the digests of accepted files; none if there is no record.

    Raises:
        DataError: the record is damaged.
    """
    if not record.exists():
        return {}
    with reading(record, "delete it to record the digests anew"):
        return TypeAdapter(Digests).validate_json(record.read_bytes())


def accept(files: Sequence[RawFile], record: Path) -> None:
    """Record the digests of files that a reader has accepted: they are enforced from now on.

    Raises:
        DataError: the record is damaged.
    """
    digests = read_digests(record)
    for file in files:
        digests.setdefault(file.path.name, {})[file.origin] = file.sha256
    write_json(record, digests)
