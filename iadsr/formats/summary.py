"""What the stage `datasets` measures of a dataset, in its summary.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iadsr.core.files import check_types, read_json, reading

_TYPES = {
    "counts": dict,
    "length": dict,
    "density": int | float,
    "items_without_title": int,
    "tied_share": int | float,
    "min_count": int,
    "reconstructed": bool,
    "sources": list,
}


def summary_file(root: Path, dataset: str) -> Path:
    """Name a dataset's summary below the results folder `root`."""
    return root / "data" / dataset / "summary.json"


def read_summary(root: Path, dataset: str) -> Mapping[str, Any]:
    """Read a dataset's summary below the results folder `root`.

    Raises:
        DataError: it is missing, damaged, or lacks a part.
    """
    path = summary_file(root, dataset)
    summary: Mapping[str, Any] = read_json(path, _TYPES)
    with reading(path):
        check_types(summary["counts"], dict.fromkeys(("users", "items", "interactions"), int))
        check_types(summary["length"], dict.fromkeys(("mean", "min", "max"), int | float))
    return summary
