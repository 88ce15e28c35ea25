"""Amazon product data of 2014 (McAuley et al.): gzipped JSON reviews and Python-literal metadata, by line."""

from __future__ import annotations

import ast
import gzip
import html
import re
import zlib
from collections.abc import Container
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import json as arrow_json

from iadsr.core.columns import ITEM, TIMESTAMP, USER
from iadsr.core.errors import DataError

_BLOCK_BYTES = 1 << 23  # a block must hold the longest review; upstream's longest is under 64 KiB
_SCHEMA = pa.schema([("reviewerID", pa.string()), ("asin", pa.string()), ("unixReviewTime", pa.int64())])
_ASIN_FIRST = re.compile(r"""\{['"]asin['"]: ['"](\w+)['"]""")
_DAMAGED = (OSError, EOFError, zlib.error, UnicodeDecodeError)


def read_reviews(path: Path) -> pd.DataFrame:
    """Interactions of a `reviews_*.json.gz` file, in its order: user(str), item(str), timestamp(int64,
    seconds).

    Only these three fields are parsed (three to five times faster than `json.loads` a line). Raises DataError for a
    damaged file and for a line without one of the fields.
    """
    try:
        with pa.input_stream(str(path), compression="gzip") as stream:
            table = arrow_json.read_json(
                stream,
                read_options=arrow_json.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                parse_options=arrow_json.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="ignore"),
            )
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path} is not a gzip file of JSON lines with {_SCHEMA.names} ({error}); delete it to fetch it again"
        ) from error
    for name in _SCHEMA.names:
        if missing := table.column(name).null_count:
            raise DataError(f"{path}: {missing} of {table.num_rows} lines lack '{name}'")
    frame: pd.DataFrame = table.rename_columns([USER, ITEM, TIMESTAMP]).to_pandas()
    return frame


def read_titles(path: Path, wanted: Container[str] | None = None) -> dict[str, str]:
    """Titles of a `meta_*.json.gz` file: item id to title, HTML entities and runs of blanks resolved.

    Items without a title are absent. With `wanted`, lines of other items are skipped unparsed: upstream's
    files hold some twenty times the items of the 5-core. Lines are literals, never code: nothing is
    evaluated. Raises DataError for a damaged file, naming the line.
    """
    titles: dict[str, str] = {}
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                start = _ASIN_FIRST.match(line)
                if wanted is not None and start is not None and start[1] not in wanted:
                    continue
                if not line.strip():
                    continue
                record = _literal(line, path, number)
                item, title = record.get("asin"), clean_title(record.get("title"))
                if not isinstance(item, str):
                    raise DataError(f"{path}, line {number}: no 'asin'")
                if title and (wanted is None or item in wanted):
                    titles[item] = title
    except _DAMAGED as error:
        raise DataError(f"{path} is damaged after line {number} ({error}); delete it to fetch it again") from error
    return titles


def clean_title(title: Any) -> str:
    """A title with HTML entities resolved and blanks collapsed; empty when there is none."""
    return " ".join(html.unescape(title).split()) if isinstance(title, str) else ""


def _literal(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        record = ast.literal_eval(line.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise DataError(f"{path}, line {number}: not a Python literal ({error})") from error
    if not isinstance(record, dict):
        raise DataError(f"{path}, line {number}: a {type(record).__name__} where a dict is expected")
    return record
