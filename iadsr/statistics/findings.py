"""Facts that the report's sentences are made of: rows in which nothing is left to compute or to decide.

Each function returns tidy rows; the words around them are the templates'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from iadsr.config.claims import Paper, Published
from iadsr.core import columns as c
from iadsr.statistics.compare import BACKBONES, DECIDED, METHOD, MISSING, PROTOCOL, SIGNIFICANCE
from iadsr.statistics.grids import Grid
from iadsr.statistics.summaries import BLOCK, SIDE

REFERENCE_METRIC = "NDCG@10"
FEW_SEEDS = 3
MANY_TIES = 0.1  # share of interactions whose place among others at the same time is the file's choice
IDLE = 0.99  # a mask that keeps this much at test time denoises no test history worth speaking of
BARE = 0.15  # one that keeps no more than this leaves hardly anything: of a history of seven, one
KEEP_RATE_SLACK = 0.05
Rows = list[dict[str, Any]]


def rows_of(table: pd.DataFrame) -> Rows:
    """Convert a table to rows; a number that is not finite becomes None."""
    return [{str(key): _plain(value) for key, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is pd.NA or (isinstance(value, float) and not np.isfinite(value)) else value


def tallies(comparisons: pd.DataFrame, floors: Rows, sought: float) -> Rows:
    """Count the outcomes of comparisons under the headline rule, per experiment, place, metric and baseline.

    Those of a backbone that, by `release_floors`, has learned too little for an answer are not among them.
    `again` counts those with the very same runs as another one, which are in no other count; `reaching` intervals whose
    upper end is at least the gain `sought`, `above` those wholly beyond it, `undecided` those that hold zero too.
    """
    place = [c.EXPERIMENT, c.DATASET, c.PROTOCOL, c.BACKBONE]
    unanswered = pd.MultiIndex.from_tuples(
        [tuple(row[key] for key in place) for row in floors if not row["answers"]], names=place
    )
    own = comparisons[comparisons["headline"] & (comparisons["kind"] == METHOD)]
    own = own[~pd.MultiIndex.from_frame(own[place]).isin(unanswered)]
    keys = [c.EXPERIMENT, c.DATASET, c.PROTOCOL, c.METRIC, "baseline_method"]
    first = own["same_as"] == ""
    reaching = first & (own["gain_high"] >= sought)
    counts = {name: first & (own["outcome"] == name) for name in (*DECIDED, *c.LOST, MISSING)}
    counts |= {"compared": first & own["outcome"].isin(DECIDED), "again": ~first, "reaching": reaching}
    counts |= {"above": reaching & (own["gain_low"] >= sought), "undecided": reaching & (own["gain_low"] <= 0)}
    table = own[[*keys, c.METHOD]].assign(**counts)
    return [
        {c.METHOD: "*", **row}
        for by in (keys, [*keys, c.METHOD])
        for row in rows_of(table.groupby(by, sort=False)[list(counts)].sum().reset_index())
    ]


def protocol_effects(comparisons: pd.DataFrame, method: str) -> Rows:
    """Measure what another protocol does without a denoiser, beside the mean size of a method's difference (NDCG@10).

    Both under one ranking rule. One row per dataset and pair of protocols: least and largest ratio over backbones.
    """
    own = comparisons[(comparisons["metric"] == REFERENCE_METRIC) & (comparisons[c.RANKING] == c.RANKINGS[0])]
    own = own[(own[c.EXPERIMENT] == c.MAIN) & own["gain"].notna()]
    rows = []
    effects = own[(own["kind"] == PROTOCOL) & (own[c.METHOD] == "none")]
    for (dataset, protocol, base), block in effects.groupby([c.DATASET, c.PROTOCOL, "baseline_protocol"], sort=False):
        tested = own[(own["kind"] == METHOD) & (own[c.DATASET] == dataset) & (own[c.METHOD] == method)]
        size = float(tested.loc[tested["baseline_method"] == "none", "difference"].abs().mean())
        mean = float(block["difference"].mean())
        row = {c.DATASET: dataset, c.PROTOCOL: protocol, "baseline_protocol": base, c.RANKING: c.RANKINGS[0]}
        row |= {"low": 1 + block["gain"].min(), "high": 1 + block["gain"].max()}
        rows.append(row | {"difference": mean, "own_size": size, "times": abs(mean) / size if size else np.nan})
    return rows_of(pd.DataFrame(rows))


def above_popular(metrics: pd.DataFrame) -> Rows:
    """Count the backbones above the most-popular baseline in NDCG@10, per dataset, protocol and method."""
    own = metrics[metrics["headline"] & (metrics[c.METRIC] == REFERENCE_METRIC) & (metrics[c.GROUP] == c.ALL_USERS)]
    own = own[own["mean"].notna() & own["popular"].notna() & (own[c.METHOD] != c.MOST_POPULAR)]
    own = own.assign(above=own["mean"] > own["popular"])
    grouped = own.groupby([c.EXPERIMENT, c.DATASET, c.PROTOCOL, c.METHOD], sort=False)
    table = grouped.agg(above=("above", "sum"), backbones=("above", "size"), popular=("popular", "first"))
    return rows_of(table.reset_index())


def release_floors(grids: Sequence[Grid], metrics: pd.DataFrame) -> Rows:
    """Tell whether the release's networks learned enough for an answer: its baseline above the most popular items.

    Below them, training with in-batch negatives has taught nothing that a denoiser could help with.
    """
    rows = []
    for grid in grids:
        own = metrics[(metrics[c.EXPERIMENT] == grid.name) & metrics["headline"] & (metrics[c.GROUP] == c.ALL_USERS)]
        own = own[own[c.PROTOCOL].isin(grid.released) & (own[c.METRIC] == REFERENCE_METRIC)]
        sides = dict.fromkeys(cell[:4] for cell in grid.cells if cell.protocol in grid.released)
        for dataset, protocol, backbone in dict.fromkeys(side[:3] for side in sides):
            methods = [side[3] for side in sides if side[:3] == (dataset, protocol, backbone)]
            method = "none" if "none" in methods else grid.baseline
            place = (own[c.DATASET] == dataset) & (own[c.PROTOCOL] == protocol)
            found = own[place & (own[c.BACKBONE] == backbone) & (own[c.METHOD] == method)]["mean"]
            popular = own[place & (own[c.METHOD] == c.MOST_POPULAR)]["mean"]
            value, mark = (float(one.iloc[0]) if len(one) else np.nan for one in (found, popular))
            rows.append(
                {c.EXPERIMENT: grid.name, c.DATASET: dataset, c.PROTOCOL: protocol, c.BACKBONE: backbone}
                | {c.METHOD: method, "mean": value, "popular": mark, "answers": value > mark}
            )
    return rows_of(pd.DataFrame(rows))


def mask_learning(cells: pd.DataFrame, method: str) -> Rows:
    """Average the AUC of a method's mask over seeds, where noise is known, before training and at the kept epoch."""
    own = cells[(cells["status"] == c.DONE) & (cells[c.METHOD] == method)].dropna(subset=["noise_auc", "untrained_auc"])
    own = own.astype({"noise_auc": "float64", "untrained_auc": "float64"})
    own = own.assign(raised=own["noise_auc"] > own["untrained_auc"])
    grouped = own.groupby([c.EXPERIMENT, c.DATASET, c.PROTOCOL, c.BACKBONE], sort=False)
    table = grouped.agg(
        before=("untrained_auc", "mean"), after=("noise_auc", "mean"), raised=("raised", "sum"), runs=("raised", "size")
    )
    return rows_of(table.reset_index())


def noise_finders(detections: pd.DataFrame) -> Rows:
    """Return the methods by how well they tell known noise from genuine inputs, the best first: AUC over backbones.

    `backbones` counts those that a method's mean is over, and, in the row of all methods, those that any has.
    """
    place = [c.EXPERIMENT, c.DATASET, c.PROTOCOL]
    grouped = detections.groupby([*place, c.METHOD], sort=False)
    means = grouped.agg(noise_auc=("noise_auc", "mean"), backbones=(c.BACKBONE, "size")).reset_index()
    means = means.sort_values("noise_auc", ascending=False, kind="stable")
    of_any = detections.groupby(place)[c.BACKBONE].nunique().rename("of_any").reset_index()
    return [
        {**{name: own[name].iloc[0] for name in place}, "backbones": int(own["of_any"].iloc[0])}
        | {"methods": rows_of(own[[c.METHOD, "noise_auc", "backbones"]])}
        for _, own in means.merge(of_any, on=place).groupby(place, sort=False)
    ]


def ladder_ends(grid: Grid, metrics: pd.DataFrame) -> Rows:
    """Measure how far the baseline goes up a ladder, and each method's largest and last difference to it on a rung."""
    own = metrics[(metrics[c.EXPERIMENT] == grid.name) & metrics["headline"] & (metrics[c.GROUP] == c.ALL_USERS)]
    own = own[own[c.METRIC].isin([REFERENCE_METRIC, "HR@5"]) & own["mean"].notna() & (own[c.METHOD] != c.MOST_POPULAR)]
    own = own.assign(rung=own[c.PROTOCOL].map({name: rung for rung, name in enumerate(grid.protocols, start=1)}))
    rows = []
    for (dataset, backbone, metric), block in own.groupby([c.DATASET, c.BACKBONE, c.METRIC], sort=False):
        base = block[block[c.METHOD] == grid.baseline].set_index("rung")["mean"].sort_index()
        if len(base) < 2:
            continue
        place = {c.EXPERIMENT: grid.name, c.DATASET: dataset, c.BACKBONE: backbone, c.METRIC: metric}
        ends = {"first": base.index[0], "last": base.index[-1], "begin": base.iloc[0], "end": base.iloc[-1]}
        methods = []
        for method, values in block[block[c.METHOD] != grid.baseline].groupby(c.METHOD, sort=False):
            # `gain` is over common seeds, so the difference is taken from it and not from the two means
            rungs = values.set_index("rung").sort_index()
            gains = (rungs["mean"] - rungs["mean"] / (1 + rungs["gain"])).dropna()
            if len(gains):
                methods.append(
                    {c.METHOD: method, "most": gains.max(), "most_rung": gains.idxmax()}
                    | {"final": gains.iloc[-1], "final_rung": gains.index[-1]}
                )
        plain = [{key: _plain(value) for key, value in found.items()} for found in methods]
        rows += [{key: _plain(value) for key, value in (place | ends).items()} | {"methods": plain}]
    return rows


def main_gains(comparisons: pd.DataFrame, metrics: pd.DataFrame, method: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Select a method minus none in the main experiment under the headline rule, and both deviations over seeds."""
    own = comparisons[(comparisons[c.EXPERIMENT] == c.MAIN) & comparisons["headline"]]
    own = own[(own["kind"] == METHOD) & (own[c.METHOD] == method) & (own["baseline_method"] == "none")]
    names = [*BLOCK, c.METRIC, "difference"]
    sides = metrics[(metrics[c.EXPERIMENT] == c.MAIN) & metrics["headline"] & (metrics[c.GROUP] == c.ALL_USERS)]
    return own.loc[own["difference"].notna(), names], sides[sides[c.METHOD].isin(["none", method])]


def warnings(
    cells: pd.DataFrame,
    metrics: pd.DataFrame,
    budgets: pd.DataFrame,
    facts: Mapping[str, Mapping[str, Any]],
    published: Published,
) -> Rows:
    """Collect what a reader should know before believing a number, by `code`, in the order of the harm it does.

    Args:
        cells: expected runs of every experiment.
        metrics: means over seeds, which tell the backbones that learned too little.
        facts: each dataset's summary.
        published: the paper, whose method's mask and controls are looked at, and its rivals, at whose masks too.
    """
    paper = published.paper
    main = cells[cells[c.EXPERIMENT] == c.MAIN]
    found = _weak_baselines(metrics, paper.metrics)
    every = cells.drop_duplicates(list(c.ADDRESS))
    if len(lost := every[every["status"] == c.UNTRAINED]):
        places = [
            dict(zip(SIDE, map(str, key), strict=True)) | {"seeds": own[c.SEED].tolist()}
            for key, own in lost.groupby(SIDE, sort=False)
        ]
        found.append({"code": "untrained", "runs": len(lost), "expected": len(every), "places": places})
    if len(budgets):
        keys = [c.EXPERIMENT, c.DATASET, c.PROTOCOL, "larger"]
        names = [c.METHOD, c.BACKBONE, "change", "change_low", "change_high"]
        for key, own in budgets[budgets["enough"].notna()].groupby(keys, sort=False):
            short = own.loc[own["enough"].eq(False), names].sort_values("change", ascending=False)
            if len(short):
                place = dict(zip(keys, key, strict=True))
                most = rows_of(short.head(1))[0]
                found.append({"code": "budget", **place, "short": len(short), "known": len(own), **most})
    for status in (c.DIVERGED, c.FAILED, MISSING):
        if number := int((every["status"] == status).sum()):
            found.append({"code": "lost", "status": status, "runs": number, "expected": len(every)})
    ran = main[main["status"] != MISSING]
    found += [
        {"code": "random_encoder", c.DATASET: dataset}
        for dataset in dict.fromkeys(ran.loc[ran["encoder_kind"] == "random", c.DATASET])
    ]
    found += _keep_rates(main, paper) + _extreme_masks(main, [paper.method, *published.rivals])
    seeds = int((main if ran.empty else ran).groupby(SIDE)[c.SEED].nunique().min())
    if seeds < FEW_SEEDS:
        found.append({"code": "few_seeds", "seeds": seeds})
    for dataset, summary in facts.items():
        if summary["reconstructed"]:
            found.append({"code": "placeholder", c.DATASET: dataset})
        if summary["tied_share"] >= MANY_TIES:
            found.append({"code": "ties", c.DATASET: dataset, "share": summary["tied_share"]})
    made = every[every["status"] != MISSING]
    for code, name, keys in (("sources", "source_digest", SIDE), ("devices", "device", [c.DATASET])):
        values = made.groupby(keys)[name].nunique()
        if mixed := list(dict.fromkeys(values[values > 1].reset_index()[c.DATASET])):
            found.append({"code": code, "datasets": mixed})
    if (made["dirty"] == True).any():  # noqa: E712  # unknown is neither
        found.append({"code": "dirty"})
    if (commits := made["commit"].nunique(dropna=False)) > 1:
        found.append({"code": "commits", "commits": commits})
    return found


def uneven_runs(comparisons: pd.DataFrame, metrics: Sequence[str]) -> Rows:
    """List places of the main experiment where one method's runs vary more with the seed than the others'.

    They are compared with the same pooled spread. One row per dataset, protocol and backbone, with the least `p_even`
    of these metrics, where that times the number of all such tests is below 5 %.
    """
    own = comparisons[(comparisons[c.EXPERIMENT] == c.MAIN) & comparisons["headline"] & comparisons["p_even"].notna()]
    own = own[own["kind"].isin([METHOD, BACKBONES]) & own[c.METRIC].isin(metrics)]
    tests = own.groupby([c.DATASET, c.PROTOCOL, c.BACKBONE, c.METRIC], sort=False)["p_even"].min()
    found = tests[tests * len(tests) < SIGNIFICANCE].groupby(level=[0, 1, 2], sort=False).min().reset_index()
    return rows_of(found.assign(code="uneven"))


def _weak_baselines(metrics: pd.DataFrame, names: Sequence[str]) -> Rows:
    """Find the backbones that, without a denoiser, are not above the most popular items in one of the metrics."""
    own = metrics[(metrics[c.EXPERIMENT] == c.MAIN) & metrics["headline"] & (metrics[c.GROUP] == c.ALL_USERS)]
    own = own[(own[c.METHOD] == "none") & own[c.METRIC].isin(names) & (own["mean"] <= own["popular"])]
    return [
        {"code": "weak", c.DATASET: dataset, c.PROTOCOL: protocol, "backbones": weak[c.BACKBONE].unique().tolist()}
        for (dataset, protocol), weak in own.groupby([c.DATASET, c.PROTOCOL], sort=False)
    ]


def _keep_rates(cells: pd.DataFrame, paper: Paper) -> Rows:
    """Find the controls that should drop as much as the paper's method and do not."""
    done = cells[cells["status"] == c.DONE]
    rates = done.groupby(SIDE, sort=False)["train_keep_rate"].mean().dropna().reset_index(name="rate")
    other = rates.loc[rates[c.METHOD] == paper.method, [*BLOCK, "rate"]]
    both = rates[rates[c.METHOD].isin(paper.copies)].merge(other, on=BLOCK, suffixes=("", "_tested"))
    both = both[(both["rate"] - both["rate_tested"]).abs() > KEEP_RATE_SLACK]
    keys, names = [c.DATASET, c.PROTOCOL, c.METHOD], [c.BACKBONE, "rate", "rate_tested"]
    return [
        {"code": "keep_rate", **dict(zip(keys, key, strict=True)), "backbones": rows_of(own[names])}
        for key, own in both.groupby(keys, sort=False)
    ]


def _extreme_masks(cells: pd.DataFrame, methods: Sequence[str]) -> Rows:
    """Find where a method's mask keeps nearly every interaction at test time (`idle`), or hardly any (`bare`)."""
    done = cells[(cells["status"] == c.DONE) & cells[c.METHOD].isin(methods)]
    rates = done.groupby(SIDE, sort=False)[["train_keep_rate", "test_keep_rate"]].mean().astype(float)
    keys = [c.DATASET, c.PROTOCOL, c.METHOD]
    extremes = (("idle", IDLE, rates["test_keep_rate"] >= IDLE), ("bare", BARE, rates["test_keep_rate"] <= BARE))
    return [
        {"code": code, **dict(zip(keys, key, strict=True)), "backbones": own[c.BACKBONE].tolist(), "bound": bound}
        | {"low": float(own["train_keep_rate"].min()), "high": float(own["train_keep_rate"].max())}
        for code, bound, chosen in extremes
        for key, own in rates[chosen].reset_index().groupby(keys, sort=False)
    ]
