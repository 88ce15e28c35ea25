"""What the masks dropped, by item names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from iadsr.core import columns as c
from iadsr.evaluation.runs import Run

LEAST, MOST, HISTORY = PARTS = ("least", "most", "history")
TYPES = {
    "part": "str",
    c.USER: "str",
    "place": "int64",
    c.ITEM: "int64",
    "name": "str",
    "keep": "float64",
    "inputs": "Int64",
    c.TARGET: "str",
}


def drop_rows(run: Run, names: Mapping[int, str]) -> pd.DataFrame:
    """Tabulate the items that a run's mask kept least and most at test time, and its example histories.

    Columns: `part`, one of `PARTS`; the `user` of a history; `place` from 1 on, in the order of keep rates or of time;
    `item` and `name`; `keep`, the share kept; `inputs`, over which, missing in a history; `target`, the name of
    the item to predict from a history. No row without a mask, or from a record that is older than this table.

    Raises:
        DataError: the record's table is damaged.
    """
    with run.reading():
        try:
            rows = list(_rows(run.record.get("drops") or {}, names))
            return pd.DataFrame(rows, columns=list(TYPES)).astype(TYPES)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"drops: {error!r}") from error


def _rows(drops: Mapping[str, Any], names: Mapping[int, str]) -> Iterator[tuple[Any, ...]]:
    def named(item: int) -> str:
        return names.get(item, f"item {item}")

    for part in (LEAST, MOST):
        for place, one in enumerate(drops.get(part, ()), 1):
            yield part, "", place, one["item"], named(one["item"]), one["keep"], one["inputs"], ""
    for one in drops.get("histories", ()):
        for place, (item, keep) in enumerate(zip(one["items"], one["keep"], strict=True), 1):
            yield HISTORY, one["user"], place, item, named(item), keep, None, named(one["target"])


def shown_items(runs: Iterable[Run]) -> set[int]:
    """Collect the items whose names `drop_rows` needs.

    Raises:
        DataError: a record's table is damaged.
    """
    found: set[int] = set()
    for run in runs:
        found |= set(drop_rows(run, {})[c.ITEM])
        found |= {int(one["target"]) for one in (run.record.get("drops") or {}).get("histories", ())}
    return found
