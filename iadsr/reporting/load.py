"""Everything the report reads, gathered once and cut to the cells that the run settings name."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
import pandas as pd

from iadsr.config.encoders import NAMED_BY_IDENTITY, changed_options
from iadsr.core.columns import (
    ADDRESS,
    ALL_BACKBONES,
    BACKBONE,
    DATASET,
    DONE,
    GROUP,
    LOST,
    METHOD,
    METRIC,
    PROTOCOL,
    RANKING,
    RANKINGS,
    SEED,
    VALUE,
)
from iadsr.core.errors import ConfigError
from iadsr.core.files import check_types, read_json, reading
from iadsr.formats.tables import read_parquet

Address = tuple[str, str, str, str, int]
MISSING = "missing"  # a run without a record
NOT_DONE = (*LOST, MISSING)
NO_RECORD = "no run record in the results tree"
_OWN_RANKING = {"paper": "kept", "strong": "excluded"}
# optional parts of the files: absent from records that were written before they were measured
RUN_EXTRAS = (
    "train_keep_rate",
    "test_keep_rate",
    "gate_share",
    "noise_auc",
    "untrained_auc",
    "drop_precision",
    "drop_recall",
    "train_drop_precision",
    "train_drop_recall",
    "denoised_hr5",
    "denoised_ndcg5",
    "denoised_changed",
)
CURVE_EXTRAS = ("cosine_matched", "cosine_unmatched", "mask_gradient")
# columns of each table: words, then numbers
_WORDS = (DATASET, PROTOCOL, BACKBONE, METHOD)
_RUN_COLUMNS = (
    (*_WORDS, "status", "reason", "objective", "encoder", "identity", "commit"),
    (SEED, "epochs", "best_epoch", "best_validation", "seconds_total", "seconds_epoch", "peak_memory_mb", "parameters"),
)
_METRIC_COLUMNS = ((*_WORDS, RANKING, GROUP, METRIC), (SEED, VALUE, "users"))
_LOSSES = ("loss_recommendation", "loss_alignment", "loss_reconstruction")
_CURVE_COLUMNS = (_WORDS, (SEED, "epoch", "validation", *_LOSSES, "keep_rate", "gate_share"))
NUMBERS = (
    "mean",
    "baseline_mean",
    "difference",
    "relative_gain",
    "ci_low",
    "ci_high",
    "gain_low",
    "gain_high",
    "p",
    "p_holm",
    "effect",
    "wins",
    "ties",
    "losses",
    "seed_sd",
    "users",
    "seeds",
)
_COMPARISON_COLUMNS = (
    ("kind", *_WORDS, RANKING, METRIC, "baseline_protocol", "baseline_method", "family", "status"),
    NUMBERS,
)
_KEEP_COLUMNS = ((*_WORDS, "stage", GROUP), (SEED, "keep", "inputs"))
_POPULARITY_COLUMNS = ((DATASET, RANKING, METRIC), (VALUE,))
_SUMMARY_TYPES: dict[str, type | UnionType] = {
    "counts": dict,
    "length": dict,
    "density": int | float,
    "items_without_title": int,
    "tied_share": int | float,
    "min_count": int,
    "reconstructed": bool,
    "sources": list,
}
_RECORD_TYPES: dict[str, type | UnionType] = {"cell": dict, "commit": dict, "versions": dict, "inputs": dict}
_ENCODER_FIELDS = ("encoder", "kind", "model", "revision", "pooling", "dimension", "options")


@dataclass(frozen=True)
class Results:
    """The inputs of one report, or of one experiment in it.

    `cells` has one row an expected cell, in the order asked for: the address, `status` (or missing),
    `reason`, and the columns of runs.parquet (NaN where there is no run). The other tables hold rows of expected
    cells only; an experiment's `metrics` hold the group of all users only, `keep` the runs that are done.
    """

    cells: pd.DataFrame
    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    curves: pd.DataFrame
    keep: pd.DataFrame
    popularity: pd.DataFrame
    summaries: Mapping[str, Mapping[str, Any]]
    encoders: pd.DataFrame
    records: Mapping[Address, Mapping[str, Any]]
    record_paths: Mapping[Address, Path]
    unexpected_runs: int

    def values(self, column: str, **where: object) -> list[Any]:
        """The distinct values of an address column, in the order of the expected cells."""
        frame = select(self.cells, **where)
        return list(dict.fromkeys(frame[column].tolist()))

    def methods(self, **where: object) -> list[str]:
        """The expected methods; `none` leads because every other one is read against it."""
        return sorted(self.values(METHOD, **where), key=lambda name: name != "none")

    def popular(self, dataset: str, ranking: str, metric: str) -> float:
        """What the most popular items alone reach; NaN if a tree does not say."""
        found = select(self.popularity, dataset=dataset, ranking=ranking, metric=metric)[VALUE]
        return float(found.iloc[0]) if len(found) else math.nan


def select(frame: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The rows whose columns equal the given values."""
    keep = np.ones(len(frame), dtype=bool)
    for column, value in where.items():
        keep &= (frame[column] == value).to_numpy(dtype=bool)
    return frame[keep]


def done_only(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells that may enter a mean."""
    return select(cells, status=DONE)


def seeds_left_out(cells: pd.DataFrame) -> set[int]:
    """The seeds of one method that its mean curve leaves out; none if no seed is done, or nothing would be drawn."""
    done = set(done_only(cells)[SEED])
    return set(cells[SEED]) - done if done else set()


def lost_counts(cells: pd.DataFrame) -> list[str]:
    """`3 diverged`, `2 missing`: the cells that are not done, by status."""
    counts = cells["status"].value_counts()
    return [f"{counts[status]} {status}" for status in NOT_DONE if status in counts]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def own_ranking(protocol: str, settings: Mapping[str, Any]) -> str:
    """The ranking rule that `protocol` itself prescribes (settings first, then its usual one)."""
    stated = {value for key, value in protocol_values(protocol, settings) if key == "ranking"}
    known = [ranking for ranking in RANKINGS if stated == {ranking}]
    return known[0] if known else _OWN_RANKING.get(protocol, RANKINGS[0])


def protocol_values(protocol: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every (setting, value) of a protocol's description: its own, then those of each of its `cells`."""
    described = settings.get("protocols", {}).get(protocol, {})
    for key, value in described.items():
        if key == "cells":
            for cell in value.values():
                yield from cell.items()
        else:
            yield key, value


def rankings(protocol: str, settings: Mapping[str, Any]) -> list[str]:
    """Both ranking rules, the protocol's own first."""
    own = own_ranking(protocol, settings)
    return [own, *(name for name in RANKINGS if name != own)]


class Scores:
    """The metrics of all test users by seed, finite ones only."""

    def __init__(self, metrics: pd.DataFrame) -> None:
        self._found: dict[tuple[str, ...], dict[int, float]] = {}
        everyone = select(metrics, group="all")
        names = (DATASET, PROTOCOL, BACKBONE, METHOD, RANKING, METRIC)
        keys = zip(*(everyone[name] for name in names), strict=True)
        for key, seed, value in zip(keys, everyone[SEED], everyone[VALUE], strict=True):
            if math.isfinite(value):
                self._found.setdefault(key, {})[int(seed)] = float(value)

    def of(
        self, dataset: str, protocol: str, backbone: str, method: str, ranking: str, metric: str
    ) -> Mapping[int, float]:
        """Seed -> value; empty if no run got that far."""
        return self._found.get((dataset, protocol, backbone, method, ranking, metric), {})


def mean_and_sd(values: Iterable[Any]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of the numbers among `values`; NaN where there are too few."""
    series = pd.Series(list(values), dtype=float)
    return float(series.mean()), float(series.std())


def relative(values: Mapping[int, float], base: Mapping[int, float]) -> float:
    """Ratio of means, less 1, over the seeds that both have; NaN without any, or over nothing."""
    common = sorted(values.keys() & base.keys())
    below = sum(base[seed] for seed in common)
    return sum(values[seed] for seed in common) / below - 1 if below else math.nan


def record_path(root: Path, address: Address) -> Path:
    """Where a run's record lies."""
    dataset, protocol, backbone, method, seed = address
    return root / "runs" / dataset / protocol / backbone / method / f"seed{seed}" / "record.json"


def load(root: Path, cells: Sequence[Sequence[Any]]) -> Results:
    """Read the results tree for one grid.

    Raises ConfigError without cells, DataError if a file is absent that an earlier stage must have written.
    """
    return load_all(root, cells, {})[0]


def load_all(
    root: Path,
    cells: Sequence[Sequence[Any]],
    experiments: Mapping[str, Sequence[Sequence[Any]]],
    notes: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Results, dict[str, Results]]:
    """Read the results tree once: the main grid, and by name the grid of each experiment.

    A cell may be in several grids; `comparisons` are told apart by their column `experiment`, "" for the main grid.
    `notes` has what dataset files say in words, by dataset; a summary takes it over.
    Raises what `load` does.
    """
    for name, grid in {"": cells, **experiments}.items():
        if not grid:
            where = f"experiment '{name}'" if name else "a report"
            raise ConfigError(f"{where} needs at least one expected cell")
    tree = _Tree(root, notes or {})
    named = _expected([cell for grid in (cells, *experiments.values()) for cell in grid])
    unexpected = len(tree.runs) - len(_keep(tree.runs, named))
    return tree.cut(cells, "", unexpected), {name: tree.cut(grid, name, 0) for name, grid in experiments.items()}


class _Tree:
    """The files of a results tree, each read once."""

    def __init__(self, root: Path, notes: Mapping[str, Mapping[str, Any]]) -> None:
        self._root = root
        self._notes = notes
        evaluation = root / "evaluation"
        self.runs = _filled(_table(evaluation / "runs.parquet", _RUN_COLUMNS), RUN_EXTRAS).astype({SEED: "int64"})
        self._metrics = _table(evaluation / "metrics.parquet", _METRIC_COLUMNS)
        self._everyone = select(self._metrics, group="all")
        self._curves = _filled(_table(evaluation / "curves.parquet", _CURVE_COLUMNS), CURVE_EXTRAS)
        self._comparisons = _table(root / "statistics" / "comparisons.parquet", _COMPARISON_COLUMNS)
        for name in ("experiment", "same_as"):  # absent from older trees
            if name not in self._comparisons:
                self._comparisons[name] = ""
        self._kept = _optional(evaluation / "keep.parquet", _KEEP_COLUMNS)
        self._popularity = _optional(evaluation / "popularity.parquet", _POPULARITY_COLUMNS)
        self._records: dict[Address, Mapping[str, Any] | None] = {}

    def cut(self, cells: Sequence[Sequence[Any]], experiment: str, unexpected: int) -> Results:
        """What belongs to `cells`, with the comparisons of `experiment`."""
        expected = _expected(cells)
        paths = {
            address: record_path(self._root, address)
            for address in map(_address, expected.itertuples(index=False, name=None))
        }
        found = {address: record for address, path in paths.items() if (record := self._record(address, path))}
        merged = _merge_runs(expected, self.runs)
        datasets = list(dict.fromkeys(expected[DATASET]))
        return Results(
            cells=merged,
            metrics=_keep(self._everyone if experiment else self._metrics, expected),
            comparisons=_keep_comparisons(select(self._comparisons, experiment=experiment), expected),
            curves=_keep(self._curves, expected),
            keep=_keep(self._kept, done_only(merged)[list(ADDRESS)]),
            popularity=self._popularity[self._popularity[DATASET].isin(datasets)],
            summaries={name: self._summary(name) for name in datasets},
            encoders=_encoders(merged, found),
            records=found,
            record_paths=paths,
            unexpected_runs=unexpected,
        )

    def _summary(self, dataset: str) -> Mapping[str, Any]:
        path = self._root / "data" / dataset / "summary.json"
        summary: Mapping[str, Any] = read_json(path, _SUMMARY_TYPES)
        with reading(path):
            check_types(summary["counts"], dict.fromkeys(("users", "items", "interactions"), int))
            check_types(summary["length"], dict.fromkeys(("mean", "min", "max"), int | float))
        notes = self._notes.get(dataset, {})
        return {**notes, **summary, "placeholder_note": notes.get("mirror_note") if summary["reconstructed"] else None}

    def _record(self, address: Address, path: Path) -> Mapping[str, Any] | None:
        if address not in self._records:
            self._records[address] = read_json(path, _RECORD_TYPES) if os.path.lexists(path) else None
        return self._records[address]


def _filled(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """`frame` with all of `columns`, NaN in those that it lacks."""
    return frame.assign(**{name: math.nan for name in columns if name not in frame})


def _address(values: Iterable[Any]) -> Address:
    dataset, protocol, backbone, method, seed = values
    return str(dataset), str(protocol), str(backbone), str(method), int(seed)


def _expected(cells: Sequence[Sequence[Any]]) -> pd.DataFrame:
    unique = dict.fromkeys(_address(cell) for cell in cells)
    return pd.DataFrame(list(unique), columns=list(ADDRESS))


_Columns = tuple[tuple[str, ...], tuple[str, ...]]


def _table(path: Path, columns: _Columns) -> pd.DataFrame:
    """Read a table that must have the columns of words and of numbers."""
    words, numbers = columns
    table = read_parquet(path, [*words, *numbers])
    with reading(path):
        for name in numbers:
            if not (pd.api.types.is_numeric_dtype(table[name]) or table[name].isna().all()):
                raise ValueError(f"{name} is {table[name].dtype}, not numbers")
    return table


def _optional(path: Path, columns: _Columns) -> pd.DataFrame:
    """Read a table that an older tree may lack; without rows then."""
    return _table(path, columns) if os.path.lexists(path) else pd.DataFrame(columns=[*columns[0], *columns[1]])


def _keep(frame: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """The rows of `frame` that belong to expected cells, in their own order."""
    wanted = set(expected.itertuples(index=False, name=None))
    keys = zip(*(frame[column] for column in ADDRESS), strict=True)
    return frame[np.array([key in wanted for key in keys], dtype=bool)].reset_index(drop=True)


def _keep_comparisons(frame: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """Comparisons both of whose sides are expected."""
    wanted = set(expected[[DATASET, BACKBONE, PROTOCOL, METHOD]].itertuples(index=False, name=None))
    wanted |= {(dataset, ALL_BACKBONES, *rest) for dataset, _, *rest in wanted}
    columns = [frame[name] for name in (DATASET, BACKBONE, PROTOCOL, METHOD, "baseline_protocol", "baseline_method")]
    keep = [
        (dataset, backbone, protocol, method) in wanted
        and (dataset, backbone, base_protocol or protocol, base_method or method) in wanted
        for dataset, backbone, protocol, method, base_protocol, base_method in zip(*columns, strict=True)
    ]
    return frame[np.array(keep, dtype=bool)].reset_index(drop=True)


def _merge_runs(expected: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    merged = expected.merge(runs, on=list(ADDRESS), how="left", validate="one_to_one")
    absent = merged["status"].isna()
    merged["status"] = merged["status"].astype(object).where(~absent, MISSING)
    merged["reason"] = merged["reason"].astype(object).where(~absent, NO_RECORD)
    merged["reason"] = [reason if isinstance(reason, str) else "" for reason in merged["reason"]]
    merged[SEED] = merged[SEED].astype(int)
    return merged


def _encoders(cells: pd.DataFrame, records: Mapping[Address, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per dataset and encoder, as the runs' records identify it, and how many runs `used` it.

    `encoder` is the name of the embeddings file, `kind` the kind of encoder, `options` those that differ from the
    kind's defaults and that no other column tells, `text_digest` the digests of the texts that it read.
    """
    used: dict[tuple[str, ...], list[str]] = {}
    read = cells[cells["encoder"].notna()]
    for address, name in zip(read[list(ADDRESS)].itertuples(index=False, name=None), read["encoder"], strict=True):
        record = records.get(address, {})
        identity = record.get("encoder_identity") or {}
        changed = changed_options(record.get("cell", {}).get("encoder") or {"kind": identity.get("encoder")})
        described = {
            **identity,
            "encoder": name,
            "kind": identity.get("encoder"),
            "options": ", ".join(f"{key} {changed[key]}" for key in sorted(set(changed) - NAMED_BY_IDENTITY)),
        }
        key = (str(address[0]), *(str(described.get(field) or "") for field in _ENCODER_FIELDS))
        used.setdefault(key, []).append(str(identity.get("text_digest") or ""))
    rows = [(*key, ", ".join(sorted(set(digests))), len(digests)) for key, digests in used.items()]
    rows.sort(key=lambda row: (list(cells[DATASET]).index(row[0]), row[1:]))
    return pd.DataFrame(rows, columns=[DATASET, *_ENCODER_FIELDS, "text_digest", "used"])
