"""The dictionary of the downloads: what each of their columns means, by the page source `columns.toml`."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Mapping

import pandas as pd

EVERY = "every"  # the section of columns that mean the same in every table
Meanings = Mapping[str, Mapping[str, str]]


def find_entry(meanings: Meanings, table: str, column: str) -> tuple[str, str] | None:
    """Find what describes a column: its name in the table's section or `EVERY`, else the section's first pattern.

    Returns:
        Section and name or pattern of the entry; None if the column is not described.
    """
    own = [section for section in meanings if fnmatch.fnmatchcase(table, section)]
    named = ((section, column) for section in (*own, EVERY) if column in meanings.get(section, {}))
    fitting = ((section, name) for section in own for name in meanings[section] if fnmatch.fnmatchcase(column, name))
    return next(itertools.chain(named, fitting), None)


def describe_columns(
    meanings: Meanings, tables: Mapping[str, pd.DataFrame], numbers: Mapping[str, str]
) -> pd.DataFrame:
    """Tabulate the meaning of every column of the tables, empty if it is not described.

    Sections are called as a table, or by a pattern; those that are no table's say how to read all of them, and lead.

    Args:
        numbers: what fills the places of a meaning, see `Results.numbers`.
    """
    notes = {name: entries for name, entries in meanings.items() if name != EVERY and not fnmatch.filter(tables, name)}
    rows = [(name, *entry) for name, entries in notes.items() for entry in entries.items()]
    for name, frame in tables.items():
        for column in map(str, frame):
            entry = find_entry(meanings, name, column)
            rows.append((name, column, meanings[entry[0]][entry[1]] if entry else ""))
    rows = [(name, column, meaning.format_map(numbers)) for name, column, meaning in rows]
    return pd.DataFrame(rows, columns=["table", "column", "meaning"])
