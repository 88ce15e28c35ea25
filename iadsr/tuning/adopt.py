"""Copies searches into the committed tables of trials and tuned values: a deliberate act, no job of the workflow."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from iadsr.config.protocol import load_protocol, tuned_path
from iadsr.config.run import RunConfig
from iadsr.core.errors import ConfigError
from iadsr.core.files import write_text
from iadsr.formats.tables import write_csv
from iadsr.tuning.trials import FIXED, TRIALS, choose_values, read_trials

logger = logging.getLogger("iadsr.tuning")


def adopt_searches(run: RunConfig, folder: Path, trials: int | None = None) -> list[Path]:
    """Merge every search of a run into the files of its set; cells that were not searched anew keep their rows.

    Args:
        folder: `workflow/config`.
        trials: keep the first so many of each cell; None keeps all.

    Returns:
        The files of tuned values.

    Raises:
        ConfigError: there is no search; the cells of a set have unequal numbers of trials, or fewer than `trials`.
        DataError: a table is damaged.
    """
    tables: dict[Path, list[pd.DataFrame]] = {}
    for cell in run.searches(folder):
        path = Path(run.results) / "tuning" / cell.folder / TRIALS
        if not path.is_file():
            logger.warning("%s: not searched yet", cell.address)
            continue
        target = tuned_path(folder, cell.dataset, str(load_protocol(folder, cell.protocol).tuned))
        tables.setdefault(target, []).append(read_trials(path))
    if not tables:
        raise ConfigError(f"{run.where}: there is no search to adopt; `snakemake tuning_all` makes them")
    merged = {}
    for target, parts in tables.items():
        old = target.with_suffix(".csv")
        merged[target] = merge_trials([read_trials(old)] if old.is_file() else [], parts, trials, str(target))
    for target, table in merged.items():
        write_csv(target.with_suffix(".csv"), table)
        write_text(target, tuned_text(table))
    return list(merged)


def merge_trials(
    old: Iterable[pd.DataFrame], new: Iterable[pd.DataFrame], trials: int | None, where: str
) -> pd.DataFrame:
    """Merge tables into one, sorted by cell and trial, in which a new search replaces the cell's old rows.

    Raises:
        ConfigError: unequal numbers of trials, or fewer than `trials`.
    """
    added = pd.concat(new, ignore_index=True)
    kept = [table[~table["cell"].isin(added["cell"])] for table in old]
    table = pd.concat([*kept, added], ignore_index=True).fillna("")
    table = table.assign(trial=table["trial"].astype(int)).sort_values(["cell", "trial"], ignore_index=True)
    if trials is not None:
        table = table[table["trial"] < trials].reset_index(drop=True)
    counts = table["cell"].value_counts(sort=False)
    if counts.nunique() > 1 or (trials is not None and counts.min() < trials):
        listed = ", ".join(f"{cell} {count}" for cell, count in counts.items())
        raise ConfigError(
            f"{where}: every cell needs the same number of trials ({listed}): search on, or cut all to the first N "
            "with --trials N"
        )
    return table.reindex(columns=[*FIXED, *sorted(set(table.columns) - set(FIXED))])


def tuned_text(table: pd.DataFrame) -> str:
    """Write out the file of tuned values that follows from a table of trials."""
    encoders = ", ".join(sorted({name for name in table["encoder"] if name}))
    header = (
        f"# Written by `iadsr adopt`, not by hand: for each backbone and method the best of {table['trial'].nunique()} "
        "trials\n# on validation NDCG@10; all of them are in the table of the same name.\n"
        f"# Text encoder: {encoders or 'none was needed'}.\n"
    )
    return header + _flow(choose_values(table))


def _flow(entries: Mapping[str, Mapping[str, Any]]) -> str:
    return yaml.safe_dump(dict(entries), default_flow_style=None, width=1000) if entries else "{}\n"
