"""Whether two sets of runs agree: a rerun with the archive, one machine or version of the code with another.

A cell is what a grid has seeds of. Its mean over seeds may differ between the sets by as much as means of so many seeds
differ by chance, as a t test has it, with `LEVEL` shared among all that is compared. Two metrics are: `NDCG@10`, which
tables show, and the mean logarithm of the target's rank, which a few hundred users measure far better. Another
machine's arithmetic counts as another seed: training multiplies the smallest difference until it is as large as that.

The spread over seeds is that of the second set, the reference (of the first, if no cell of the second has two seeds): a
run of the first that went wrong must not widen what is allowed. A cell's own variance is drawn towards the one pooled
over the cells of its dataset and protocol, which counts as `PRIOR` degrees of freedom: the moderated t test (Smyth
2004, doi:10.2202/1544-6115.1027) with a fixed prior. The pooled one alone would call cells that spread more than others
different far too often.

No means are compared where a seed finished in one set only, or where users, targets or settings differ. Agreement is
no proof of equality: a true difference of what is `allowed` goes unseen half of the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from iadsr.core import columns as c
from iadsr.evaluation.metrics import METRICS
from iadsr.evaluation.runs import Run

Floats = NDArray[np.float64]

COMPARED_METRICS: Mapping[str, Callable[[Floats], Floats]] = {"NDCG@10": METRICS["NDCG@10"], "log rank": np.log}
PRIOR = 8  # 16: a cell that spreads 3 times as much differs by chance in 11 % of reruns; 4: one seed finds little
LEVEL = 0.01  # the chance that sets which agree are said to differ, if the seeds of all cells spread alike
SAME, AGREES, DIFFERS, UNKNOWN = "the same runs", "agrees", "differs", "unknown"
OTHER_TARGETS, LOST = "other users or targets", "seeds lost in one set"
OTHER_SETTINGS = "other settings"
ONE_SIDED, NEITHER = "finished in one set only", "finished in neither set"
EXPLAINED = (SAME, AGREES)
COLUMNS = (
    c.DATASET, c.PROTOCOL, c.BACKBONE, c.METHOD, "encoder", c.METRIC, "verdict", "mean", "seeds", "other_mean",
    "other_seeds", "difference", "allowed", "unlike",
)  # fmt: skip


class SeedGroup(NamedTuple):
    """A cell less its seed; runs of one address can have several encoders."""

    dataset: str
    protocol: str
    backbone: str
    method: str
    encoder: str


class _Side(NamedTuple):
    """The runs of a cell in one of the sets; `scores` and `targets` of those that are done."""

    runs: Sequence[Run]
    scores: Mapping[int, Floats]  # by seed, each (metrics,)
    results: Mapping[int, tuple[str, str | None]]  # by seed: status and digest of the ranks
    targets: frozenset[frozenset[tuple[str, int]]]  # of user and target

    @property
    def settings(self) -> set[str]:
        """What the runs were told to do, seeds apart."""
        return {json.dumps(_of_cell(run.record), sort_keys=True) for run in self.runs}

    @property
    def mean(self) -> Floats:
        values = list(self.scores.values())
        return np.mean(values, axis=0) if values else np.full(len(COMPARED_METRICS), np.nan)


class _Pair(NamedTuple):
    """A cell's two sides."""

    first: _Side
    second: _Side

    @property
    def shared(self) -> set[int]:
        """The seeds that are done with the very same ranks on both sides."""
        first, second = self.first.results, self.second.results
        return {seed for seed in self.first.scores if first[seed][1] and first[seed] == second.get(seed)}


def judge_agreement(first: Iterable[Run], second: Iterable[Run]) -> pd.DataFrame:
    """Compare the cells that both sets of runs have, one row for each and metric, in the order of the first set.

    Columns: `mean` and `other_mean` of the metric on test, under the protocol's own ranking rule; the `difference` of
    the second from the first, and what is `allowed`, NaN where no cell has two seeds; `encoder`, as JSON; `unlike`,
    what the records of the two sets say differently, in words.

    Raises:
        DataError: a run's files are missing or damaged.
    """
    sets = [{place: _side(runs) for place, runs in group_seeds(one).items()} for one in (first, second)]
    pairs = {place: _Pair(side, sets[1][place]) for place, side in sets[0].items() if place in sets[1]}
    verdicts = {place: _verdict(pair) for place, pair in pairs.items()}
    tests = len(COMPARED_METRICS) * sum(verdict is None for verdict in verdicts.values())
    rows = []
    for place, pair in pairs.items():
        allowed = _allowed(place, sets, tests)
        unlike = ", ".join(_unlike(*(side.runs for side in pair)))
        differences = pair.second.mean - pair.first.mean
        for index, metric in enumerate(COMPARED_METRICS):
            tested = (
                UNKNOWN
                if np.isnan(allowed[index])
                else AGREES
                if abs(differences[index]) <= allowed[index]
                else DIFFERS
            )
            means = [(side.mean[index], len(side.scores)) for side in pair]
            numbers = (*means[0], *means[1], differences[index], allowed[index])
            rows.append((*place, metric, verdicts[place] or tested, *numbers, unlike))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def group_seeds(runs: Iterable[Run]) -> dict[SeedGroup, list[Run]]:
    """Group runs by cell, seeds together."""
    places: dict[SeedGroup, list[Run]] = {}
    for run in runs:
        encoder = json.dumps(run.record["cell"].get("encoder"), sort_keys=True)
        places.setdefault(SeedGroup(*run.address[:4], encoder), []).append(run)
    return places


def _side(runs: Sequence[Run]) -> _Side:
    scores, results, targets = {}, {}, set()
    for run in runs:
        results[run.address.seed] = run.record["status"], (run.record.get("files") or {}).get(c.RANKS)
        if run.done:
            with run.reading():
                column = c.rank_column(run.record["cell"]["settings"]["ranking"])
            ranks = run.ranks((c.USER, c.TARGET, column))
            values = ranks[column].to_numpy(np.float64)
            scores[run.address.seed] = np.array([metric(values).mean() for metric in COMPARED_METRICS.values()])
            targets.add(frozenset(zip(ranks[c.USER].astype(str), ranks[c.TARGET].astype(int), strict=True)))
    return _Side(runs, scores, results, frozenset(targets))


def _verdict(pair: _Pair) -> str | None:
    """Judge a cell without its numbers; None if they decide."""
    first, second = pair
    if first.results == second.results and len(pair.shared) == len(first.scores):
        return SAME
    if not first.scores or not second.scores:
        return ONE_SIDED if first.scores or second.scores else NEITHER
    if len(first.targets | second.targets) > 1:
        return OTHER_TARGETS
    if first.settings != second.settings:
        return OTHER_SETTINGS
    common = first.results.keys() & second.results.keys()
    return LOST if any((seed in first.scores) != (seed in second.scores) for seed in common) else None


def _allowed(place: SeedGroup, sets: Sequence[Mapping[SeedGroup, _Side]], tests: int) -> Floats:
    """Return the largest difference of means (metrics,) that chance explains; NaN where no spread over seeds is known.

    Runs that both sets have cancel in the difference.

    Args:
        tests: how many means are compared in all.
    """
    pair = _Pair(sets[0][place], sets[1][place])
    counts = [len(side.scores) for side in pair]
    for sides in reversed(sets):
        spreads = {other: _spread(side) for other, side in sides.items() if other[:2] == place[:2] and side.scores}
        if (freedom := sum(own for own, _ in spreads.values())) and all(counts) and tests:
            pooled = sum(squares for _, squares in spreads.values()) / freedom
            own, squares = spreads[place]
            variance = (PRIOR * pooled + squares) / (PRIOR + own)
            share = 1 / counts[0] + 1 / counts[1] - 2 * len(pair.shared) / (counts[0] * counts[1])
            bound = stats.t.ppf(1 - LEVEL / tests / 2, min(PRIOR + own, freedom))
            return np.asarray(bound * np.sqrt(variance * share))
    return np.full(len(COMPARED_METRICS), np.nan)


def _spread(side: _Side) -> tuple[int, Floats]:
    """Return degrees of freedom and sums of squares (metrics,) over seeds."""
    values = np.array(list(side.scores.values()))
    return len(values) - 1, ((values - values.mean(axis=0)) ** 2).sum(axis=0)


def _unlike(first: Sequence[Run], second: Sequence[Run]) -> Iterator[str]:
    """Yield what records of two sets of runs say differently: settings and options, data, device, versions, code."""
    told = [[_told(run.record) for run in runs] for runs in (first, second)]
    for name in dict.fromkeys(name for side in told for one in side for name in one):
        values = [{json.dumps(one.get(name), sort_keys=True) for one in side} for side in told]
        if values[0] != values[1]:
            yield name


def _of_cell(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record["cell"].items() if key not in (c.SEED, "encoder")}


def _told(record: Mapping[str, Any]) -> dict[str, Any]:
    told = dict(_flat(_of_cell(record)))
    told |= {f"digest of {name}": digest for name, digest in (record.get("inputs") or {}).items()}
    told |= {name: record.get(name) for name in ("device", "threads")}
    told |= {f"version of {name}": version for name, version in (record.get("versions") or {}).items()}
    return told | {"source": record.get("source_digest"), "status": record["status"]}


def _flat(values: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested mappings, each by its path, such as `settings.steps`."""
    for name, value in values.items():
        yield from _flat(value, f"{within}{name}.") if isinstance(value, Mapping) else ((f"{within}{name}", value),)
