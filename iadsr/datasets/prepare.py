"""Prepares a dataset: from raw files to the three files that later stages read."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from iadsr.config.datasets import DatasetSpec, Expected
from iadsr.core.columns import HAS_TITLE, ITEM, NOISE, TEXT, TIMESTAMP, USER
from iadsr.core.errors import DataError
from iadsr.core.files import write_json
from iadsr.datasets import planted, table
from iadsr.datasets.digests import RawFile, accept
from iadsr.datasets.download import obtain, remove_partial
from iadsr.datasets.filter import check_core, k_core
from iadsr.datasets.raw import REMEDY
from iadsr.formats.tables import write_parquet
from iadsr.machine.disk import check_writable, set_aside
from iadsr.machine.locks import alone_in

log = logging.getLogger("iadsr.datasets")


def build(spec: DatasetSpec, out_dir: Path, raw_dir: Path, mirror: str | None) -> dict[str, Any]:
    """Fetch, read, check and write one dataset.

    Args:
        out_dir: takes interactions.parquet, items.parquet and summary.json. digests/<dataset>.json beside it records
            the digests of raw files that could be read.
        raw_dir: keeps the raw files. A file that cannot be read, and was never read before, is set aside in it.
        mirror: a folder or address that is asked first.

    Returns:
        The content of summary.json.

    Raises:
        DataError: no source has a file, or a file is not what the dataset's configuration says.
        OSError: a folder cannot be written.
    """
    for folder in (out_dir, raw_dir):  # before gigabytes are fetched
        check_writable(folder)
    with alone_in(raw_dir):
        remove_partial(raw_dir)
        return _build(spec, out_dir, raw_dir, mirror)


def _build(spec: DatasetSpec, out_dir: Path, raw_dir: Path, mirror: str | None) -> dict[str, Any]:
    """Do what `build` says, alone in the folder of raw files."""
    record = out_dir.parent / "digests" / f"{spec.name}.json"
    files = [obtain(file, raw_dir, mirror, record) for file in spec.files]
    try:
        summary = prepare(spec, files, out_dir)
    except DataError as error:
        suspects = [file.path for file in files if error.path in (None, file.path) and not file.enforced]
        if not suspects:
            raise
        moved = ", ".join(str(set_aside(path)) for path in suspects)
        raise DataError(
            f"{str(error).removesuffix(f'; {REMEDY}')}; moved to {moved}: "
            "repeat the command to fetch it again. If the same comes back, the source does not give the file: put the "
            "right one in a folder and name that folder, IADSR_MIRROR=/path/to/folder"
        ) from error
    if files:
        accept(files, record)
    return summary


def prepare(spec: DatasetSpec, files: Sequence[RawFile], out_dir: Path) -> dict[str, Any]:
    """Read the raw files, in the order of `spec.files`, check them and write the three files to `out_dir`.

    Rows keep the source's order. A (user, item) pair that occurs twice is kept, and counted in the log.

    Raises:
        DataError: a file is damaged, counts are not as expected, or the data is no k-core; nothing is written.
    """
    started = time.perf_counter()
    interactions, titles = _read(spec, [file.path for file in files])
    seconds = time.perf_counter() - started
    log.info("%s: %d interactions read in %.1f s", spec.name, len(interactions), seconds)
    if spec.expected is not None:
        check_counts(interactions, spec.expected, spec.name)
    if spec.check_core:
        check_core(interactions, spec.min_count, spec.name)
    elif spec.min_count:
        interactions = k_core(interactions, spec.min_count)
    if interactions.empty:
        raise DataError(f"{spec.name}: no interaction is left (min_count {spec.min_count})")
    if repeats := int(interactions.duplicated([USER, ITEM]).sum()):
        log.warning("%s: %d interactions repeat an earlier (user, item) pair; kept", spec.name, repeats)
    items = item_table(interactions, titles, spec.fallback_text)
    summary = summarise(spec, interactions, items, files)
    columns = [USER, ITEM, TIMESTAMP, *([NOISE] if NOISE in interactions else [])]
    write_parquet(out_dir / "interactions.parquet", interactions[columns])
    write_parquet(out_dir / "items.parquet", items)
    write_json(out_dir / "summary.json", summary)
    log.info(
        "%s: %d users, %d items, %d interactions, %d items without title",
        spec.name, *summary["counts"].values(), summary["items_without_title"],
    )  # fmt: skip
    return summary


def _read(spec: DatasetSpec, paths: Sequence[Path]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read interactions, and the title of each item id that has one."""
    if spec.planted is not None:
        return planted.generate(spec.planted)
    assert spec.tables is not None  # `DatasetSpec` has either
    return table.read_tables(spec.tables, {path.name: path for path in paths})


def check_counts(interactions: pd.DataFrame, expected: Expected, name: str) -> None:
    """Raise DataError unless the table has the expected numbers of users, items and rows."""
    counts = _counts(interactions)
    wrong = [f"{key}: expected {value}, found {counts[key]}" for key, value in expected if value != counts[key]]
    if wrong:
        raise DataError(
            f"{name} is not the published data ({'; '.join(wrong)}). Delete its raw files to fetch them "
            "again, or correct `expected` in its configuration if another version is meant"
        )


def item_table(interactions: pd.DataFrame, titles: dict[str, str], fallback: str) -> pd.DataFrame:
    """List the items that occur, sorted by id: item(str), text(str), has_title(bool)."""
    ids = sort_ids(interactions[ITEM].unique().tolist())
    return pd.DataFrame(
        {
            ITEM: pd.Series(ids, dtype="str"),
            TEXT: pd.Series([titles.get(item) or fallback.replace("{item}", item) for item in ids], dtype="str"),
            HAS_TITLE: pd.Series([bool(titles.get(item)) for item in ids], dtype="bool"),
        }
    )


def sort_ids(ids: list[str]) -> list[str]:
    """Sort ids as numbers if all consist of digits, else as text."""
    if all(item.isascii() and item.isdigit() for item in ids):
        return sorted(ids, key=lambda item: (int(item), item))
    return sorted(ids)


def summarise(
    spec: DatasetSpec, interactions: pd.DataFrame, items: pd.DataFrame, files: Sequence[RawFile]
) -> dict[str, Any]:
    """Describe the data for captions. `tied_share`: share of rows with the user and time of another row."""
    counts = _counts(interactions)
    lengths = interactions[USER].value_counts()
    return {
        "dataset": spec.name,
        "counts": counts,
        "length": {"mean": float(lengths.mean()), "min": int(lengths.min()), "max": int(lengths.max())},
        "density": counts["interactions"] / (counts["users"] * counts["items"]),
        "items_without_title": int((~items[HAS_TITLE]).sum()),
        "reconstructed": any(file.origin == "mirror" and not file.published for file in files),
        "tied_share": float(interactions.duplicated([USER, TIMESTAMP], keep=False).mean()),
        "min_count": spec.min_count,
        "sources": [
            {"file": file.path.name, "origin": file.origin, "sha256": file.sha256, "bytes": file.bytes}
            for file in files
        ],
    }


def _counts(interactions: pd.DataFrame) -> dict[str, int]:
    return {
        "users": int(interactions[USER].nunique()),
        "items": int(interactions[ITEM].nunique()),
        "interactions": len(interactions),
    }
