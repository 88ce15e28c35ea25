"""Reads a run, with checks that a metric or a test may rely on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from iadsr.core import columns as c
from iadsr.core.errors import DataError
from iadsr.core.files import read_json, reading, remake
from iadsr.evaluation.metrics import count_shown
from iadsr.formats.tables import check_unchanged, read_numbers, read_parquet

CURVE_COLUMNS = ("epoch", "loss", "validation", "seconds")  # of every curve
RANK_COLUMNS = (
    c.USER,
    c.TARGET,
    c.TARGET_TRAIN_COUNT,
    *(name(ranking) for ranking in c.RANKINGS for name in (c.rank_column, c.ties_column)),
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
class Run(ABC):
    """One trained run: its `record.json`, and its ranks and learning curve where they are kept.

    Attributes:
        place: where it was read, for messages.
    """

    place: Path
    address: Address
    record: Mapping[str, Any]

    @abstractmethod
    def reading(self) -> AbstractContextManager[None]:
        """Turn what a block raises about the content of the record into a DataError that says how to mend it."""

    @abstractmethod
    def ranks(self, wanted: Sequence[str] = RANK_COLUMNS) -> pd.DataFrame:
        """Read its ranks, one row per user, the columns `wanted` (which must have `user`).

        Raises:
            DataError: they are missing, were changed since, or cannot be scored.
        """

    @abstractmethod
    def curve(self) -> pd.DataFrame:
        """Read its learning curve, one row per epoch: every column a float, NaN where it does not apply.

        Raises:
            DataError: it is missing, was changed since, or has other epochs than the record of a finished run.
        """

    def check_epochs(self, curve: pd.DataFrame) -> None:
        """Raise ValueError for a curve with other epochs than the record of a finished run."""
        if self.done and len(curve) != self.record["epochs"]:
            raise ValueError(f"it has {len(curve)} epochs, the record {self.record['epochs']}")

    @abstractmethod
    def shown(self, ranking: str, items: int) -> int:
        """Count the distinct items in the first ten of anybody's list under a ranking rule.

        Raises:
            DataError: the lists are damaged, or have an item outside a catalogue of `items`.
        """

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


@dataclass(frozen=True)
class RunFolder(Run):
    """A run in the folder `place`, as training wrote it."""

    def reading(self) -> AbstractContextManager[None]:
        return reading(self.place / c.RECORD)

    def ranks(self, wanted: Sequence[str] = RANK_COLUMNS) -> pd.DataFrame:
        path = run_file(self.place, c.RANKS)
        ranks = read_parquet(path, wanted, others=False)
        with reading(path):
            check_ranks(ranks, self.done)
        check_unchanged(path, self.record)
        return ranks

    def curve(self) -> pd.DataFrame:
        path = run_file(self.place, c.CURVE)
        curve = read_numbers(path, CURVE_COLUMNS)
        check_unchanged(path, self.record)
        with reading(path):
            self.check_epochs(curve)
        return curve

    def shown(self, ranking: str, items: int) -> int:
        path, column = run_file(self.place, c.RANKS), c.top_column(ranking)
        top = read_parquet(path, [column], others=False)[column]
        with reading(path):
            if not all(isinstance(row, np.ndarray) for row in top):
                raise ValueError(f"{column} does not hold lists of items")
            return count_shown(top, items)


def run_file(directory: Path, name: str) -> Path:
    """Find a run's file.

    Raises:
        DataError: it is missing, with the way to make it.
    """
    path = directory / name
    if not path.is_file():
        raise DataError(f"run {directory} has no {name}; train it with: snakemake --cores 1 {path}")
    return path


def read_run(directory: str | Path) -> RunFolder:
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
    return RunFolder(directory, address, record)


def runs_below(root: Path) -> Callable[[Address], Run]:
    """Return what reads a run of the results folder `root` by its address."""
    return lambda address: read_run(root / "runs" / str(address))


def read_runs(directories: Iterable[str | Path]) -> list[RunFolder]:
    """Read the records of several runs, in address order.

    Raises:
        DataError: two have the same address.
    """
    runs = sorted((read_run(directory) for directory in directories), key=lambda run: run.address)
    counts = Counter(run.address for run in runs)
    twice = [address for address, count in counts.items() if count > 1]
    if twice:
        places = ", ".join(str(run.place) for run in runs if run.address == twice[0])
        raise DataError(f"{len(twice)} address(es) given twice, first {twice[0]}: {places}; name each run once")
    return runs


def check_ranks(ranks: pd.DataFrame, done: bool) -> None:
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
