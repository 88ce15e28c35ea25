"""Reads the files of a run, with checks that a metric or a test may rely on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from iadsr.core import columns as c
from iadsr.core.errors import DataError
from iadsr.core.files import read_json, reading, remake
from iadsr.formats.tables import check_unchanged, read_parquet

RANK_COLUMNS = (
    c.USER,
    c.TARGET,
    c.TARGET_TRAIN_COUNT,
    c.HISTORY_LENGTH,
    *(name(ranking) for ranking in c.RANKINGS for name in (c.rank_column, c.ties_column, c.top_column)),
)


class Address(NamedTuple):
    """The address of a run: its path below the results folder, part by part."""

    dataset: str
    protocol: str
    backbone: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset}/{self.protocol}/{self.backbone}/{self.method}/seed{self.seed}"


@dataclass(frozen=True)
class Run:
    """One trained run: its folder and its `record.json`."""

    directory: Path
    address: Address
    record: Mapping[str, Any]

    @property
    def done(self) -> bool:
        """False for a run that diverged, failed or learned nothing: its ranks, if it has any, are not scored."""
        return bool(self.record["status"] == c.DONE)

    @property
    def reason(self) -> str | None:
        """Why the run diverged, failed or learned nothing; None for one that is done."""
        return None if self.done else str(self.record.get("reason") or "no reason recorded")

    @property
    def loss(self) -> str | None:
        """Status and reason of a run that is not scored; None for one that is done."""
        return None if self.done else f"{self.record['status']} ({self.reason})"


def run_file(directory: Path, name: str) -> Path:
    """Find a run's file.

    Raises:
        DataError: it is missing, with the way to make it.
    """
    path = directory / name
    if not path.is_file():
        raise DataError(f"run {directory} has no {name}; train it with: snakemake --cores 1 {path}")
    return path


def read_run(directory: str | Path) -> Run:
    """Read a run's record.

    Raises:
        DataError: it is missing, lacks its address or status, or is of another run.
    """
    directory = Path(directory)
    path = run_file(directory, c.RECORD)
    record = read_json(path, {"status": str, "cell": dict})
    with reading(path):
        cell = record["cell"]
        address = Address(
            str(cell[c.DATASET]),
            str(cell[c.PROTOCOL]),
            str(cell[c.BACKBONE]),
            str(cell[c.METHOD]),
            int(cell[c.SEED]),
        )
        if not f"/{directory.as_posix()}".endswith(f"/{address}"):
            raise ValueError(f"it is the record of another run, {address}")
    if record["status"] not in c.STATUSES:
        raise DataError(f"{path}: status is {record['status']!r}, expected {' or '.join(c.STATUSES)}; {remake(path)}")
    return Run(directory, address, record)


def read_runs(directories: Iterable[str | Path]) -> list[Run]:
    """Read the records of several runs, in address order.

    Raises:
        DataError: two have the same address.
    """
    runs = sorted((read_run(directory) for directory in directories), key=lambda run: run.address)
    counts = Counter(run.address for run in runs)
    twice = [address for address, count in counts.items() if count > 1]
    if twice:
        places = ", ".join(str(run.directory) for run in runs if run.address == twice[0])
        raise DataError(f"{len(twice)} address(es) given twice, first {twice[0]}: {places}; name each run once")
    return runs


def read_ranks(run: Run, wanted: Sequence[str] = RANK_COLUMNS) -> pd.DataFrame:
    """Read a run's ranks, one row per user, the columns `wanted` (which must have `user`).

    Raises:
        DataError: the file is missing, was changed since, or lacks a column, a finished run has no user, a user occurs
            twice, or a rank is not a number >= 1.
    """
    path = run_file(run.directory, c.RANKS)
    ranks = read_parquet(path, wanted, others=False)
    with reading(path):
        _check_ranks(ranks, run.done)
    check_unchanged(path, run.record)
    return ranks


def _check_ranks(ranks: pd.DataFrame, done: bool) -> None:
    """Raise ValueError, or what pandas does, if a run's ranks cannot be scored."""
    if done and ranks.empty:
        raise ValueError("the run is done but ranks no user")
    if not ranks[c.USER].is_unique:
        raise ValueError("a user occurs twice")
    for column in map(c.rank_column, c.RANKINGS):
        if column in ranks and not bool(np.all(ranks[column].to_numpy(np.float64) >= 1)):
            raise ValueError(f"{column} has a value that is not a rank (a number >= 1)")
    if ranks.isna().any(axis=None):
        raise ValueError(f"{ranks.columns[ranks.isna().any()][0]} has an empty field")
    for column in (c.TARGET, c.TARGET_TRAIN_COUNT, *map(c.ties_column, c.RANKINGS)):
        if done and column in ranks and ranks[column].dtype.kind not in "iu":
            raise ValueError(f"{column} is {ranks[column].dtype}, not whole numbers")
    for column in map(c.top_column, c.RANKINGS):
        if column in ranks and not all(isinstance(row, np.ndarray) for row in ranks[column]):
            raise ValueError(f"{column} does not hold lists of items")
