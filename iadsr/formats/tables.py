"""Tables: Parquet with checksums, CSV that no spreadsheet executes."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import parquet

from iadsr.core import columns as c
from iadsr.core.files import atomic_path, file_digest, reading

_FORMULA = ("=", "+", "-", "@", "\t", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four are wide
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def read_parquet(path: str | Path, needs: Sequence[str] = (), *, others: bool = True) -> pd.DataFrame:
    """Read a table that must have the columns `needs`; with `others`, whatever else it has too.

    Raises:
        DataError: see `reading`.
    """
    with reading(path):
        if missing := sorted(set(needs) - set(parquet.read_schema(path).names)):
            raise ValueError(f"it lacks the columns {', '.join(missing)}")
        return pd.read_parquet(path, columns=None if others else list(needs), page_checksum_verification=True)


def read_catalogue(path: str | Path) -> pd.DataFrame:
    """Read a dataset's items.parquet: item ids and texts, one row per item.

    Raises:
        DataError: see `reading`; or an id or a text is not a string, an id occurs twice, there is no item.
    """
    table = read_parquet(path, [c.ITEM, c.TEXT])
    with reading(path):
        if table.empty:
            raise ValueError("it holds no item")
        for name in (c.ITEM, c.TEXT):
            if wrong := [value for value in table[name] if not isinstance(value, str)]:
                raise ValueError(f"{len(wrong)} of {len(table)} entries of {name} are not strings, e.g. {wrong[0]!r}")
        if not table[c.ITEM].is_unique:
            raise ValueError("an item occurs twice")
    return table


def check_unchanged(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse a run's file that is another one than its `record` was written with.

    Raises:
        DataError: the digest is not the recorded one; nothing is checked if the record holds none.
    """
    files = record.get("files")
    recorded = files.get(path.name) if isinstance(files, dict) else None
    with reading(path):
        if recorded not in (None, file_digest(path)):
            raise ValueError("it was changed since, or is another run's: its digest is not the one in record.json")


def read_numbers(path: str | Path, needs: Sequence[str]) -> pd.DataFrame:
    """Read a CSV file of numbers; see `parse_numbers`.

    Raises:
        DataError: see `reading`.
    """
    with reading(path):
        return parse_numbers(Path(path).read_text(encoding="utf-8"), needs)


def parse_numbers(text: str, needs: Sequence[str]) -> pd.DataFrame:
    """Parse CSV of numbers, all as float64, NaN where a field is empty; it must have the columns `needs`.

    Raises:
        ValueError: it is cut short, lacks a column or has something else than numbers.
    """
    if not text.endswith("\n"):
        raise ValueError("its last line is cut short")
    table = pd.read_csv(io.StringIO(text))
    if missing := sorted(set(needs) - set(table.columns)):
        raise ValueError(f"it lacks the columns {', '.join(missing)}")
    return table.astype("float64")


def write_parquet(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table without its index, atomically, with checksums that `read_parquet` verifies."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False, write_page_checksum=True)


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as CSV without its index, atomically; no spreadsheet takes a text in it for a formula."""
    table = table.copy()
    for place, kind in enumerate(table.dtypes):
        if kind.kind not in "biuf":
            column = table.iloc[:, place].astype(object)
            texts = {text: _inert(text) for text in {value for value in column if isinstance(value, str)}}
            table.isetitem(place, [texts[value] if isinstance(value, str) else value for value in column])
    table.columns = [_inert(name) for name in table.columns]
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def visible(text: str) -> str:
    """Put U+FFFD for control characters that neither a page nor a spreadsheet can show (not \\t, \\n, \\r)."""
    return _CONTROLS.sub("\ufffd", text)


def _inert(value: Any) -> Any:
    """Put an apostrophe before a text, unless it is a number, that a spreadsheet would execute."""
    if not isinstance(value, str):
        return value
    value = visible(value).replace("\r\n", "\n").replace("\r", "\n")  # the writer quotes only \n
    if not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
