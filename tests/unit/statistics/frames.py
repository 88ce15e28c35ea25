"""Small tables as evaluation writes them, for tests that work their results out by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iadsr.config.claims import load_claims
from iadsr.core import columns as c
from iadsr.evaluation.collect import DENOISED_COLUMNS, ENCODER_COLUMNS, MASK_COLUMNS
from iadsr.evaluation.runs import Address
from iadsr.statistics.grids import Grid

PUBLISHED = load_claims(Path(__file__).parents[3] / "workflow" / "config")
PAPER = PUBLISHED.paper
SOUGHT = PAPER.sought
RANKINGS = {"paper": "kept"}  # every other protocol: excluded
EXCLUDED = 10  # times the value under the rule "kept", so that a wrong rule is seen


def cell(
    method: str, seed: int = 0, protocol: str = "paper", backbone: str = "gru4rec", dataset: str = "toys"
) -> Address:
    """A run's address."""
    return Address(dataset, protocol, backbone, method, seed)


def grid_of(cells: Sequence[Address], **changes: Any) -> Grid:
    """The main grid with these cells, unless changes say otherwise."""
    rankings = {one.protocol: RANKINGS.get(one.protocol, "excluded") for one in cells}
    given = {"name": c.MAIN, "view": "table", "baseline": "none", "compare": [("*", "none")], "rankings": rankings}
    return Grid(cells=list(cells), **(given | changes))


SUMMARY: Mapping[str, Any] = {  # of a dataset
    "counts": {"users": 3, "items": 4, "interactions": 9},
    "length": {"mean": 3.0, "min": 2, "max": 4},
    "density": 0.75,
    "items_without_title": 0,
    "tied_share": 0.0,
    "min_count": 0,
    "reconstructed": False,
    "sources": [],
}


def runs_of(runs: Mapping[Address, Mapping[str, Any]]) -> pd.DataFrame:
    """runs.parquet: each run is done and has no mask, unless its entries say otherwise."""
    usual = {
        "status": c.DONE, "reason": None, "objective": "last", "encoder": None, "texts": "names",
        "epochs": 20, "best_epoch": 10, "best_validation": 0.1, "seconds_total": 40.0, "seconds_epoch": 2.0,
        "peak_memory_mb": 100.0, "parameters": 10, "device": "cpu", "threads": 1, "machine": "x86_64 Linux",
        "commit": "c0ffee", "dirty": False, "versions": "python 3", "source_digest": "5c", "identity": "1d",
        **dict.fromkeys((*ENCODER_COLUMNS, "encoder_options")),
        **dict.fromkeys((*MASK_COLUMNS, *DENOISED_COLUMNS)),
    }  # fmt: skip
    table = pd.DataFrame([{**address._asdict(), **usual, **own} for address, own in runs.items()])
    numbers = ("best_validation", "seconds_total", "seconds_epoch", *MASK_COLUMNS, *DENOISED_COLUMNS)
    whole = dict.fromkeys(("epochs", "best_epoch"), "Int64")
    return table.astype({**whole, **dict.fromkeys(numbers, "float64"), "dirty": "boolean"})


def metrics_of(
    values: Mapping[Address, Mapping[str, float | None]], *, group: str = "all", users: int = 9
) -> pd.DataFrame:
    """metrics.parquet of one group of users: the values given for history kept, `EXCLUDED` times as much else."""
    rows = [
        {**address._asdict(), c.RANKING: ranking, c.GROUP: group, c.METRIC: metric, c.VALUE: value, c.USERS: users}
        for address, own in values.items()
        for metric, kept in own.items()
        for ranking, value in (("kept", kept), ("excluded", None if kept is None else EXCLUDED * kept))
    ]
    return pd.DataFrame(rows).astype({c.VALUE: "float64"})


def popularity_of(values: Mapping[str, float], dataset: str = "toys") -> pd.DataFrame:
    """popularity.parquet: the values given for history kept, `EXCLUDED` times as much else."""
    rows = [
        (dataset, ranking, metric, value * factor, 9)
        for metric, value in values.items()
        for ranking, factor in (("kept", 1), ("excluded", EXCLUDED))
    ]
    return pd.DataFrame(rows, columns=[c.DATASET, c.RANKING, c.METRIC, c.VALUE, c.USERS])


def curves_of(curves: Mapping[Address, Mapping[str, Sequence[float | None]]]) -> pd.DataFrame:
    """curves.parquet: each run's columns by epoch, from epoch 1."""
    tables = [
        pd.DataFrame({"epoch": range(1, len(next(iter(own.values()))) + 1), **own}).assign(**address._asdict())
        for address, own in curves.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    return table[[*c.ADDRESS, *(name for name in table if name not in c.ADDRESS)]]


def keep_of(shares: Mapping[Address, Mapping[str, Mapping[str, float | None]]]) -> pd.DataFrame:
    """keep.parquet: run -> stage -> group -> share kept; 5 inputs in each group, none where nothing is known."""
    rows = [
        {**address._asdict(), "stage": stage, c.GROUP: group, "keep": share, "inputs": 0 if share is None else 5}
        for address, stages in shares.items()
        for stage, groups in stages.items()
        for group, share in groups.items()
    ]
    columns = [*c.ADDRESS, "stage", c.GROUP, "keep", "inputs"]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "int64", "keep": "float64", "inputs": "int64"})


def ranks(values: list[float] | np.ndarray, *, first_user: int = 0) -> pd.DataFrame:
    """User i ranks its target, seen i times in training, at values[i] in both rules."""
    users = [f"u{first_user + i}" for i in range(len(values))]
    values = np.asarray(values, float)
    targets = np.arange(len(values), dtype=np.int32)
    table = pd.DataFrame({"user": users, "target": targets, "rank_excluded": values, "rank_kept": values})
    return table.assign(target_train_count=np.arange(len(values), dtype=np.int64))


def write_run(runs: Path, address: Address, values: Sequence[float], *, shift: int = 0) -> Path:
    """A run's folder; it diverged when there are no `values`. `shift` gives the users other targets."""
    folder = runs / str(address)
    folder.mkdir(parents=True)
    table = ranks(list(values)).astype({"user": "str"})
    table.assign(target=table["target"] + shift).to_parquet(folder / "ranks.parquet")
    status = {"status": "done"} if len(values) else {"status": "diverged", "reason": "loss is NaN"}
    (folder / "record.json").write_text(json.dumps({"cell": address._asdict(), **status}))
    return folder


def one_row(table: pd.DataFrame, **where: Any) -> pd.Series:
    """The only row of a table with these values."""
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1, f"{len(table)} rows with {where}"
    return table.iloc[0]
