"""Kernel locks, which end with their process: on folders of runs, and to tell a killed Snakemake from a live one."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger("iadsr.machine")

_held: list[int] = []  # open until the process ends, however it ends: then the kernel frees what they hold


def release_stale_lock(folder: Path) -> bool:
    """Remove Snakemake's lock files below `folder` (`.snakemake`) if no Snakemake of this machine is alive there.

    Call it in Snakemake's main process before Snakemake locks. Every main process holds a shared kernel lock on
    `main.lock`, which names the machine: if the exclusive one can be had, no other main process is alive. Nothing is
    removed where the lock files are another machine's, or the file system has no such locks: Snakemake then
    refuses and names `--unlock`.

    Returns:
        Whether there was a stale lock.
    """
    with contextlib.suppress(OSError):  # a folder that cannot be written, or a file system without kernel locks
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "main.lock", os.O_RDWR | os.O_CREAT, 0o666)
        _held.append(handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _remove(folder / "locks", handle)
        except BlockingIOError:
            return False
        finally:
            fcntl.flock(handle, fcntl.LOCK_SH)
    return False


def _remove(locks: Path, handle: int) -> bool:
    stale = locks.is_dir() and any(locks.iterdir())
    machine = _machine()
    if stale and not machine & set(os.pread(handle, 4096, 0).decode(errors="replace").split("\n")):
        return False
    shutil.rmtree(locks, ignore_errors=True)
    os.ftruncate(handle, 0)
    os.pwrite(handle, "\n".join(sorted(machine)).encode(), 0)
    return stale


def _machine() -> set[str]:
    """Return host name and, on Linux, this boot's id: the first survives a reboot, the second a container's end."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return {f"host {platform.node()}", *([f"boot {boot.read_text().strip()}"] if boot.is_file() else [])}


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make `folder`, and wait until no other process works in it, such as a job that outlived its Snakemake.

    The lock is on the folder itself, so that no file of it is left. A file system without kernel locks has none.

    Raises:
        OSError: the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.warning("%s: another process is at work here; this one goes on when that one ends", folder)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
