"""Which runs are compared with which, and one row of statistics for every comparison.

Three kinds. `method`: the pairs that an experiment names, within one dataset, protocol and backbone. `backbones`: the
same pairs, each user's metric averaged over the backbones first. `protocol`, in the main experiment: the same backbone
and method under another protocol against the first one.

A family, within which p values are adjusted together (Holm), is everything of one experiment, kind, dataset, ranking
and metric, and for kinds `method` and `backbones` of one protocol: all backbones, methods and baselines in it. Methods
with the very same runs (points of a sweep between which nothing changes) count once against a baseline: `same_as` names
the first of them, in the order given, for every other one, which takes over its adjusted p value.

`outcome` is a gain or a loss if the Holm-adjusted p is below 0.05. Else it is `equal` if the gain is shown to lie
within +-`crossed.MARGIN`; `underpowered` if there is no user, or even the gain that is sought would probably not have
been found (`needed` says with how many seeds it would, missing if `crossed.MOST` do not suffice or one seed cannot
tell); or `none`. A comparison that could not be made has the status of the run that it lacks: untrained, diverged,
failed or missing.
How much runs vary with their seed is pooled over the methods of a dataset, protocol and backbone (`pool_spreads`), in
the first experiment that has several seeds there.

`alone` marks a difference that would be significant by itself, but is not among the `tests` of its family; `whole` the
row of a pair that speaks for all backbones: the mean over them, or the only one's; `ruled_out` that, of several
seeds, the gain's interval lies below the gain that is sought.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from iadsr.core import columns as c
from iadsr.core.errors import DataError
from iadsr.evaluation.metrics import METRICS, per_user
from iadsr.evaluation.runs import Address, Run
from iadsr.statistics import crossed
from iadsr.statistics.grids import Grid

Floats = NDArray[np.float64]

METHOD, BACKBONES, PROTOCOL = "method", "backbones", "protocol"
OK = "ok"
GAIN, LOSS, EQUAL, NONE, UNDERPOWERED, MISSING = "gain", "loss", "equal", "none", "underpowered", "missing"
DECIDED = (GAIN, LOSS, EQUAL, NONE, UNDERPOWERED)
SIGNIFICANCE = 0.05
COLUMNS = (
    "experiment", "kind", "dataset", "backbone", "ranking", "metric",
    "protocol", "method", "baseline_protocol", "baseline_method",
    "mean", "mean_low", "mean_high", "baseline_mean", "difference", "ci_low", "ci_high",
    "gain", "gain_low", "gain_high", "p", "p_holm", "p_equal", "detectable", "needed", "family", "tests", "same_as",
    "effect", "wins", "ties", "losses", "seed_sd", "p_even", "users", "seeds", "backbones", "status", "outcome",
    "alone", "headline", "whole", "ruled_out",
)  # fmt: skip
_MARKS = ("alone", "headline", "whole", "ruled_out")
_TEXTS = (*COLUMNS[:10], "family", "same_as", "status", "outcome", *_MARKS)
_WHOLE_NUMBERS = ("needed", "tests", "wins", "ties", "losses", "users", "seeds", "backbones")


@dataclass(frozen=True)
class Scores:
    """A run's per-user metrics, users in sorted order; one that is not done has a reason and no users.

    `digest` is that of its file of ranks: runs with the same digest are the same run. None: not known. `cold` marks the
    users whose target is cold.
    """

    address: Address
    users: NDArray[np.object_]  # (users,)
    targets: NDArray[np.int64]  # (users,)
    values: Floats  # (len(tested()), users)
    cold: NDArray[np.bool_]  # (users,)
    reason: str | None = None
    digest: str | None = None


class Side(NamedTuple):
    """One side of a comparison: all seeds of one method."""

    dataset: str
    protocol: str
    backbone: str
    method: str


class Stratum(NamedTuple):
    """Where runs of all methods and seeds are taken to vary alike."""

    dataset: str
    protocol: str
    backbone: str


class Comparison(NamedTuple):
    """A side and its baseline; the module's docstring says what each `kind` is."""

    kind: str
    side: Side
    baseline: Side


class Pair(NamedTuple):
    """The per-user metrics of both sides of a comparison, (len(tested()), seeds, users) each, and its status.

    `spreads` is how much their runs vary with the seed, by far more runs than these; None: no method has two seeds.
    """

    method: Floats
    baseline: Floats
    status: str
    spreads: crossed.Spreads | None = None


def tested() -> list[tuple[str, str]]:
    """List what is tested of a pair: every metric under every ranking rule."""
    return [(ranking, metric) for ranking in c.RANKINGS for metric in METRICS]


def read_scores(run: Run) -> Scores:
    """Compute the per-user metrics of a run.

    Raises:
        DataError: its ranks are missing or damaged.
    """
    ranks = run.ranks((c.USER, c.TARGET, c.TARGET_TRAIN_COUNT, *map(c.rank_column, c.RANKINGS)))
    digest = run.record.get("files", {}).get(c.RANKS)
    return scores_of(run.address, ranks if run.done else ranks.iloc[:0], run.loss, digest)


def scores_of(address: Address, ranks: pd.DataFrame, reason: str | None = None, digest: str | None = None) -> Scores:
    """Compute the per-user metrics of a table of ranks (user, target, target_train_count, rank_*)."""
    ranks = ranks.sort_values(c.USER)
    cold = ranks[c.TARGET_TRAIN_COUNT].to_numpy() <= c.COLD_LIMIT
    values = np.hstack([per_user(ranks, ranking).to_numpy() for ranking in c.RANKINGS]).T
    users = ranks[c.USER].to_numpy(dtype=object)
    return Scores(
        address, users, ranks[c.TARGET].to_numpy(np.int64), np.ascontiguousarray(values), cold, reason, digest
    )


def absent(address: Address) -> Scores:
    """Stand in for an expected run that has no record."""
    nobody = np.empty(0, dtype=object)
    return Scores(address, nobody, np.empty(0, np.int64), np.empty((len(tested()), 0)), np.empty(0, bool), MISSING)


def only_cold(run: Scores) -> Scores:
    """Keep the users whose target is cold, of whom there may be none."""
    if run.reason:
        return run
    kept = {name: getattr(run, name)[run.cold] for name in ("users", "targets", "cold")}
    return replace(run, **kept, values=run.values[:, run.cold])


def plan_comparisons(grid: Grid) -> list[Comparison]:
    """List every comparison of an experiment, datasets, protocols, backbones and methods in the order of its cells.

    A pair whose baseline is not in the grid is still planned: its row then says what is missing.
    """
    sides = list(dict.fromkeys(Side(*cell[:4]) for cell in grid.cells))
    comparisons = [
        Comparison(METHOD, Side(*place, method), Side(*place, baseline))
        for place in dict.fromkeys(side[:3] for side in sides)
        for method, baseline in grid.pairs(side.method for side in sides if side[:3] == place)
        if Side(*place, method) in sides
    ]
    comparisons += [pooled for pooled, backbones in count_backbones(comparisons).items() if backbones > 1]
    if grid.name == c.MAIN:
        for side in sides:
            base = side._replace(protocol=grid.protocols[0])
            if side != base and base in sides:
                comparisons.append(Comparison(PROTOCOL, side, base))
    return comparisons


def count_backbones(comparisons: Iterable[Comparison]) -> Counter[Comparison]:
    """Count the backbones with which methods are compared, by the comparison that averages over them."""
    return Counter(
        Comparison(BACKBONES, *(pair._replace(backbone=c.ALL_BACKBONES) for pair in (side, baseline)))
        for kind, side, baseline in comparisons
        if kind == METHOD
    )


def compare_all(grids: Sequence[Grid], scores: Mapping[Address, Scores], sought: float) -> pd.DataFrame:
    """Make every planned comparison under every ranking rule and metric, one row each, columns `COLUMNS`.

    Experiments follow in the order given. Seeds are matched by number. A comparison without a seed that finished on
    both sides has NaN for numbers and the reason in `status`; one that lost some of its seeds begins its status with
    "ok" and names them.

    Args:
        scores: every run of the grids that has a record; an expected run without one counts as missing.
        sought: a relative gain that a comparison should be able to find.
    """
    # experiments share runs: the same runs on both sides have the same numbers in all of them
    known: dict[tuple[Comparison, frozenset[Address]], list[dict[str, Any]]] = {}
    spreads: dict[Stratum, crossed.RunSpread] = {}
    tables = []
    for grid in grids:
        rows: list[dict[str, Any]] = []
        comparisons = plan_comparisons(grid)
        by_side = group_by_side(scores.get(cell) or absent(cell) for cell in grid.cells)
        backbones = count_backbones(comparisons)
        spreads = pool_spreads(by_side) | spreads  # so that no experiment changes what an earlier one finds
        same = same_tests(comparisons, by_side, [cell.method for cell in grid.cells])
        for comparison in comparisons:
            key = (comparison, _members(comparison, by_side))
            if key not in known:
                known[key] = _compare(pair_up(comparison, by_side, spreads), sought)
            said = {"same_as": same.get(comparison, ""), "backbones": backbones.get(comparison, 1)}
            heads = [{**_head(grid.name, comparison, ranking, metric), **said} for ranking, metric in tested()]
            rows.extend({**head, **numbers} for head, numbers in zip(heads, known[key], strict=True))
        table = _typed(pd.DataFrame(rows, columns=list(COLUMNS)))
        table = _decided(_adjusted(table), sought) if len(table) else table
        table["headline"], table["whole"] = grid.mark_headline(table), mark_whole(table)
        table["ruled_out"] = (table["gain_high"] < sought) & (table["seeds"] > 1)
        tables.append(table.astype(dict.fromkeys(_MARKS, bool)))
    return pd.concat(tables, ignore_index=True)


def comparison_tables(
    grids: Sequence[Grid], scores: Mapping[Address, Scores], sought: float
) -> dict[str, pd.DataFrame]:
    """Make every comparison, and, in `cold_comparisons`, the first experiment's over users whose target is cold alone.

    Args:
        scores, sought: see `compare_all`.
    """
    cold = {cell: only_cold(scores[cell]) for cell in grids[0].cells if cell in scores}
    return {
        "comparisons": compare_all(grids, scores, sought),
        "cold_comparisons": compare_all(grids[:1], cold, sought).assign(**{c.GROUP: c.COLD}),
    }


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    numbers = {name: "float64" for name in COLUMNS if name not in (*_TEXTS, *_WHOLE_NUMBERS)}
    return table.astype({**dict.fromkeys(_WHOLE_NUMBERS, "Int64"), **numbers})


def _decided(table: pd.DataFrame, sought: float) -> pd.DataFrame:
    """Fill in `outcome` and `alone`; `sought` is the gain that a comparison should be able to find."""
    made = table["status"].str.startswith(OK) & table["difference"].notna()
    nobody = table["status"].str.startswith(OK) & (table["users"] == 0)  # as where no target is cold
    significant = made & (table["p_holm"] < SIGNIFICANCE)
    outcome = np.select(
        [
            significant & (table["difference"] > 0),
            significant & (table["difference"] < 0),
            made & (table["p_equal"] < (1 - crossed.LEVEL) / 2),  # so that the interval shown lies within the margin
            (made & ~(table["detectable"] <= sought)) | nobody,
            made,
        ],
        [GAIN, LOSS, EQUAL, UNDERPOWERED, NONE],
        [_lost_word(status) for status in table["status"]],
    )
    return table.assign(outcome=outcome, alone=made & ~significant & (table["p"] < SIGNIFICANCE))


def mark_whole(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Mark an experiment's rows that speak for all backbones: averages over them, and pairs that one alone has."""
    key = [c.DATASET, c.PROTOCOL, c.METHOD, "baseline_method"]
    averaged = table["kind"] == BACKBONES
    pooled = pd.MultiIndex.from_frame(table[key]).isin(pd.MultiIndex.from_frame(table.loc[averaged, key]))
    whole: NDArray[np.bool_] = (averaged | ((table["kind"] == METHOD) & ~pooled)).to_numpy(bool)
    return whole


def _lost_word(status: str) -> str:
    """Find what became of the run that a comparison lacks; of several, the first one named."""
    return min((word for word in c.LOST if word in status), key=status.index, default=MISSING)


def same_tests(
    comparisons: Iterable[Comparison], by_side: Mapping[Side, Mapping[int, Scores]], methods: Iterable[str]
) -> dict[Comparison, str]:
    """Find comparisons of kinds `method` and `backbones` that repeat another one, and name the method that they repeat.

    That is the method of an earlier comparison, in the order of `methods`, with the same baseline and the very same
    runs, or the baseline, where a method's runs are the baseline's. A method without a finished run is like no other.
    """
    first: dict[tuple[Any, ...], str] = {}
    same: dict[Comparison, str] = {}
    place = {method: number for number, method in enumerate(dict.fromkeys(methods))}
    for comparison in sorted(comparisons, key=lambda one: place[one.side.method]):
        own, baseline = (_fingerprint(side, by_side) for side in (comparison.side, comparison.baseline))
        if comparison.kind == PROTOCOL or own is None:
            continue
        key = (comparison.kind, comparison.side._replace(method=""), comparison.baseline, own)
        named = comparison.baseline.method if own == baseline else first.setdefault(key, comparison.side.method)
        if named != comparison.side.method:
            same[comparison] = named
    return same


def _fingerprint(side: Side, by_side: Mapping[Side, Mapping[int, Scores]]) -> tuple[Any, ...] | None:
    """Identify a method's runs by the digests of their ranks, by backbone and seed; None if none is finished."""
    backbones = sorted({other.backbone for other in by_side}) if side.backbone == c.ALL_BACKBONES else [side.backbone]
    runs = {backbone: by_side.get(side._replace(backbone=backbone), {}) for backbone in backbones}
    if all(run.reason or run.digest is None for own in runs.values() for run in own.values()):
        return None
    digests = {name: {seed: run.reason or run.digest for seed, run in own.items()} for name, own in runs.items()}
    return tuple((name, *sorted(own.items())) for name, own in digests.items())


def _adjusted(table: pd.DataFrame) -> pd.DataFrame:
    """Fill in `tests` and `p_holm`: within each family among rows without `same_as`; the others take the named row's.

    Where the method named is the baseline, nothing is tested, and the p value stays (it is 1).
    """
    again = (table["same_as"] != "").to_numpy()
    table["tests"] = table["p"].mask(again).groupby(table["family"]).transform("count")
    adjusted = table[~again].groupby("family")["p"].transform(lambda p: crossed.holm(p.to_numpy()))
    place = ["family", "protocol", "backbone", "baseline_method"]
    known = adjusted.set_axis(pd.MultiIndex.from_frame(table.loc[~again, [*place, "method"]]))
    wanted = pd.MultiIndex.from_frame(table.loc[again, [*place, "same_as"]])
    table.loc[~again, "p_holm"] = adjusted
    copied = known.reindex(wanted).to_numpy()
    table.loc[again, "p_holm"] = np.where(np.isnan(copied), table.loc[again, "p"], copied)
    return table


def _members(comparison: Comparison, by_side: Mapping[Side, Mapping[int, Scores]]) -> frozenset[Address]:
    """List every run on either side of a comparison, of all backbones where it averages over them."""
    sides = set(comparison[1:])
    pooled = comparison.kind == BACKBONES
    return frozenset(
        run.address
        for side, runs in by_side.items()
        if (side._replace(backbone=c.ALL_BACKBONES) if pooled else side) in sides
        for run in runs.values()
    )


def group_by_side(scores: Iterable[Scores]) -> dict[Side, dict[int, Scores]]:
    """Group runs by side and seed."""
    by_side: dict[Side, dict[int, Scores]] = {}
    for run in scores:
        by_side.setdefault(Side(*run.address[:4]), {})[run.address.seed] = run
    return by_side


def pool_spreads(by_side: Mapping[Side, Mapping[int, Scores]]) -> dict[Stratum, crossed.RunSpread]:
    """Pool how much runs vary with the seed, over the methods of each dataset, protocol and backbone.

    Averages over all backbones of a dataset and protocol are a place of their own: what their runs have in common by
    the seed counts. A run that several methods share counts once. A place where no method has two finished seeds is
    left out.

    Raises:
        DataError: two runs of a method do not rank the same targets for the same users.
    """
    methods: dict[Stratum, list[dict[int, Scores]]] = {}
    for side, runs in by_side.items():
        methods.setdefault(Stratum(*side[:3]), []).append({k: run for k, run in runs.items() if not run.reason})
    spreads = {place: _pooled(runs) for place, runs in methods.items()}
    for where in dict.fromkeys(place[:2] for place in methods):
        backbones = [place.backbone for place in methods if place[:2] == where]
        if len(backbones) > 1:
            spreads[Stratum(*where, c.ALL_BACKBONES)] = _pooled(_averages(where, backbones, by_side))
    return {place: spread for place, spread in spreads.items() if spread}


def _averages(
    where: tuple[str, str], backbones: Sequence[str], by_side: Mapping[Side, Mapping[int, Scores]]
) -> Iterator[dict[int, Scores]]:
    """Average each method of a dataset and protocol over all backbones, on the seeds that are done with every one."""
    for method in dict.fromkeys(side.method for side in by_side if side[:2] == where):
        runs = [by_side.get(Side(*where, backbone, method), {}) for backbone in backbones]
        seeds = sorted(k for k in runs[0] if all(k in own and not own[k].reason for own in runs))
        side = Side(*where, c.ALL_BACKBONES, method)
        yield {k: _mean_scores([own[k] for own in runs], side) for k in seeds}


def _pooled(methods: Iterable[dict[int, Scores]]) -> crossed.RunSpread | None:
    seen: set[object] = set()
    several = []
    for runs in methods:
        own = [runs[k] for k in sorted(runs) if (runs[k].digest or runs[k].address) not in seen]
        seen |= {run.digest or run.address for run in own}
        for run in own[1:]:
            _check_joined(own[0], run)
        if len(own) > 1 and len(own[0].users):
            several.append(np.stack([run.values for run in own], axis=1))
    return crossed.pool_runs(several) if several else None


def pair_up(
    comparison: Comparison, by_side: Mapping[Side, Mapping[int, Scores]], spreads: Mapping[Stratum, crossed.RunSpread]
) -> Pair:
    """Find the metrics of both sides of a comparison, of the seeds that finished on both, and how much runs vary.

    Args:
        spreads: as `pool_spreads` gives them.

    Raises:
        DataError: two runs do not rank the same targets for the same users.
    """
    runs: Mapping[int, Scores]
    baseline_runs: Mapping[int, Scores]
    whole = True  # if a backbone is left out of an average, it varies more than those of the pool
    if comparison.kind == BACKBONES:
        runs, baseline_runs, whole, lost = _average(comparison, by_side)
    else:
        runs, baseline_runs = by_side.get(comparison.side, {}), by_side.get(comparison.baseline, {})
        lost = _lost(comparison, runs, baseline_runs)
    seeds = _common_seeds(runs, baseline_runs)
    if not seeds:
        nothing = np.empty((len(tested()), 0, 0))
        return Pair(nothing, nothing, lost or "no run")
    used = [side[k] for side in (runs, baseline_runs) for k in seeds]
    for other in used[1:]:
        _check_joined(used[0], other)
    method, baseline = (np.stack([side[k].values for k in seeds], axis=1) for side in (runs, baseline_runs))
    places = [Stratum(*side[:3]) for side in comparison[1:]]
    varying = (spreads[places[0]], spreads[places[1]]) if whole and all(place in spreads for place in places) else None
    return Pair(method, baseline, f"{OK}, without {lost}" if lost else OK, varying)


def _compare(pair: Pair, sought: float) -> list[dict[str, Any]]:
    """Compare two sides: numbers and status, one row for each of `tested()`."""
    method, baseline, status, spreads = pair
    same = {"users": method.shape[2], "seeds": method.shape[1], "status": status}
    if not method.size:
        return [same for _ in tested()]
    found = crossed.compare_crossed(method, baseline, spreads)
    by_user = crossed.snapped((method - baseline).mean(axis=1))
    mean = method.mean(axis=(1, 2))
    columns = {
        "mean": mean,
        "baseline_mean": baseline.mean(axis=(1, 2)),
        "difference": found.difference,
        "gain": found.gain,
        "ci_low": found.low,
        "ci_high": found.high,
        "mean_low": mean + (found.low - found.difference),
        "mean_high": mean + (found.high - found.difference),
        "gain_low": found.gain_low,
        "gain_high": found.gain_high,
        "p": found.p,
        "p_equal": found.p_equal,
        "detectable": found.detectable,
        "needed": crossed.seeds_needed(method, baseline, sought, spreads),
        "effect": found.effect,
        "seed_sd": found.seed_sd,
        "p_even": np.minimum(*(one.p_even for one in spreads)) if spreads else np.full_like(found.p, np.nan),
        "wins": (by_user > 0).sum(axis=1),
        "ties": (by_user == 0).sum(axis=1),
        "losses": (by_user < 0).sum(axis=1),
    }
    return [{**{name: values[row] for name, values in columns.items()}, **same} for row in range(len(method))]


def _common_seeds(runs: Mapping[int, Scores], baseline_runs: Mapping[int, Scores]) -> list[int]:
    """List seeds that are done on both sides."""
    return sorted(k for k in runs if k in baseline_runs and not (runs[k].reason or baseline_runs[k].reason))


def _average(
    comparison: Comparison, by_side: Mapping[Side, Mapping[int, Scores]]
) -> tuple[dict[int, Scores], dict[int, Scores], bool, str]:
    """Average each user's metrics over the backbones, seed by seed, on both sides of a comparison.

    Returns:
        Both sides by seed, on the seeds that every backbone has on both sides, whether that is every backbone of the
        dataset and protocol, and what was lost. A backbone without any such seed is left out.
    """
    used: list[tuple[Mapping[int, Scores], Mapping[int, Scores]]] = []
    seeds: set[int] | None = None
    lost = []
    for backbone in sorted({side.backbone for side in by_side}):
        sides = [side._replace(backbone=backbone) for side in (comparison.side, comparison.baseline)]
        runs, baseline_runs = (by_side.get(side, {}) for side in sides)
        if not (runs or baseline_runs):
            continue
        if reason := _lost(Comparison(METHOD, *sides), runs, baseline_runs):
            lost.append(f"{backbone}: {reason}")
        if common := _common_seeds(runs, baseline_runs):
            used.append((runs, baseline_runs))
            seeds = set(common) if seeds is None else seeds & set(common)
    averaged = [
        {k: _mean_scores([pair[place][k] for pair in used], side) for k in sorted(seeds or ())}
        for place, side in enumerate((comparison.side, comparison.baseline))
    ]
    here = {side.backbone for side in by_side if side[:2] == comparison.side[:2]}
    return averaged[0], averaged[1], len(used) == len(here), "; ".join(lost)


def _mean_scores(scores: Sequence[Scores], side: Side) -> Scores:
    """Average the same users' metrics over several backbones, with one seed."""
    first = scores[0]
    for other in scores[1:]:
        _check_joined(first, other)
    values = np.mean([one.values for one in scores], axis=0)
    known = [one.digest for one in scores if one.digest]
    digest = " ".join(known) if len(known) == len(scores) else None
    return Scores(Address(*side, first.address.seed), first.users, first.targets, values, first.cold, digest=digest)


def _head(experiment: str, comparison: Comparison, ranking: str, metric: str) -> dict[str, Any]:
    """Fill in the columns that say what a row compares, and its family."""
    kind, side, baseline = comparison
    within = [side.dataset] if kind == PROTOCOL else [side.dataset, side.protocol]
    return {
        "experiment": experiment,
        "kind": kind,
        "dataset": side.dataset,
        "backbone": side.backbone,
        "ranking": ranking,
        "metric": metric,
        "protocol": side.protocol,
        "method": side.method,
        "baseline_protocol": baseline.protocol,
        "baseline_method": baseline.method,
        "family": " | ".join([experiment, kind, *within, ranking, metric]),
    }


def _lost(comparison: Comparison, runs: Mapping[int, Scores], baseline_runs: Mapping[int, Scores]) -> str:
    """Say which seeds a comparison cannot use and why; empty when it uses all of both sides."""
    parts = []
    for side, present in ((comparison.side, runs), (comparison.baseline, baseline_runs)):
        name = f"{side.method} under {side.protocol}" if comparison.kind == PROTOCOL else side.method
        if not present:
            parts.append(f"{name}: not in the grid")
            continue
        seeds = sorted(set(runs) | set(baseline_runs))
        reasons = {k: present[k].reason if k in present else "not in the grid" for k in seeds}
        for reason in dict.fromkeys(filter(None, reasons.values())):
            own = [str(k) for k in seeds if reasons[k] == reason]
            several = "" if len(own) == len(seeds) > 1 else f" seed{'s' * (len(own) > 1)} {', '.join(own)}"
            parts.append(f"{name}{several}: {reason}")
    return "; ".join(parts)


def _check_joined(first: Scores, other: Scores) -> None:
    """Check that two runs rank the same target for the same users.

    Raises:
        DataError: they do not.
    """
    names = f"runs {first.address} and {other.address}"
    again = "train both again from the same data"
    if not np.array_equal(first.users, other.users):
        left, right = set(first.users), set(other.users)
        raise DataError(
            f"{names} do not rank the same users ({len(left - right)} only in the first, "
            f"{len(right - left)} only in the second); {again}"
        )
    if not np.array_equal(first.targets, other.targets):
        count = np.count_nonzero(first.targets != other.targets)
        raise DataError(f"{names} have different test items for {count} of the same users; {again}")
