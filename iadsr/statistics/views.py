"""Quantities that belong to one view: factors between rungs, spread over protocols, changes by a larger budget."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from iadsr.core import columns as c
from iadsr.statistics.compare import MISSING
from iadsr.statistics.crossed import LEVEL
from iadsr.statistics.grids import Grid
from iadsr.statistics.summaries import (
    ADDRESS,
    SIDE,
    beside_baseline,
    finite_rows,
    gains_over,
    headline_values,
    side_states,
    summarise,
)

TOLERANCE = 0.02  # a budget is large enough if a larger one raises validation NDCG@10 by at most so much
CLEARLY = 2.0  # a gain counts as larger than a spread from so many standard deviations on


def rung_factors(grid: Grid, cells: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Measure what each rung of a ladder does to the baseline: its value over that on the rung before, on common seeds.

    One row per dataset, protocol, backbone and metric: `rung` (from 1) and `factor`; none of a ladder of one rung.
    """
    own = headline_values(grid, cells, metrics)
    own = own[own[c.METHOD] == grid.baseline]
    tables = []
    for rung, (before, protocol) in enumerate(zip(grid.protocols, grid.protocols[1:], strict=False), start=2):
        pair = own[own[c.PROTOCOL].isin([before, protocol])].assign(**{c.METHOD: own[c.PROTOCOL]})
        gains = gains_over(pair, before, [c.DATASET, c.BACKBONE, c.METHOD, c.METRIC])
        tables.append(gains.rename(columns={c.METHOD: c.PROTOCOL}).assign(rung=rung, factor=1 + gains["gain"]))
    names = [c.DATASET, c.PROTOCOL, c.BACKBONE, c.METRIC, "rung", "factor"]
    table = pd.concat(tables)[names] if tables else pd.DataFrame(columns=names)
    return table.assign(**{c.EXPERIMENT: grid.name, c.METHOD: grid.baseline})


def spreads(grid: Grid, cells: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Measure the spread of each method, and of its difference to the baseline, over protocols that differ by chance.

    One row per dataset, backbone, method, `minus` ("" or the baseline) and metric: mean, sd, min and max of the
    protocols' means over seeds, `seed_sd` (within a protocol, pooled), and `protocols`, how many there are.
    """
    own = headline_values(grid, cells, metrics).assign(minus="")
    keys = [*SIDE, c.RANKING, c.METRIC]
    pairs = beside_baseline(own, grid.baseline, [c.SEED, *(key for key in keys if key != c.METHOD)], [c.VALUE])
    differences = pairs.assign(minus=grid.baseline, **{c.VALUE: pairs[c.VALUE] - pairs[f"{c.VALUE}_base"]})
    means = summarise(pd.concat([own, differences[own.columns]]), [*keys, "minus"])
    means["variance"] = means["sd"] ** 2
    grouped = means.groupby([c.DATASET, c.BACKBONE, c.METHOD, "minus", c.METRIC], sort=False)
    table = grouped["mean"].agg(["mean", "std", "min", "max", "count"])
    table = table.rename(columns={"std": "sd", "count": "protocols"})
    table["seed_sd"] = np.sqrt(grouped["variance"].mean())
    return table.reset_index().assign(**{c.EXPERIMENT: grid.name})


def clear_gains(spread: pd.DataFrame, gains: pd.DataFrame, main_sd: pd.DataFrame) -> pd.DataFrame:
    """Say whether a gain of the main experiment is larger than twice the spread over protocols, and over seeds.

    One row per row of `gains` (dataset, protocol, backbone, metric, difference) that the experiment covers:
    `protocol_sd`, `seed_sd` (the larger of both methods', or else the main experiment's), `clear_of_protocols` and
    `clear_of_seeds`.
    """
    keys = [c.DATASET, c.BACKBONE, c.METRIC]
    largest = spread[spread["minus"] == ""].groupby(keys)[["sd", "seed_sd"]].max().reset_index()
    table = gains.merge(largest.rename(columns={"sd": "protocol_sd"}), on=keys)
    table = table.merge(main_sd.groupby(keys)["sd"].max().rename("main_sd").reset_index(), on=keys, how="left")
    table["seed_sd"] = table["seed_sd"].fillna(table.pop("main_sd"))
    for name in ("protocol", "seed"):
        sd = table[f"{name}_sd"]
        clear = (table["difference"] > CLEARLY * sd).astype(object)
        table[f"clear_of_{name}s"] = clear.where(sd.notna(), None)
    return table


def budget_changes(grid: Grid, cells: pd.DataFrame) -> pd.DataFrame:
    """Compare validation NDCG@10 under a protocol and under one with a larger budget, on the seeds done under both.

    One row per dataset, pair of protocols (`protocol`, `larger`), backbone and method: mean, sd, kept epoch and epochs
    of both (`usual_*`, `larger_*`), relative `change` of the mean, its interval at `LEVEL` (`change_low` and `_high`),
    the sd of the seeds' own changes (`change_sd`), `enough` (None where unknown, as where both trained equally long),
    `status` (done, or missing where no seed is done under both) and `note`.

    Two or three seeds say little of their own spread. The interval takes the spread pooled over all rows of a dataset
    and pair, with Student's t.
    """
    keys = [c.DATASET, c.BACKBONE, c.METHOD]
    done = cells[cells["status"] == c.DONE].astype({"best_epoch": "float64", "epochs": "float64"})
    notes = side_states(cells, grid.baseline).set_index([c.PROTOCOL, *keys])["note"].to_dict()
    wanted = {
        f"{name}_{quantity}": (f"{column}_{name}", how)
        for name in ("usual", "larger")
        for quantity, column, how in (
            ("mean", "best_validation", "mean"),
            ("sd", "best_validation", "std"),
            ("kept_epoch", "best_epoch", "mean"),
            ("epochs", "epochs", "mean"),
        )
    }
    wanted["change_sd"] = ("change", "std")
    tables = []
    for protocols in grid.longer:
        usual, larger = (
            done.loc[done[c.PROTOCOL] == name, [*keys, c.SEED, "best_validation", "best_epoch", "epochs"]]
            for name in protocols
        )
        both = usual.merge(larger, on=[*keys, c.SEED], suffixes=("_usual", "_larger"))
        both["change"] = both["best_validation_larger"] / both["best_validation_usual"] - 1
        table = cells.loc[cells[c.PROTOCOL] == protocols[0], keys].drop_duplicates().set_index(keys)
        table = table.join(both.groupby(keys).agg(**wanted, seeds=(c.SEED, "size"))).fillna({"seeds": 0})
        table["change"] = table["larger_mean"] / table["usual_mean"] - 1
        half = _half_widths(table)
        table["change_low"], table["change_high"] = table["change"] - half, table["change"] + half
        known = table["change"].notna() & (table["usual_epochs"] != table["larger_epochs"])
        table["enough"] = (table["change"].round(9) <= TOLERANCE).astype(object).where(known, None)
        table["status"] = np.where(table["seeds"] > 0, c.DONE, MISSING)
        table["note"] = [
            "; ".join(f"{name}: {note}" for name in protocols if (note := notes.get((name, *key))))
            for key in table.index
        ]
        table = table.reset_index().assign(protocol=protocols[0], larger=protocols[1])
        tables.append(table.astype({"seeds": "int64"}))
    return pd.concat(tables, ignore_index=True).assign(**{c.EXPERIMENT: grid.name})


def _half_widths(rows: pd.DataFrame) -> pd.Series:
    """Half the length of the intervals of `change`, from the variance of seeds' changes pooled over each dataset."""
    freedom = (rows["seeds"] - 1).clip(lower=0)
    squares = (freedom * rows["change_sd"] ** 2).where(freedom > 0, 0)
    freedom, squares = (values.groupby(level=c.DATASET).transform("sum") for values in (freedom, squares))
    seeds = rows["seeds"].where(rows["seeds"] > 0)
    quantile = pd.Series(stats.t.ppf((1 + LEVEL) / 2, freedom.where(freedom > 0)), rows.index)
    return quantile * np.sqrt(squares / freedom / seeds)


def detections(cells: pd.DataFrame) -> pd.DataFrame:
    """Measure how well each method's mask finds known noise among the test inputs, over the seeds that are done.

    One row per dataset, protocol, backbone and method that drops or scores inputs where noise is known: `noise_auc`
    (mean, of the scores or else of the mask), its `noise_auc_sd`, `noise_auc_least` and `noise_auc_most` over seeds,
    `untrained_auc`, `drop_precision` and `drop_recall`, the share `dropped`, `noise_share`, and `lift`, precision over
    it: 1 by chance.
    """
    figures = ["noise_auc", "untrained_auc", "drop_precision", "drop_recall", "test_keep_rate", "noise_share"]
    done = cells[(cells["status"] == c.DONE) & cells["noise_auc"].notna()]
    grouped = done.astype(dict.fromkeys(figures, "float64")).groupby(SIDE, sort=False)
    table = grouped[figures].mean()
    spread = grouped["noise_auc"].agg(["std", "min", "max", "count"])
    table[["noise_auc_sd", "noise_auc_least", "noise_auc_most", "seeds"]] = spread.to_numpy()
    table["dropped"] = 1 - table.pop("test_keep_rate")
    table["lift"] = table["drop_precision"] / table["noise_share"].where(table["noise_share"] > 0)
    return table.reset_index().assign(**{c.EXPERIMENT: cells[c.EXPERIMENT].iloc[0]})


def curve_means(cells: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Average every column of the curves by epoch over the seeds that are done, or over all where none is."""
    done = cells.groupby([*SIDE])["status"].transform(lambda status: (status == c.DONE).any())
    drawn = cells.loc[(cells["status"] == c.DONE) | ~done, ADDRESS]
    names = [name for name in curves if name not in (*ADDRESS, "epoch", "seconds")]
    long = curves.merge(drawn, on=ADDRESS).melt([*ADDRESS, "epoch"], names, "quantity", c.VALUE)
    grouped = finite_rows(long).groupby([*SIDE, "quantity", "epoch"], sort=False)[c.VALUE]
    table: pd.DataFrame = grouped.agg(["mean", "min", "max", "count"]).reset_index()
    table = table.rename(columns={"min": "least", "max": "most", "count": "seeds"})
    return table.assign(**{c.EXPERIMENT: cells[c.EXPERIMENT].iloc[0]})
