"""Tables for a terminal: plain text, one line per row, texts flush left and numbers flush right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from iadsr.config.claims import Claim
from iadsr.core.columns import BACKBONE, DATASET, METHOD, METRIC, PROTOCOL
from iadsr.costs import Cost, Model
from iadsr.reporting.format import NOTHING, percent, share
from iadsr.reporting.page import make_environment
from iadsr.statistics.compare import OK
from iadsr.statistics.crossed import CAUTION, LEVEL, MOST, POWER

_CELL = [DATASET, PROTOCOL, BACKBONE, METHOD]


def print_table(table: pd.DataFrame, digits: int = 4) -> None:
    """Print a table; a dash stands for a missing number."""
    texts: pd.DataFrame = table.select_dtypes("str")
    widths = {name: max(len(str(name)), *texts[name].str.len()) for name in texts}
    flush_left = {name: f"{{:<{width}}}".format for name, width in widths.items()}
    shown = table.rename(columns=lambda name: name.ljust(widths.get(name, 0)))
    formatters: Mapping[Any, Any] = {name.ljust(widths[name]): form for name, form in flush_left.items()}
    number = f"{{:.{digits}f}}".format
    lines = shown.to_string(index=False, formatters=formatters, float_format=number, na_rep=NOTHING).splitlines()
    typer.echo("\n".join(line.rstrip() for line in lines))


def print_verdicts(table: pd.DataFrame, claims: Mapping[str, Claim], sources: Path) -> None:
    """Print the verdict on each claim, and below it its numbers by dataset and protocol, or what it needs.

    Args:
        sources: the folder of the page sources, whose words it says the numbers in.
    """
    words: Any = make_environment(sources, str).get_template("wording.j2").module
    for name, rows in table.groupby("claim", sort=False):
        claim, own = claims[str(name)], rows[rows[PROTOCOL] != ""]
        typer.echo(f"{rows.loc[rows[PROTOCOL] == '', 'verdict'].item():24}{claim.title}")
        for row in own.to_dict("records"):
            typer.echo(f"{'':24}  {row[DATASET]}, {row[PROTOCOL]}: {row['verdict']}")
            if numbers := str(words.verdict(claim.judged, row)):
                typer.echo(f"{'':24}    {numbers}")
        if not rows["judged"].any():
            typer.echo(f"{'':24}  needs {claim.needed}")


def print_agreement(table: pd.DataFrame) -> None:
    """Print what `judge_agreement` found, and below it what the records of the two sets say differently."""
    cell = table[_CELL].agg("/".join, axis=1)
    several = table["encoder"].groupby(cell).transform("nunique") > 1
    cell = cell.where(~several, cell + " with encoder " + table["encoder"])
    names = [METRIC, "verdict", "mean", "seeds", "other_mean", "other_seeds", "difference", "allowed"]
    shown = table[names].rename(columns=lambda name: name.replace("_", " "))
    shown.insert(0, "cell", cell)
    print_table(shown)
    for unlike, own in cell[table["unlike"] != ""].groupby(table["unlike"], sort=False):
        typer.echo(f"unlike in {own.nunique()} cells: {unlike}")


def print_forecast(table: pd.DataFrame) -> None:
    """Print what `forecast` found, one row per pair and metric."""
    first = table.drop_duplicates([*_CELL, "baseline", METRIC])
    sought = table["sought"].iloc[0]
    place = first[[DATASET, PROTOCOL, BACKBONE]].agg("/".join, axis=1)
    shown = pd.DataFrame(
        {
            "pair": place + ": " + first[METHOD] + " against " + first["baseline"],
            METRIC: first[METRIC],
            "users": first["users"],
            "seeds": first["pilot_seeds"],
            "saw": first["gain"].map(percent),
            "find": first["now"].map(share),
        }
    )
    for number, own in table.groupby("seeds", sort=False):
        shown[f"{number} seeds"] = [
            f"{share(usual)} ({share(worst)})" for usual, worst in zip(own["detectable"], own["at_worst"], strict=True)
        ]
    shown["any number"] = first["floor"].map(share)
    shown[f"needed for {share(sought)}"] = [
        NOTHING if pd.isna(floor) else f"{_needed(usual, floor > sought)} ({_needed(worst, floor > sought)})"
        for usual, worst, floor in zip(first["needed"], first["needed_at_worst"], first["floor"], strict=True)
    ]
    shown["status"] = first["status"].where(first["status"] != OK, "")
    print_table(shown)
    typer.echo(
        f"Gains that a test at {share(1 - LEVEL, 0)} finds in {share(POWER, 0)} of cases by itself; beside other tests "
        "they must be larger. saw: the pilot's own gain; find: what its seeds and users would find. In brackets: at "
        f"worst, if seeds vary as much as the pilot allows (bound of {share(CAUTION, 0)})."
    )
    if (first["pilot_seeds"] == 1).any():
        typer.echo("Of users alone: how much seeds vary, one seed cannot tell. Train a second one.")


def _needed(seeds: Any, never: bool) -> str:
    """Say how many seeds find a gain, or that no number does."""
    if pd.isna(seeds):
        return "no number" if never else f"over {MOST}"
    return str(seeds)


def print_costs(model: Model, costs: Mapping[str, Cost], slots: int) -> None:
    """Print what runs cost with `slots` jobs side by side, and what the estimate is worth."""
    rows = [
        {
            "what": name,
            "runs": cost.runs,
            "core-hours": cost.core_hours,
            "hours at least": cost.wall_hours,
            "at most": cost.wall_hours + cost.longest_hours,
            "longest chain": cost.longest_hours,
            "MB per job": round(cost.memory_mb),
            "MB on disk": round(cost.disk_mb),
        }
        for name, cost in costs.items()
    ]
    print_table(pd.DataFrame(rows), digits=1)
    typer.echo(
        f"Hours with {slots} jobs side by side; longest chain: of runs that wait for each other. Searches run with the "
        "target tuning_all only. Not counted: preparing data, encoding texts, their files; of a sweep over theta every "
        "point is. Memory: the most in any record"
    )
    typer.echo(
        f"From {model.runs} records. On settings that were left out, half of the runs are within {model.error:.0%} and "
        f"nine tenths within {model.worst:.0%}. A core is one like those of: {'; '.join(model.machines)}"
    )
