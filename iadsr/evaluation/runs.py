"""Reading what a run left behind, with checks that a metric or a test may rely on."""

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
from iadsr.core.files import read_json

RECORD, RANKS, CURVE = "record.json", "ranks.parquet", "curve.csv"
DONE, DIVERGED = "done", "diverged"
RANK_COLUMNS = (
    c.USER,
    c.TARGET,
    c.TARGET_TRAIN_COUNT,
    c.HISTORY_LENGTH,
    *(name(ranking) for ranking in c.RANKINGS for name in (c.rank_column, c.ties_column, c.top_column)),
)


class Address(NamedTuple):
    """Which run it is, in path order."""

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
        """False for a diverged run: it has no ranks."""
        return bool(self.record["status"] == DONE)

    @property
    def reason(self) -> str | None:
        """Why the run diverged; None for a finished one."""
        return None if self.done else str(self.record.get("reason") or "no reason recorded")


def run_file(directory: Path, name: str) -> Path:
    """The path of a run's file. DataError when it is missing, with the way to make it."""
    path = directory / name
    if not path.is_file():
        raise DataError(f"run {directory} has no {name}; train it with: snakemake --cores 1 {path}")
    return path


def read_run(directory: str | Path) -> Run:
    """Read a run's record. DataError when it is missing or lacks its address or status."""
    directory = Path(directory)
    path = run_file(directory, RECORD)
    try:
        record = read_json(path)
        cell = record["cell"]
        address = Address(
            str(cell[c.DATASET]),
            str(cell[c.PROTOCOL]),
            str(cell[c.BACKBONE]),
            str(cell[c.METHOD]),
            int(cell[c.SEED]),
        )
        status = record["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r}); delete {directory} and train the run again") from error
    if status not in (DONE, DIVERGED):
        raise DataError(f"{path}: status is {status!r}, expected '{DONE}' or '{DIVERGED}'; train the run again")
    return Run(directory, address, record)


def read_runs(directories: Iterable[str | Path]) -> list[Run]:
    """Read the records of several runs, in address order. DataError when two have the same address."""
    runs = sorted((read_run(directory) for directory in directories), key=lambda run: run.address)
    counts = Counter(run.address for run in runs)
    twice = [address for address, count in counts.items() if count > 1]
    if twice:
        places = ", ".join(str(run.directory) for run in runs if run.address == twice[0])
        raise DataError(f"{len(twice)} address(es) given twice, first {twice[0]}: {places}; name each run once")
    return runs


def read_ranks(run: Run, wanted: Sequence[str] = RANK_COLUMNS) -> pd.DataFrame:
    """A run's ranks, one row a user, the columns `wanted` (which must have `user`).

    DataError when the file is missing or lacks a column, a finished run has no user, a user occurs twice, or
    a rank is not a number >= 1.
    """
    path = run_file(run.directory, RANKS)
    try:
        ranks = pd.read_parquet(path, columns=list(wanted))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} lacks a column or is damaged ({error}); train the run again") from error
    if run.done and ranks.empty:
        raise DataError(f"{path}: the run is done but ranks no user; train it again")
    if not ranks[c.USER].is_unique:
        raise DataError(f"{path}: a user occurs twice; train the run again")
    for column in map(c.rank_column, c.RANKINGS):
        # `not (>=)` also catches NaN
        if column in ranks and not bool(np.all(ranks[column].to_numpy(np.float64) >= 1)):
            raise DataError(f"{path}: {column} has a value that is not a rank (a number >= 1)")
    return ranks
