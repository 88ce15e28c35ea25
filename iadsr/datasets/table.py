"""Reads datasets whose files are tables: CSV in its variants, or one JSON object per line."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyarrow import csv

from iadsr.config.datasets import TableSpec, TablesSpec
from iadsr.core.columns import ITEM, TIMESTAMP, USER
from iadsr.core.files import reading
from iadsr.datasets.raw import REMEDY, unpack

_SEPARATOR = "\x1f"  # stands in for separators of several characters, which the CSV reader does not know


def read_tables(tables: TablesSpec, paths: Mapping[str, Path]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read interactions, in the file's order, and item names.

    Args:
        paths: raw file of each name.

    Returns:
        Interactions: user(str), item(str), timestamp(int64); and item id to name, items without one left out.

    Raises:
        DataError: a file is damaged, or its columns or values are not as described.
    """
    spec = tables.interactions
    with reading(paths[spec.file], REMEDY):
        rows = _read(paths[spec.file], spec, [spec.user, spec.item, spec.time, *([spec.title] if spec.title else [])])
        times = _times(rows[spec.time])
    titles = _titles(rows, spec)
    if tables.items is not None and tables.items.title is not None:
        spec_items, path = tables.items, paths[tables.items.file]
        with reading(path, REMEDY):
            titles |= _titles(_read(path, spec_items, [spec_items.item, tables.items.title]), spec_items)
    return pd.DataFrame({USER: rows[spec.user], ITEM: rows[spec.item], TIMESTAMP: times}), titles


def _titles(rows: pd.DataFrame, spec: TableSpec) -> dict[str, str]:
    if spec.title is None:
        return {}
    names = zip(rows[spec.item], rows[spec.title].str.strip(), strict=True)
    return {item: name for item, name in names if name}


def _read(path: Path, spec: TableSpec, columns: Sequence[str]) -> pd.DataFrame:
    """Read some columns of a table as text. Raises ValueError if it is not as described."""
    columns = list(dict.fromkeys(columns))
    data = unpack(path, spec.member)
    if spec.type == "json":
        return _read_json(data.decode(spec.encoding), columns)
    separator = spec.separator
    if len(separator) > 1:
        data, separator = data.replace(separator.encode(spec.encoding), _SEPARATOR.encode()), _SEPARATOR
    table = csv.read_csv(
        io.BytesIO(data),
        csv.ReadOptions(use_threads=False, column_names=spec.header, encoding=spec.encoding),
        csv.ParseOptions(delimiter=separator, quote_char='"' if spec.quotes else False, newlines_in_values=spec.quotes),
        csv.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(columns, "string")),
    )
    rows: pd.DataFrame = table.to_pandas()
    return rows.astype("str")


def _read_json(text: str, columns: Sequence[str]) -> pd.DataFrame:
    values: dict[str, list[str]] = {column: [] for column in columns}
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            record = json.loads(line)
            for column in columns:
                values[column].append(_as_text(record, column, number))
    return pd.DataFrame(values, dtype="str")


def _as_text(record: Any, column: str, number: int) -> str:
    """Return a value of a JSON object as text. Raises ValueError unless it is a text, a number or null."""
    if not isinstance(record, dict) or column not in record:
        raise ValueError(f"line {number} lacks '{column}'")
    value = record[column]
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise ValueError(f"line {number}: '{column}' is {value!r}")
    return "" if value is None else str(value)


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
