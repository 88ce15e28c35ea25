"""Turns SIGTERM, by which batch systems take a machine away, into an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

STATUS = 128 + signal.SIGTERM  # as a shell says it


class Terminated(BaseException):
    """SIGTERM came. No `Exception`: it is the fault of no method, and nothing may record it as one."""


def raise_on_sigterm() -> None:
    """Let SIGTERM raise `Terminated`, so that blocks that clean up after themselves do."""
    signal.signal(signal.SIGTERM, _raise)


def _raise(*_: object) -> None:
    raise Terminated


@contextlib.contextmanager
def postponed_sigterm() -> Iterator[Callable[[], bool]]:
    """Within the block, note SIGTERM and do nothing else; yields a function that says whether it came."""
    noted = False

    def note(*_: object) -> None:
        nonlocal noted
        noted = True

    try:
        former = signal.signal(signal.SIGTERM, note)
    except ValueError:  # not in the main thread, which alone receives signals
        yield lambda: False
        return
    try:
        yield lambda: noted
    finally:
        signal.signal(signal.SIGTERM, former)
