"""The archive of runs, one small file per dataset: whatever evaluation and statistics read of a run.

`<dataset>.parquet` has a row per run: its address, its record and learning curve as text, and lists over users with
their targets and ranks. `<dataset>.json` has what else of the dataset the page needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from iadsr.core import columns as c
from iadsr.core.errors import DataError
from iadsr.core.files import atomic_path, read_json, reading, write_json
from iadsr.evaluation.runs import CURVE_COLUMNS, RANK_COLUMNS, Address, Run, RunFolder, check_ranks, read_runs, run_file
from iadsr.formats.tables import parse_numbers
from iadsr.machine.locks import alone_in

_SHOWN = {ranking: f"shown_{ranking}" for ranking in c.RANKINGS}
_RANKS = tuple(map(c.rank_column, c.RANKINGS))  # stored twice as large, so that a tie's half is whole
_NUMBERS = tuple(name for name in RANK_COLUMNS if name != c.USER)
SCHEMA = pa.schema(
    [
        *((name, pa.int64() if name == c.SEED else pa.string()) for name in c.ADDRESS),
        ("record", pa.string()),
        ("curve", pa.string()),
        *((name, pa.int32()) for name in _SHOWN.values()),
        (c.USER, pa.list_(pa.string())),
        *((name, pa.list_(pa.int32())) for name in _NUMBERS),
    ]
)
RunT = TypeVar("RunT", bound=Run)
FACTS = {"items": int, "summary": dict, "popularity": list}


@dataclass(frozen=True)
class ArchivedRun(Run):
    """A run of the archive file `place`: `row` has its entry of every column of `SCHEMA`, as pyarrow scalars."""

    row: Mapping[str, pa.Scalar]

    def reading(self) -> AbstractContextManager[None]:
        return _reading(self.place)

    def ranks(self, wanted: Sequence[str] = RANK_COLUMNS) -> pd.DataFrame:
        with self.reading():
            columns = {name: self.row[name].values.to_numpy(zero_copy_only=False) for name in wanted}
            ranks = pd.DataFrame({name: values / 2 if name in _RANKS else values for name, values in columns.items()})
            check_ranks(ranks, self.done)
            return ranks

    def curve(self) -> pd.DataFrame:
        with self.reading():
            curve = parse_numbers(self.row["curve"].as_py(), CURVE_COLUMNS)
            self.check_epochs(curve)
            return curve

    def shown(self, ranking: str, items: int) -> int:
        return int(self.row[_SHOWN[ranking]].as_py())


def read_archive(folder: Path, datasets: Iterable[str]) -> list[ArchivedRun]:
    """Read the archived runs of datasets, in address order; a dataset without a file has none.

    Raises:
        DataError: a file is damaged.
    """
    runs: list[ArchivedRun] = []
    paths = [folder / f"{name}.parquet" for name in dict.fromkeys(datasets)]
    for path in filter(Path.is_file, paths):
        table = _read_table(path)
        with _reading(path):
            for row in (dict(zip(table.column_names, row, strict=True)) for row in zip(*table.columns, strict=True)):
                address = Address(*(row[name].as_py() for name in c.ADDRESS))
                runs.append(ArchivedRun(path, address, json.loads(row["record"].as_py()), row))
    return sorted(runs, key=lambda run: run.address)


def read_folder(folder: Path) -> Sequence[Run]:
    """Read every run of a results folder, or of an archive.

    Raises:
        DataError: it has no run, or a damaged one.
    """
    records = sorted((folder / "runs").glob(f"**/{c.RECORD}"))
    archived = sorted(path.stem for path in folder.glob("*.parquet"))
    runs = read_runs(path.parent for path in records) if records else read_archive(folder, archived)
    if not runs:
        raise DataError(f"{folder} is neither a results folder with runs nor an archive of runs")
    return runs


def select_runs(runs: Iterable[RunT], cells: Mapping[str, Mapping[str, Any]]) -> tuple[list[RunT], list[RunT]]:
    """Choose the runs at the addresses of `cells`, which say what the record of each must say of its cell.

    Returns:
        Those trained with these very settings, and those trained with others.
    """
    same: list[RunT] = []
    others: list[RunT] = []
    for run in runs:
        if (cell := cells.get(str(run.address))) is not None:
            (same if run.record["cell"] == json.loads(json.dumps(cell)) else others).append(run)
    return same, others


def read_facts(folder: Path, dataset: str) -> Mapping[str, Any]:
    """Read what the page needs of an archived dataset: its `items` (their number), `summary` and `popularity`.

    Some files have `names`, too: of the items that masks dropped, by index.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = folder / f"{dataset}.json"
    if not path.is_file():
        raise DataError(f"{path} is missing: no run on {dataset} was archived; train some, then: iadsr archive")
    facts = read_json(path, FACTS, _remedy(path))
    with _reading(path):
        return {**facts, "names": {int(item): str(name) for item, name in facts.get("names", {}).items()}}


def add_to_archive(folder: Path, runs: Sequence[RunFolder], facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Add runs to the archive, in place of those with their addresses and encoders, and the `facts` of their datasets.

    A run that is done stays if the new one is not. Another process that adds runs is waited for.

    Raises:
        DataError: a run's file is missing or damaged, or was changed since; or the archive is damaged.
    """
    with alone_in(folder):
        for dataset, told in facts.items():
            _add(folder, dataset, told, [run for run in runs if run.address.dataset == dataset])


def _add(folder: Path, dataset: str, told: Mapping[str, Any], runs: Sequence[RunFolder]) -> None:
    path = folder / f"{dataset}.parquet"
    rows = {_key(row): row for row in _read_table(path).to_pylist()}
    for run in runs:
        row = _archived(run, told["items"])
        if run.done or _key(row) not in rows or not _is_done(rows[_key(row)]):
            rows[_key(row)] = row
    with atomic_path(path) as temporary:
        # the users and targets of one run are those of the next: a page must be large for that to be seen
        parquet.write_table(
            pa.Table.from_pylist([rows[key] for key in sorted(rows)], SCHEMA),
            temporary,
            compression="zstd",
            compression_level=19,
            data_page_size=2**25,
            write_page_checksum=True,
        )
    known = read_facts(folder, dataset)["names"] if (folder / f"{dataset}.json").is_file() else {}
    if any(known.get(item, name) != name for item, name in told["names"].items()):
        known = {}  # of another catalogue, whose items had other indices
    write_json(folder / f"{dataset}.json", {**told, "names": known | told["names"]})


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Identify a run among all: by its address, and by its encoder, which run files may differ in."""
    encoder = json.loads(row["record"])["cell"].get("encoder")
    return (*(row[name] for name in c.ADDRESS), json.dumps(encoder, sort_keys=True))


def _is_done(row: Mapping[str, Any]) -> bool:
    return bool(json.loads(row["record"])["status"] == c.DONE)


def _archived(run: RunFolder, items: int) -> dict[str, Any]:
    """Make a run's row of the archive."""
    ranks = run.ranks()
    run.curve()  # checks it
    lists = {name: ranks[name].to_numpy() for name in _NUMBERS}
    doubled = {name: 2 * lists[name].astype(np.float64) for name in _RANKS}
    if any((values != np.rint(values)).any() for values in doubled.values()):
        raise DataError(f"run {run.place}: a rank is neither whole nor a half")
    doubled = {name: values.astype(np.int64) for name, values in doubled.items()}
    return {
        **run.address._asdict(),
        "record": json.dumps(run.record, ensure_ascii=False),
        "curve": run_file(run.place, c.CURVE).read_text(encoding="utf-8"),
        **{name: run.shown(ranking, items) for ranking, name in _SHOWN.items()},
        c.USER: ranks[c.USER].to_numpy(),
        **(lists | doubled),
    }


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        return SCHEMA.empty_table()
    with _reading(path):
        return parquet.read_table(path, columns=SCHEMA.names, page_checksum_verification=True).cast(SCHEMA)


def _reading(path: Path) -> AbstractContextManager[None]:
    return reading(path, _remedy(path))


def _remedy(path: Path) -> str:
    return f"get it anew: git checkout -- {path}"
