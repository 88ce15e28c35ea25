"""Fetches raw files with pooch: from a mirror, else upstream, else a package that ships a copy; enforces digests."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

import pooch
from requests.exceptions import ConnectionError, SSLError
from tqdm import tqdm

from iadsr.config.datasets import FileSpec
from iadsr.core.errors import DataError, one_line
from iadsr.core.files import file_digest
from iadsr.datasets.digests import Origin, RawFile, read_digests
from iadsr.datasets.wheel import download_archive

log = logging.getLogger("iadsr.datasets")
pooch.get_logger().setLevel(logging.WARNING)
Source = tuple[Origin, str, Callable[[str, str, Any], None]]  # origin, address, pooch's downloader
RETRIES = 2
_PARTIAL = "tmp" + "[a-z0-9_]" * 8  # as Python's `tempfile`, and so pooch, names what is not finished
_TIMEOUT = (3.05, 30.0)  # to connect, to read; seconds


def obtain(file: FileSpec, folder: Path, mirror: str | None, record: Path) -> RawFile:
    """Fetch a raw file to `folder`/<origin>/, unless it is there with the digest that is enforced, if any.

    Sources, in order: `mirror` (a folder, or an http(s) or file address of one), the upstream addresses, the package.
    Enforced is upstream's published digest, else the one in `record` of a file that was accepted before.

    Raises:
        DataError: no source has the file; each is named with the reason.
        OSError: the disk is full; names `folder`.
    """
    published = f"md5:{file.md5}" if file.md5 else file.sha256
    digests = read_digests(record).get(file.name, {}) | ({"upstream": published} if published else {})
    refusals = []
    for origin, address, download in _sources(file, folder, mirror):
        log.info("%s: asking %s", file.name, address)
        store = pooch.Pooch(folder / origin, "", {file.name: digests.get(origin)}, {file.name: address}, RETRIES)
        try:
            path = Path(store.fetch(file.name, downloader=download))
        except (OSError, ValueError) as error:  # those of requests and of wrong digests are among them
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(error.errno, error.strerror, str(folder)) from error
            refusals.append(f"{origin} {address}: {_reason(error)}")
            log.warning("%s: %s", file.name, refusals[-1])
        else:
            with contextlib.suppress(PermissionError):  # another user's copy
                path.chmod(0o644)  # pooch makes private files
            is_published = published is not None and pooch.hashes.hash_matches(path, published)
            return RawFile(path, origin, file_digest(path), path.stat().st_size, is_published, origin in digests)
    changed = f". If a source changed the file and you trust it, delete its entry in {record}" if digests else ""
    raise DataError(
        f"{file.name} could not be fetched from any source. Tried: {'; '.join(refusals) or 'none is configured'}. To "
        f"mend it, connect to the network and run again, or put {file.name} in a folder and name that folder: "
        f"IADSR_MIRROR=/path/to/folder{changed}"
    )


def remove_partial(folder: Path) -> None:
    """Remove the files that killed downloads left in `folder`, in which no other process may be at work."""
    for origin in get_args(Origin):
        for partial in (folder / origin).glob(_PARTIAL):
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink()


def _sources(file: FileSpec, folder: Path, mirror: str | None) -> Iterator[Source]:
    """List every source of a file in the order of asking, copies that are there first."""
    for origin in get_args(Origin):
        if (path := folder / origin / file.name).exists():
            yield origin, str(path), _refuse
    if mirror:
        remote = mirror.startswith(("http://", "https://"))
        yield "mirror", f"{mirror.rstrip('/')}/{file.name}", _download if remote else _copy
    for url in file.urls:
        yield "upstream", url, _download
    if file.wheel is not None:
        yield "wheel", f"{file.wheel.package} {file.wheel.version}", functools.partial(download_archive, file.wheel)


def _refuse(*_: Any) -> None:
    """Refuse a file that is there without the enforced digest; pooch calls this to fetch it again."""
    raise OSError("it was changed since it was accepted")


def _copy(address: str, output: str, _: Any) -> None:
    """Copy a file of a mirror's folder."""
    path = unquote(address.removeprefix("file://")) if address.startswith("file:") else address
    shutil.copyfile(Path(path).expanduser(), output)


def _download(address: str, output: str, _: Any) -> None:
    """Download a file's bytes as they are stored, although some servers declare a stored .gz to be an encoding."""

    def undeclare(response: Any, **_: Any) -> None:
        response.raw.headers.pop("Content-Encoding", None)

    with tqdm(total=1, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        options = {"headers": {"Accept-Encoding": "identity"}, "hooks": {"response": undeclare}}
        pooch.HTTPDownloader(bar, 1 << 16, timeout=_TIMEOUT, **options)(address, output, None)


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionError) and not isinstance(error, SSLError):
        return "the host cannot be reached, or the connection broke"
    return getattr(error, "strerror", None) or one_line(error)
