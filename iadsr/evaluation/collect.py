"""Collects the files of all runs into six tables: metrics, runs, curves, keep, drops and inputs.parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any

import numpy as np
import pandas as pd

from iadsr.config.encoder_spec import NAMED_BY_IDENTITY
from iadsr.config.encoders import changed_options, embeddings_name
from iadsr.core import columns as c
from iadsr.core.errors import DataError
from iadsr.core.files import check_types
from iadsr.evaluation.drops import drop_rows
from iadsr.evaluation.metrics import average_groups
from iadsr.evaluation.runs import CURVE_COLUMNS, Run
from iadsr.formats.tables import write_parquet

METRICS_FILE, RUNS_FILE, CURVES_FILE, KEEP_FILE = "metrics.parquet", "runs.parquet", "curves.parquet", "keep.parquet"
DROPS_FILE, INPUTS_FILE = "drops.parquet", "inputs.parquet"
# how the record names the encoder: column -> key of its `encoder_identity`
ENCODER_COLUMNS = {
    "encoder_kind": "encoder",
    "encoder_model": "model",
    "encoder_revision": "revision",
    "encoder_pooling": "pooling",
    "encoder_dimension": "dimension",
    "encoder_text_digest": "text_digest",
}
MASK_COLUMNS = (
    "train_keep_rate",
    "test_keep_rate",
    "gate_share",
    "noise_auc",
    "untrained_auc",
    "noise_share",
    "drop_precision",
    "drop_recall",
    "train_drop_precision",
    "train_drop_recall",
)
# column -> key of the record's `denoised_target`
DENOISED_COLUMNS = {"denoised_hr5": "HR@5", "denoised_ndcg5": "NDCG@5", "denoised_changed": "changed"}
NAMES = "names"  # what an encoder reads unless the cell says otherwise
STAGES = ("train", "test")
KEEP_TYPES = {"stage": "str", c.GROUP: "str", "keep": "float64", "inputs": "int64"}
# nullable, because a run that diverges at once has no best epoch
_WHOLE_NUMBERS = ("epochs", "best_epoch", "parameters", "threads")
_COST = ("peak_memory_mb", "parameters", "device", "threads", "machine")
_NUMBERS = ("best_validation", "seconds_total", "seconds_epoch", "peak_memory_mb", *MASK_COLUMNS, *DENOISED_COLUMNS)
_ROW_TYPES: dict[str, type | UnionType] = {
    **dict.fromkeys(_WHOLE_NUMBERS, int | None),
    **dict.fromkeys(_NUMBERS, int | float | None),
    "dirty": bool | None,
    "reason": str | None,
    "commit": str | None,
    "identity": str,
    "reused_from": str | None,
    "device": str,
    "machine": str,
}


def collect(
    runs: Sequence[Run],
    catalogue_sizes: Mapping[str, int],
    out: str | Path,
    names: Mapping[str, Mapping[int, str]] = MappingProxyType({}),
) -> None:
    """Write the six tables of runs to folder `out`.

    `catalogue_sizes` maps a dataset to its number of items (for coverage), `names` to names of items by index (for
    drops). A run that is not done keeps its row in runs.parquet, with its reason, and its metric rows, with value NaN
    and 0 users.

    Raises:
        DataError: a file is missing or damaged, there is no run, or a dataset has no catalogue size.
    """
    if not runs:
        raise DataError("no run to collect: name at least one run folder")
    unknown = sorted({run.address.dataset for run in runs} - set(catalogue_sizes))
    if unknown:
        raise DataError(f"no catalogue size for {', '.join(unknown)}; prepare the data first")
    tables = {
        METRICS_FILE: _stack(runs, [metric_rows(run, catalogue_sizes[run.address.dataset]) for run in runs]),
        RUNS_FILE: run_table(runs),
        CURVES_FILE: _stack(runs, [curve_rows(run) for run in runs]),
        KEEP_FILE: _stack(runs, [keep_rows(run) for run in runs]),
        DROPS_FILE: _stack(runs, [drop_rows(run, names.get(run.address.dataset, {})) for run in runs]),
        INPUTS_FILE: _stack(runs, [input_rows(run) for run in runs]),
    }
    for name, table in tables.items():
        write_parquet(Path(out) / name, table)


def metric_rows(run: Run, items: int) -> pd.DataFrame:
    """Compute a run's metrics under every ranking rule: columns ranking, group, metric, value, users."""
    ranks = run.ranks()
    if not run.done:
        ranks = ranks.iloc[:0]
    try:
        coverage = {rule: run.shown(rule, items) / items if run.done else np.nan for rule in c.RANKINGS}
        parts = [average_groups(ranks, rule, share).assign(ranking=rule) for rule, share in coverage.items()]
    except DataError as error:
        raise DataError(f"run {run.place}: {error}") from error
    return pd.concat(parts, ignore_index=True)[[c.RANKING, c.GROUP, c.METRIC, c.VALUE, c.USERS]]


def curve_rows(run: Run) -> pd.DataFrame:
    """Return a run's learning curve with all that was logged, `epoch` whole."""
    curve = run.curve()
    names = dict.fromkeys((*CURVE_COLUMNS, *curve.columns))
    return curve.reindex(columns=list(names), fill_value=np.nan).astype({"epoch": np.int64})


def keep_rows(run: Run) -> pd.DataFrame:
    """Tabulate keep rates by the inputs' popularity: columns stage, group, keep, inputs; no row without a mask.

    A group without inputs has keep NaN and inputs 0.

    Raises:
        DataError: the record's table is damaged.
    """
    with run.reading():
        try:
            stages = run.record.get("keep_by_group") or {}
            rows = [
                {"stage": stage, c.GROUP: group, "keep": values["keep"], "inputs": values["inputs"]}
                for stage in STAGES
                for group, values in (stages.get(stage) or {}).items()
            ]
            return pd.DataFrame(rows, columns=list(KEEP_TYPES)).astype(KEEP_TYPES)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"keep_by_group: {error!r}") from error


def input_rows(run: Run) -> pd.DataFrame:
    """List the digests of what a run read, and of the source code that it could import: columns name, digest."""
    with run.reading():
        digests = {"source code": run.record["source_digest"], **run.record["inputs"]}
        check_types(digests, dict.fromkeys(digests, str))
    return pd.DataFrame(digests.items(), columns=["name", "digest"])


def run_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Tabulate runs, one per row: its address and what its record says of time, memory, provenance and the mask."""
    table = pd.DataFrame([run_row(run) for run in runs])
    whole = dict.fromkeys(_WHOLE_NUMBERS, "Int64")
    return table.astype({**whole, **dict.fromkeys(_NUMBERS, "float64"), "dirty": "boolean"})


def run_row(run: Run) -> dict[str, Any]:
    """Make a run's row of runs.parquet.

    Raises:
        DataError: the record lacks a field.
    """
    record = run.record
    with run.reading():
        cell, mask, denoised = record["cell"], record["mask"] or {}, record.get("denoised_target") or {}
        texts = cell.get("texts") or NAMES
        row = {
            **run.address._asdict(),
            "status": record["status"],
            "reason": run.reason,
            "objective": cell["objective"] if "objective" in cell else cell["settings"]["objective"],
            "encoder": encoder_name(cell["encoder"], texts),
            "texts": texts,
            **{name: record[name] for name in ("epochs", "best_epoch", "best_validation")},
            "seconds_total": record["seconds"]["total"],
            "seconds_epoch": record["seconds"]["epoch"],
            **{name: record[name] for name in _COST},
            "commit": record["commit"]["hash"],
            "dirty": record["commit"]["dirty"],
            "versions": "; ".join(f"{name} {version}" for name, version in record["versions"].items()),
            "source_digest": record["source_digest"],
            **_encoder_columns(record),
            "identity": record["identity"],
            "reused_from": record.get("reused_from"),
            **{name: mask.get(name) for name in MASK_COLUMNS},
            **{name: denoised.get(key) for name, key in DENOISED_COLUMNS.items()},
        }
        check_types(row, _ROW_TYPES)
        whole = {name: np.int64(row[name]) for name in _WHOLE_NUMBERS if row[name] is not None}
        numbers = {name: float(row[name]) for name in _NUMBERS if row[name] is not None}
        return {**row, **whole, **numbers}  # OverflowError for a number that no table can hold


def _encoder_columns(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Name what identifies the encoder, and those of its options that differ from the defaults."""
    identity = record.get("encoder_identity")
    if identity is None:
        return dict.fromkeys((*ENCODER_COLUMNS, "encoder_options"))
    changed = changed_options(record["cell"]["encoder"] or {"kind": identity["encoder"]})
    options = ", ".join(f"{name} {changed[name]}" for name in sorted(set(changed) - NAMED_BY_IDENTITY))
    named = {column: str(identity.get(key) or "") for column, key in ENCODER_COLUMNS.items()}
    return {**named, "encoder_options": options}


def encoder_name(encoder: Mapping[str, Any] | None, texts: str = "names") -> str | None:
    """Name a cell's embeddings; None for a method that reads no text."""
    return None if encoder is None else embeddings_name(encoder, texts)


def _stack(runs: Sequence[Run], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Stack the runs' tables, each row led by its run's address."""
    table = pd.concat(tables, ignore_index=True)
    rows = [len(part) for part in tables]
    for position, name in enumerate(c.ADDRESS):
        table.insert(position, name, np.repeat([run.address[position] for run in runs], rows))
    return table
