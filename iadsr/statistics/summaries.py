"""Summaries of every method of an experiment over seeds: metrics, mask statistics, losses, costs, missing runs.

A *side* is one method under one dataset, protocol and backbone with all of its seeds. Means and standard deviations
(n - 1) are over the seeds that are done. A gain is the ratio of means, less 1, over the seeds that both sides have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from iadsr.core import columns as c
from iadsr.statistics.compare import MISSING
from iadsr.statistics.grids import Grid

SIDE = [c.DATASET, c.PROTOCOL, c.BACKBONE, c.METHOD]
BLOCK = SIDE[:-1]
ADDRESS = list(c.ADDRESS)
NO_RECORD = "no run record in the results tree"
COSTS = ("epochs", "best_epoch", "seconds_epoch", "seconds_total")
NOT_LOGGED = (*c.ADDRESS, "epoch", "validation", "seconds")
TAILS = ("HR@5", "HR@20")
RELEASED_RANKING = "kept"  # of the release's evaluation on denoised targets


def expected_cells(grid: Grid, runs: pd.DataFrame) -> pd.DataFrame:
    """List the expected runs in the order given: address, status (or missing), reason, and the run's columns."""
    cells = pd.DataFrame(grid.cells, columns=ADDRESS).drop_duplicates()
    cells = cells.merge(runs, on=ADDRESS, how="left", validate="one_to_one")
    absent = cells["status"].isna()
    cells["reason"] = cells["reason"].astype(object).where(~absent, NO_RECORD).fillna("")
    cells["status"] = cells["status"].astype(object).where(~absent, MISSING)
    cells.insert(0, c.EXPERIMENT, grid.name)
    return cells


def done_rows(table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of a table that belong to expected runs that are done."""
    done: pd.DataFrame = table.merge(cells.loc[cells["status"] == c.DONE, ADDRESS], on=ADDRESS)
    return done


def finite_rows(values: pd.DataFrame) -> pd.DataFrame:
    """Select the rows whose `value` is a finite number."""
    finite: pd.DataFrame = values[np.isfinite(pd.to_numeric(values[c.VALUE]))]
    return finite


def headline_values(grid: Grid, cells: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Select the metrics over all users under each protocol's headline rule, by seed."""
    own = done_rows(metrics[metrics[c.GROUP] == c.ALL_USERS], cells)
    return finite_rows(own[grid.mark_headline(own)])


def side_states(cells: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Count each side's seeds, done and expected; `status` (done if any is), and `note`, why the others are not.

    The `baseline` leads in each backbone.
    """
    grouped = cells.groupby([c.EXPERIMENT, *SIDE], sort=False)
    states = pd.DataFrame(
        {
            "seeds_done": grouped["status"].agg(lambda status: int((status == c.DONE).sum())),
            "seeds_expected": grouped.size(),
            "status": grouped["status"].agg(lambda status: c.DONE if (status == c.DONE).any() else status.iloc[0]),
            "note": grouped[[c.SEED, "status", "reason"]].apply(note_of),
        }
    )
    states = states.reset_index()
    order = states.groupby(BLOCK, sort=False).ngroup()
    later = states[c.METHOD] != baseline
    return states.iloc[np.lexsort((later, order))].reset_index(drop=True)


def note_of(cells: pd.DataFrame) -> str:
    """Say which runs are not done, those of one reason together: `seeds 1, 2 diverged: loss is NaN`."""
    lost = cells[cells["status"] != c.DONE]
    parts = []
    for (status, reason), own in lost.groupby(["status", "reason"], sort=False):
        seeds = ", ".join(map(str, own[c.SEED]))
        parts.append(f"seed{'s' if len(own) > 1 else ''} {seeds} {status}{f': {reason}' if reason else ''}")
    return "; ".join(parts)


def summarise(values: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Compute mean, standard deviation and number of the finite `value`s of each group of `keys`."""
    grouped = finite_rows(values).groupby(list(keys), sort=False)[c.VALUE]
    return grouped.agg(["mean", "std", "count"]).rename(columns={"std": "sd", "count": "seeds"}).reset_index()


def beside_baseline(table: pd.DataFrame, baseline: str, on: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Join the rows of every method but `baseline` `on` the baseline's `values`, as `<value>_base`."""
    mine = table[c.METHOD] == baseline
    return table[~mine].merge(table.loc[mine, [*on, *values]], on=list(on), suffixes=("", "_base"))


def gains_over(values: pd.DataFrame, baseline: str, keys: Sequence[str]) -> pd.DataFrame:
    """Compute the `gain` of every method over `baseline`: ratio of means, less 1, over the seeds that both have.

    Args:
        values: one row per seed and group of `keys`, which include the method; column `value`.
    """
    on = [c.SEED, *(key for key in keys if key != c.METHOD)]
    grouped = beside_baseline(finite_rows(values), baseline, on, [c.VALUE]).groupby(list(keys), sort=False)
    return _ratio(grouped[c.VALUE].sum(), grouped[f"{c.VALUE}_base"].sum()).rename("gain").reset_index()


def _ratio(value: pd.Series, baseline: pd.Series) -> pd.Series:
    """Divide `value` by `baseline`, less 1; NaN over 0."""
    return value / baseline.where(baseline != 0) - 1


def metric_summaries(grid: Grid, cells: pd.DataFrame, metrics: pd.DataFrame, popularity: pd.DataFrame) -> pd.DataFrame:
    """Summarise metrics, one row per side, ranking rule, group of users and metric, with the most-popular baseline's.

    Columns: `mean`, `sd`, `seeds`, `users`, `gain` over the experiment's baseline, `headline`, `best` (highest mean of
    a backbone), `popular` (mean of the most-popular baseline, for all users).
    """
    keys = [*SIDE, c.RANKING, c.GROUP, c.METRIC]
    own = done_rows(metrics, cells)
    table = summarise(own, keys).merge(gains_over(own, grid.baseline, keys), on=keys, how="left")
    users = own.groupby(keys, sort=False)[c.USERS].max().reset_index()
    table = users.merge(table, on=keys, how="left")
    popular = popularity.rename(columns={c.VALUE: "popular"}).assign(**{c.GROUP: c.ALL_USERS})
    shared = [c.DATASET, c.RANKING, c.GROUP, c.METRIC]
    table = table.merge(popular[[*shared, "popular"]], on=shared, how="left")
    table["best"] = table["mean"] == table.groupby([*BLOCK, *keys[-3:]])["mean"].transform("max")
    places = cells[[c.DATASET, c.PROTOCOL]].drop_duplicates()
    reference = popular.merge(places, on=c.DATASET).rename(columns={"popular": "mean"})
    reference = reference.assign(backbone="", method=c.MOST_POPULAR, best=False)
    table = pd.concat([reference, table], ignore_index=True)[
        [*keys, c.USERS, "mean", "sd", "seeds", "gain", "popular", "best"]
    ]
    table["headline"] = grid.mark_headline(table)
    return table.assign(**{c.EXPERIMENT: grid.name})


def run_summaries(cells: pd.DataFrame, curves: pd.DataFrame, figures: Sequence[str], baseline: str) -> pd.DataFrame:
    """Summarise runs, one row per side and `quantity`: costs, mask statistics, all that was logged at the kept epoch.

    Args:
        figures: columns of the runs to summarise beside `COSTS`.
    """
    done = cells[cells["status"] == c.DONE]
    known = [name for name in (*COSTS, *figures) if done[name].notna().any()]
    at_best = curves.merge(done[[*ADDRESS, "best_epoch"]], on=ADDRESS)
    at_best = at_best[at_best["epoch"] == at_best["best_epoch"]].drop(columns="best_epoch")
    logged = [name for name in at_best if name not in (*NOT_LOGGED, *known)]  # a figure of the runs is counted once
    long = [
        frame.melt(ADDRESS, names, "quantity", c.VALUE).astype({c.VALUE: "float64"})
        for frame, names in ((done, known), (at_best, logged))
    ]
    table = summarise(pd.concat(long), [*SIDE, "quantity"])
    total = table[table["quantity"] == "seconds_total"]
    base = total.loc[total[c.METHOD] == baseline, [*BLOCK, "mean"]]
    ratio = total.merge(base, on=BLOCK, suffixes=("", "_base"))
    ratio = ratio.assign(quantity="times_baseline", mean=ratio["mean"] / ratio["mean_base"], sd=np.nan)
    table = pd.concat([table, ratio[table.columns]], ignore_index=True)
    return table.assign(**{c.EXPERIMENT: cells[c.EXPERIMENT].iloc[0]}, **_pulls(table["quantity"]))


def _pulls(names: pd.Series) -> pd.DataFrame:
    """Find which `loss` pulls at which `part` of a model, in names `gradient_<loss>_<part>`; missing for others."""
    losses = {name.removeprefix("loss_") for name in names if name.startswith("loss_")}
    known = "|".join(map(re.escape, sorted(losses, key=len, reverse=True))) or "(?!)"
    found: pd.DataFrame = names.str.extract(rf"^gradient_(?P<loss>{known})_(?P<part>.+)$")
    return found


def keep_summaries(cells: pd.DataFrame, keep: pd.DataFrame) -> pd.DataFrame:
    """Summarise how much the masks kept by popularity of the input item: one row per side, stage and group.

    Group `c.COLD_GAP` is the share kept of cold inputs minus that of the most popular tenth, seed by seed;
    `below` counts the seeds in which it is below zero.
    """
    own = done_rows(keep, cells)
    shares = own.pivot_table(index=[*SIDE, c.SEED, "stage"], columns=c.GROUP, values="keep")
    cold, popular = (shares.reindex(columns=[name])[name] for name in (c.COLD, c.TENTHS[-1]))
    gaps = (cold - popular).dropna().rename("keep").reset_index()
    gaps = gaps.assign(below=(gaps["keep"] < 0).astype("float64"), **{c.GROUP: c.COLD_GAP})
    rows = pd.concat([own.assign(below=np.nan), gaps], ignore_index=True)
    grouped = rows.groupby([*SIDE, "stage", c.GROUP], sort=False)
    table = grouped.agg(inputs=("inputs", "max"), mean=("keep", "mean"), sd=("keep", "std"), seeds=("keep", "count"))
    table["below"] = grouped["below"].sum(min_count=1)
    return table.reset_index().assign(**{c.EXPERIMENT: cells[c.EXPERIMENT].iloc[0]})


def first_drops(cells: pd.DataFrame, drops: pd.DataFrame) -> pd.DataFrame:
    """Select what the mask of each side's first seed that is done dropped: rows of evaluation's drops."""
    own = done_rows(drops, cells)
    first = own[own[c.SEED] == own.groupby(SIDE, sort=False)[c.SEED].transform("min")]
    return first.assign(**{c.EXPERIMENT: cells[c.EXPERIMENT].iloc[0]})


def denoised_targets(cells: pd.DataFrame, metrics: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Set the evaluation on the last item that the mask kept beside the honest one, history kept in both.

    One row per side and metric: means and standard deviations of both, and `inflation`, on the seeds that have both.

    Args:
        columns: column of the runs -> metric.
    """
    done = cells[cells["status"] == c.DONE]
    given = [name for name in columns if done[name].notna().any()]
    judged = done.melt(ADDRESS, given, c.METRIC, "denoised").dropna(subset=["denoised"])
    judged[c.METRIC] = judged[c.METRIC].map(columns)
    honest = metrics[(metrics[c.RANKING] == RELEASED_RANKING) & (metrics[c.GROUP] == c.ALL_USERS)]
    both = judged.merge(honest[[*ADDRESS, c.METRIC, c.VALUE]], on=[*ADDRESS, c.METRIC]).rename(
        columns={c.VALUE: "honest"}
    )
    grouped = both.astype({"honest": "float64", "denoised": "float64"}).groupby([*SIDE, c.METRIC], sort=False)
    parts = {"mean": "mean", "sd": "std"}
    table = pd.DataFrame(
        {f"{name}_{part}": grouped[name].agg(how) for name in ("honest", "denoised") for part, how in parts.items()}
    )
    table["inflation"] = _ratio(table["denoised_mean"], table["honest_mean"])
    table = table.assign(seeds=grouped.size()).reset_index()
    return table.assign(**{c.EXPERIMENT: cells[c.EXPERIMENT].iloc[0], c.RANKING: RELEASED_RANKING})


def head_for_tail(grid: Grid, cells: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Say whether HR@5 rises while HR@20 falls against the baseline: the head of the list bought with its tail.

    One row per side: both gains, `shown` by their signs, and in how many `seeds` the seed's own differences show it.
    """
    own = headline_values(grid, cells, metrics)
    own = own[own[c.METRIC].isin(TAILS)]
    wide = own.pivot_table(index=[*SIDE, c.SEED], columns=c.METRIC, values=c.VALUE).reindex(columns=list(TAILS))
    pairs = beside_baseline(wide.dropna().reset_index(), grid.baseline, [*BLOCK, c.SEED], TAILS)
    head, tail = TAILS
    pairs["shown"] = (pairs[head] > pairs[f"{head}_base"]) & (pairs[tail] < pairs[f"{tail}_base"])
    grouped = pairs.groupby(SIDE, sort=False)
    table = pd.DataFrame({"seeds_shown": grouped["shown"].sum(), "seeds": grouped.size()})
    for name in TAILS:
        table[f"{name} gain"] = _ratio(grouped[name].sum(), grouped[f"{name}_base"].sum())
    table["shown"] = (table[f"{head} gain"] > 0) & (table[f"{tail} gain"] < 0)
    return table.reset_index().assign(**{c.EXPERIMENT: grid.name})
