"""Atomic files and digests. A reader sees a whole file or none, whatever kills the writer."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from iadsr.core.errors import DataError, IadsrError, one_line

# of a reader's own error, or of a jump to a place that a file cannot have
_OF_CONTENT = (None, errno.EINVAL, errno.EOVERFLOW)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; once written and on the disk, it takes `path`'s place.

    Raises:
        OSError: naming `path`, where the system refuses to write (a full disk, a read-only folder).
    """
    path = Path(path)
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    temporary = Path(name)
    try:
        with contextlib.suppress(OSError):  # held until this process ends, however it ends: see `remove_leftovers`
            fcntl.flock(handle, fcntl.LOCK_SH)
        with naming(path):
            yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; results are for everybody
        _flush(temporary)  # else a power cut after the rename can leave an empty file under the final name
        with naming(path):
            os.replace(temporary, path)
        with contextlib.suppress(OSError):  # some file systems cannot flush a folder
            _flush(path.parent)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` left beside it; a file stays that a living one may still hold."""
    pattern = f".{glob.escape(path.name)}.{'[a-z0-9_]' * 8}{glob.escape(path.suffix)}"
    for leftover in path.parent.glob(pattern):
        with contextlib.suppress(OSError), leftover.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise an OSError of the block as one of `path`, if it names no file (a full disk) or only a temporary sibling.

    An error that another library raises while it handles that of a full disk is taken for the latter: torch ends a file
    that it could not write with one of its own.
    """
    try:
        yield
    except Exception as error:
        cause = error.__context__ if _hides_full_disk(error) else error
        if not isinstance(cause, OSError):
            raise
        named = cause.filename is not None and not Path(str(cause.filename)).name.startswith(f".{path.name}.")
        if cause.errno is None or named:
            raise
        raise OSError(cause.errno, os.strerror(cause.errno), str(path)) from error


def _hides_full_disk(error: Exception) -> bool:
    hidden = error.__context__
    return isinstance(error, RuntimeError) and isinstance(hidden, OSError) and hidden.errno in _NO_ROOM


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def remake(path: str | Path) -> str:
    """Say how to make a stage's file anew."""
    return f"make it anew: snakemake --cores 1 --force {shlex.quote(str(path))} (with the --configfile of your run)"


@contextlib.contextmanager
def reading(path: str | Path, remedy: str | None = None) -> Iterator[None]:
    """Turn everything that a block raises about the content of `path` into one line.

    Args:
        remedy: how to mend it; by default the command that makes the file anew.

    Raises:
        DataError: the file is missing, empty, or not what the block expects.
        OSError: the system refused to read it, which says nothing about its content.
    """
    path, remedy = Path(path), remedy or remake(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a file; delete it and repeat the command", path)
    if not path.is_file():
        raise DataError(f"{path} is missing; {remedy}", path)
    if path.stat().st_size == 0:
        raise DataError(f"{path} is damaged (it is empty); {remedy}", path)
    try:
        with naming(path):
            yield
    except (IadsrError, MemoryError):
        raise
    except Exception as error:  # readers of other libraries do not document what they raise
        if isinstance(error, OSError) and error.errno not in _OF_CONTENT:
            raise
        raise DataError(f"{path} is damaged ({one_line(error)}); {remedy}", path) from error


def read_json(path: str | Path, needs: Mapping[str, type | UnionType] | None = None, remedy: str | None = None) -> Any:
    """Read a JSON file; with `needs`, an object that must have these keys, with values of these types.

    Raises:
        DataError: see `reading`.
    """
    with reading(path, remedy):
        value = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        if needs is not None:
            check_types(value, needs)
        return value


def _refuse_constant(name: str) -> None:
    """Raise ValueError for NaN and infinity, which Python would read although JSON has none."""
    raise ValueError(f"it holds {name}, which is no JSON")


def check_types(value: Any, needs: Mapping[str, type | UnionType]) -> None:
    """Raise ValueError unless `value` is a mapping that has the keys `needs`, with values of those types."""
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}, not keys and values")
    if missing := [name for name in needs if name not in value]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    for name, kind in needs.items():
        if not isinstance(value[name], kind):
            raise ValueError(f"{name} is {value[name]!r}")


def file_digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Digest a file's bytes, read in bounded memory, as hexadecimal text."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def value_digest(value: Any) -> str:
    """Digest a JSON-able value in canonical form (sorted keys, no spaces) by SHA-256."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
