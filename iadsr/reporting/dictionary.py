"""The dictionary of the downloads: what each of their columns means, by the page source `columns.toml`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from fnmatch import fnmatchcase

import pandas as pd

EVERY = "every"  # the section of columns that mean the same in every table
Meanings = Mapping[str, Mapping[str, str]]


def find_entry(meanings: Meanings, table: str, column: str) -> tuple[str, str] | None:
    """Find what describes a column: its name in the table's own section or `EVERY`, else the table's first pattern.

    Returns:
        Section and name or pattern of the entry; None if the column is not described.
    """
    named = ((section, column) for section in (table, EVERY) if column in meanings.get(section, {}))
    fitting = ((table, pattern) for pattern in meanings.get(table, {}) if fnmatchcase(column, pattern))
    return next(itertools.chain(named, fitting), None)


def describe_columns(
    meanings: Meanings, tables: Mapping[str, pd.DataFrame], numbers: Mapping[str, str]
) -> pd.DataFrame:
    """Tabulate the meaning of every column of the tables, empty if it is not described.

    Sections that are no table's, which say how to read all of them, lead.

    Args:
        numbers: what fills the places of a meaning, see `Results.numbers`.
    """
    notes = {name: entries for name, entries in meanings.items() if name not in {*tables, EVERY}}
    rows = [(name, *entry) for name, entries in notes.items() for entry in entries.items()]
    for name, frame in tables.items():
        for column in map(str, frame):
            entry = find_entry(meanings, name, column)
            rows.append((name, column, meanings[entry[0]][entry[1]] if entry else ""))
    rows = [(name, column, meaning.format_map(numbers)) for name, column, meaning in rows]
    return pd.DataFrame(rows, columns=["table", "column", "meaning"])
