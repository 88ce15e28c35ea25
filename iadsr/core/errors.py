"""Errors that a user can mend: the command line prints the message alone, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class IadsrError(Exception):
    """An expected failure. The message says what is wrong and how to mend it."""


class ConfigError(IadsrError):
    """The configuration is wrong: an unknown key, a wrong value, an impossible combination."""


class DataError(IadsrError):
    """The data file `path` (None: one of several) is missing, damaged, or not what its configuration says it is."""

    def __init__(self, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


def suggest(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest neighbour of a misspelt `word` among `known`, else list all of `known`."""
    names = sorted(known)
    if not names:
        return "there are none"
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"


def one_line(error: BaseException) -> str:
    """Shorten the message of another library's error to one line; name its type where that says more."""
    text = " ".join(str(error).split())
    text = f"{type(error).__name__} {text}".strip() if isinstance(error, LookupError) or not text else text
    return text if len(text) <= 200 else f"{text[:200]}..."
