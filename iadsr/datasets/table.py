"""Reads tables: CSV in its variants, or one JSON object or Python literal per line."""

from __future__ import annotations

import ast
import html
import io
import json
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyarrow import csv
from pyarrow import json as arrow_json

from iadsr.config.datasets import TableSpec, TablesSpec
from iadsr.core.columns import ITEM, TIMESTAMP, USER
from iadsr.core.errors import DataError, one_line
from iadsr.core.files import reading
from iadsr.datasets.raw import LONGEST_LINE, REMEDY, read_lines, read_raw

_SEPARATOR = "\x1f"  # stands in for separators of several characters, which the CSV reader does not know
_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), type(None): pa.string()}


def read_tables(tables: TablesSpec, paths: Mapping[str, Path]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read interactions, in the file's order, and item names.

    Args:
        paths: raw file of each name.

    Returns:
        Interactions: user(str), item(str), timestamp(int64); and item id to name, items without one left out.

    Raises:
        DataError: a file is damaged, its columns or values are not as described, or it names none of the items.
    """
    spec = tables.interactions
    path = paths[spec.file]
    with reading(path, REMEDY):
        rows = _read(path, spec, [spec.user, spec.item, spec.time])
        times = _times(rows[spec.time])
        titles = _titles(rows, spec)
    interactions = pd.DataFrame({USER: rows[spec.user], ITEM: rows[spec.item], TIMESTAMP: times})
    if tables.items is not None:
        items = set(interactions[ITEM].unique())
        with reading(paths[tables.items.file], REMEDY):
            titles |= _titles(_read(paths[tables.items.file], tables.items, [tables.items.item], items), tables.items)
        if items.isdisjoint(titles):  # either file may be another dataset's
            raise DataError(f"{paths[tables.items.file]} has the title of none of the {len(items)} items in {path}")
    return interactions, titles


def clean_title(title: str) -> str:
    """Resolve a title's HTML entities and collapse its blanks."""
    return " ".join(html.unescape(title).split())


def _titles(rows: pd.DataFrame, spec: TableSpec) -> dict[str, str]:
    if spec.title is None:
        return {}
    titles = ((item, clean_title(title)) for item, title in zip(rows[spec.item], rows[spec.title], strict=True))
    return {item: title for item, title in titles if title}


def _read(path: Path, spec: TableSpec, required: list[str], wanted: Container[str] | None = None) -> pd.DataFrame:
    """Read the `required` columns of a table, and titles, as text.

    Args:
        wanted: items to read; rows of others may be left out.

    Raises:
        ValueError: the table is not as described.
    """
    read = {"csv": _read_csv, "json": _read_json, "python": _read_literals}[spec.type]
    columns = list(dict.fromkeys([*required, *([spec.title] if spec.title else [])]))
    table = read(path, spec, columns, wanted)
    for name in required:
        if missing := table.column(name).null_count:
            raise ValueError(f"{missing} of {table.num_rows} lines lack '{name}'")
    rows: pd.DataFrame = table.cast(pa.schema([(name, pa.string()) for name in columns])).to_pandas()
    return rows.fillna("").astype("str")


def _read_csv(path: Path, spec: TableSpec, columns: list[str], wanted: Container[str] | None) -> pa.Table:
    data, separator = read_raw(path, spec.member), spec.separator
    if len(separator) > 1:
        data, separator = data.replace(separator.encode(spec.encoding), _SEPARATOR.encode()), _SEPARATOR
    return csv.read_csv(
        io.BytesIO(data),
        csv.ReadOptions(use_threads=False, column_names=spec.header, encoding=spec.encoding),
        csv.ParseOptions(delimiter=separator, quote_char='"' if spec.quotes else False, newlines_in_values=spec.quotes),
        csv.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(columns, pa.string())),
    )


def _read_json(path: Path, spec: TableSpec, columns: list[str], wanted: Container[str] | None) -> pa.Table:
    """Parse the columns alone, three to five times faster than `json.loads` per line.

    The first line says which of them are numbers.
    """
    data = read_raw(path, spec.member)
    first = json.loads(next((line for line in io.BytesIO(data) if line.strip()), b""))
    kinds = {name: type(first.get(name)) for name in columns} if isinstance(first, dict) else {}
    if not kinds or not set(kinds.values()) <= set(_ARROW):
        raise ValueError(f"line 1 is no JSON object with texts or numbers in {', '.join(columns)}")
    schema = pa.schema([(name, _ARROW[kind]) for name, kind in kinds.items()])
    return arrow_json.read_json(
        io.BytesIO(data),
        arrow_json.ReadOptions(use_threads=False, block_size=LONGEST_LINE),
        arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )


def _read_literals(path: Path, spec: TableSpec, columns: list[str], wanted: Container[str] | None) -> pa.Table:
    """Parse Python literals, skipping lines that begin with the id of an item that is not wanted.

    Amazon's files hold some twenty times the items of the 5-core. Nothing is evaluated: lines are no code.
    """
    start = re.compile(rf"""\{{['"]{re.escape(spec.item)}['"]: ['"](\w+)['"]""")
    values: dict[str, list[str | None]] = {name: [] for name in columns}
    for number, line in enumerate(read_lines(path, spec.member, spec.encoding), start=1):
        item = start.match(line)
        if line.strip() and (wanted is None or item is None or item[1] in wanted):
            try:
                record: dict[str, Any] = ast.literal_eval(line.strip())
                for name in columns:
                    values[name].append(None if record.get(name) is None else str(record[name]))
            except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError, AttributeError) as error:
                raise ValueError(f"line {number} is no Python literal with fields ({one_line(error)})") from error
    return pa.table(values, schema=pa.schema([(name, pa.string()) for name in columns]))


def _times(texts: pd.Series) -> npt.NDArray[np.int64]:
    """Convert times to whole numbers, and dates to seconds. Raises ValueError for anything else."""
    try:
        numbers = pd.to_numeric(texts)
    except ValueError:
        dates = pd.to_datetime(texts, format="ISO8601", utc=True)
        if dates.isna().any():
            raise ValueError("a row has no time") from None
        return dates.dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
    if not np.isfinite(numbers).all() or (numbers % 1 != 0).any():
        raise ValueError("a time is missing or no whole number")
    return numbers.to_numpy().astype(np.int64)
