"""Markdown: texts that are shown literally, and a text that is kept up between two marks of a file."""

from __future__ import annotations

import re
from pathlib import Path

from iadsr.core.errors import ConfigError
from iadsr.core.files import write_text


def literal(text: str) -> str:
    """Write `text` as GitHub's Markdown that shows it literally."""
    return re.sub(r"([\\|<>*_`])", r"\\\1", text)


def put_between(path: Path, start: str, end: str, text: str) -> None:
    """Put a text between the first two marks of a file, with an empty line on both sides.

    Raises:
        ConfigError: the file has not both marks.
    """
    before, found, rest = path.read_text(encoding="utf-8").partition(f"{start}\n")
    _, last, after = rest.partition(end)
    if not last:
        raise ConfigError(f"{path} lacks the marks {start} and {end}")
    write_text(path, f"{before}{found}\n{text}\n{last}{after}")
