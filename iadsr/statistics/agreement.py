"""Whether two sets of runs agree: a rerun with the archive, one machine or version of the code with another.

A cell is what a grid has seeds of. Its mean over seeds may differ between the sets by as much as means of so many seeds
differ by chance: by the standard deviation over seeds, pooled over all cells of a dataset and protocol in both sets, as
a t test has it, with `LEVEL` shared among all that is compared. Two metrics are: `NDCG@10`, which tables show, and the
mean logarithm of the target's rank, which a few hundred users measure far better. Another machine's arithmetic counts
as another seed: training multiplies the smallest difference until it is as large as that.

No means are compared where a seed finished in one set only, or where users or targets differ. Agreement is no proof of
equality: a true difference of what is `allowed` goes unseen half of the time.
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
from iadsr.evaluation.metrics import METRICS as METRICS_OF_USERS
from iadsr.evaluation.runs import Run

Floats = NDArray[np.float64]

METRICS: Mapping[str, Callable[[Floats], Floats]] = {"NDCG@10": METRICS_OF_USERS["NDCG@10"], "log rank": np.log}
LEVEL = 0.01  # the chance that sets which agree are said to differ, if the seeds of all cells spread alike
SAME, AGREES, DIFFERS, UNKNOWN = "the same runs", "agrees", "differs", "unknown"
OTHER_TARGETS, LOST = "other users or targets", "seeds lost in one set"
ONE_SIDED, NEITHER = "finished in one set only", "finished in neither set"
EXPLAINED = (SAME, AGREES)
COLUMNS = (
    c.DATASET, c.PROTOCOL, c.BACKBONE, c.METHOD, "encoder", c.METRIC, "verdict", "mean", "seeds", "other_mean",
    "other_seeds", "difference", "allowed", "unlike",
)  # fmt: skip


class Place(NamedTuple):
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
    def mean(self) -> Floats:
        values = list(self.scores.values())
        return np.mean(values, axis=0) if values else np.full(len(METRICS), np.nan)


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
    sides = group_places(first), group_places(second)
    common = [place for place in sides[0] if place in sides[1]]
    pairs = {place: _Pair(_side(sides[0][place]), _side(sides[1][place])) for place in common}
    verdicts = {place: _verdict(pair) for place, pair in pairs.items()}
    tests = len(METRICS) * sum(verdict is None for verdict in verdicts.values())
    rows = []
    for place, pair in pairs.items():
        allowed = _allowed(place, pairs, tests)
        unlike = ", ".join(_unlike(*(side.runs for side in pair)))
        differences = pair.second.mean - pair.first.mean
        for index, metric in enumerate(METRICS):
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


def group_places(runs: Iterable[Run]) -> dict[Place, list[Run]]:
    """Group runs by cell, seeds together."""
    places: dict[Place, list[Run]] = {}
    for run in runs:
        encoder = json.dumps(run.record["cell"].get("encoder"), sort_keys=True)
        places.setdefault(Place(*run.address[:4], encoder), []).append(run)
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
            scores[run.address.seed] = np.array([metric(values).mean() for metric in METRICS.values()])
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
    common = first.results.keys() & second.results.keys()
    return LOST if any((seed in first.scores) != (seed in second.scores) for seed in common) else None


def _allowed(place: Place, pairs: Mapping[Place, _Pair], tests: int) -> Floats:
    """Return the largest difference of means (metrics,) that chance explains; NaN where no spread over seeds is known.

    Runs that both sets have count once, and cancel in the difference.

    Args:
        tests: how many means are compared in all.
    """
    groups = []
    for other, (first, second) in pairs.items():
        if other[:2] == place[:2]:
            new = [values for seed, values in second.scores.items() if seed not in pairs[other].shared]
            groups += [np.array(values) for values in (list(first.scores.values()), new) if values]  # (seeds, metrics)
    freedom = sum(len(values) - 1 for values in groups)
    pair = pairs[place]
    counts = [len(side.scores) for side in pair]
    if not freedom or not all(counts) or not tests:
        return np.full(len(METRICS), np.nan)
    squares = sum(((values - values.mean(axis=0)) ** 2).sum(axis=0) for values in groups)
    share = 1 / counts[0] + 1 / counts[1] - 2 * len(pair.shared) / (counts[0] * counts[1])
    allowed: Floats = stats.t.ppf(1 - LEVEL / tests / 2, freedom) * np.sqrt(squares / freedom * share)
    return allowed


def _unlike(first: Sequence[Run], second: Sequence[Run]) -> Iterator[str]:
    """Yield what records of two sets of runs say differently: settings and options, data, device, versions, code."""
    told = [[_told(run.record) for run in runs] for runs in (first, second)]
    for name in dict.fromkeys(name for side in told for one in side for name in one):
        values = [{json.dumps(one.get(name), sort_keys=True) for one in side} for side in told]
        if values[0] != values[1]:
            yield name


def _told(record: Mapping[str, Any]) -> dict[str, Any]:
    told = dict(_flat({key: value for key, value in record["cell"].items() if key not in (c.SEED, "encoder")}))
    told |= {f"digest of {name}": digest for name, digest in (record.get("inputs") or {}).items()}
    told |= {name: record.get(name) for name in ("device", "threads")}
    told |= {f"version of {name}": version for name, version in (record.get("versions") or {}).items()}
    return told | {"source": record.get("source_digest"), "status": record["status"]}


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested mappings, each by its own name."""
    for name, value in values.items():
        yield from _flat(value) if isinstance(value, Mapping) else ((name, value),)
