"""Reads the table of a search's trials, trials.csv, and chooses the best values."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd

from iadsr.config.yaml_files import read_scalar
from iadsr.core.files import reading

JOURNAL, TRIALS = "journal.log", "trials.csv"
COMPLETE, PRUNED, DIVERGED, FAILED = "complete", "pruned", "diverged", "failed"
FIXED = ("cell", "encoder", "trial", "state", "validation", "best_epoch", "seconds")  # all others are values


def read_trials(path: Path) -> pd.DataFrame:
    """Read a table of trials, every entry as text, "" where there is none.

    Raises:
        DataError: the file is damaged.
    """
    with reading(path, "make it anew with `snakemake tuning_all` (with the --configfile of your run), or restore it"):
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("its last line is cut short")
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        if missing := sorted(set(FIXED) - set(table.columns)):
            raise ValueError(f"it lacks the columns {', '.join(missing)}")
        return table


def choose_values(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Choose by cell the values of its best whole trial, the first of equals; a cell without one is left out."""
    chosen = {}
    for cell, rows in table[table["state"] == COMPLETE].groupby("cell"):
        best = rows.iloc[int(rows["validation"].astype(float).to_numpy().argmax())].to_dict()
        values = {str(name): read_scalar(text) for name, text in best.items() if name not in FIXED and text}
        chosen[str(cell)] = dict(sorted(values.items()))
    return chosen
