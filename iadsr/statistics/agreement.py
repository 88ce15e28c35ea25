"""Whether two sets of runs agree: a rerun with the archive, one machine or version of the code with another.

A cell is what a grid has seeds of. Its mean over seeds may differ between the sets by as much as means of so many seeds
differ by chance: by the standard deviation over seeds, pooled over all cells of a dataset and protocol in both sets, as
a t test has it, with `LEVEL` shared among all that is compared. Two metrics are: `NDCG@10`, which tables show, and the
mean logarithm of the target's rank, which a few hundred users measure far better. Another machine's arithmetic counts
as another seed: training multiplies the smallest difference until it is as large as that.
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
LEVEL = 0.01  # the chance that sets which agree are said to differ
SAME, AGREES, DIFFERS, UNKNOWN = "the same runs", "agrees", "differs", "unknown"
ONE_SIDED = "finished in one set only"
EXPLAINED = (SAME, AGREES)
COLUMNS = (
    c.DATASET, c.PROTOCOL, c.BACKBONE, c.METHOD, c.METRIC, "verdict", "mean", "seeds", "other_mean", "other_seeds",
    "difference", "allowed", "unlike",
)  # fmt: skip


class _Place(NamedTuple):
    """A cell less its seed; runs of one address can have several encoders."""

    dataset: str
    protocol: str
    backbone: str
    method: str
    encoder: str


def judge_agreement(first: Iterable[Run], second: Iterable[Run]) -> pd.DataFrame:
    """Compare the cells that both sets of runs have, one row for each and metric, in the order of the first set.

    Columns: `mean` and `other_mean` of the metric on test, under the protocol's own ranking rule; the `difference` of
    the second from the first, and what is `allowed`, NaN where no cell has two seeds; `unlike`, what the records of the
    two sets say differently, in words.

    Raises:
        DataError: a run's files are missing or damaged.
    """
    sides = _by_place(first), _by_place(second)
    common = [place for place in sides[0] if place in sides[1]]
    scores = [{place: _scores(side[place]) for place in common} for side in sides]  # each (metrics, seeds)
    rows = []
    for place in common:
        runs, values = [side[place] for side in sides], [side[place] for side in scores]
        seeds = [one.shape[1] for one in values]
        means = [one.mean(axis=1) if one.size else np.full(len(METRICS), np.nan) for one in values]
        allowed = _allowed(place, seeds, scores, len(METRICS) * len(common))
        for index, metric in enumerate(METRICS):
            difference = means[1][index] - means[0][index]
            if _digests(runs[0]) == _digests(runs[1]):
                verdict = SAME
            elif not all(seeds):
                verdict = ONE_SIDED
            else:
                verdict = (
                    UNKNOWN if np.isnan(allowed[index]) else AGREES if abs(difference) <= allowed[index] else DIFFERS
                )
            numbers = (means[0][index], seeds[0], means[1][index], seeds[1], difference, allowed[index])
            rows.append((*place[:4], metric, verdict, *numbers, ", ".join(_unlike(*runs))))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _by_place(runs: Iterable[Run]) -> dict[_Place, list[Run]]:
    places: dict[_Place, list[Run]] = {}
    for run in runs:
        encoder = json.dumps(run.record["cell"].get("encoder"), sort_keys=True)
        places.setdefault(_Place(*run.address[:4], encoder), []).append(run)
    return places


def _scores(runs: Sequence[Run]) -> Floats:
    """Compute the means over users (metrics, seeds) of the runs that are done."""
    values = []
    for run in runs:
        if run.done:
            with run.reading():
                column = c.rank_column(run.record["cell"]["settings"]["ranking"])
            ranks = run.ranks((c.USER, column))[column].to_numpy(np.float64)
            values.append([metric(ranks).mean() for metric in METRICS.values()])
    return np.array(values, dtype=np.float64).reshape(-1, len(METRICS)).T


def _digests(runs: Sequence[Run]) -> dict[int, Any]:
    """Return status and digest of the ranks of each seed."""
    return {run.address.seed: (run.record["status"], run.record.get("files", {}).get(c.RANKS)) for run in runs}


def _allowed(place: _Place, seeds: Sequence[int], scores: Sequence[Mapping[_Place, Floats]], compared: int) -> Floats:
    """Return the largest difference of means (metrics,) that chance explains; NaN where no spread over seeds is known.

    Args:
        seeds: how many the two means are of.
        scores: of each set of runs, every cell's (metrics, seeds).
        compared: how many means are compared in all.
    """
    groups = [values for side in scores for other, values in side.items() if other[:2] == place[:2] and values.size]
    freedom = sum(values.shape[1] - 1 for values in groups)
    if not freedom or not all(seeds):
        return np.full(len(METRICS), np.nan)
    squares = sum(((values - values.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for values in groups)
    bound = stats.t.ppf(1 - LEVEL / compared / 2, freedom)
    allowed: Floats = bound * np.sqrt(squares / freedom * sum(1 / count for count in seeds))
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
    return told | {"source": record.get("source_digest")}


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested mappings, each by its own name."""
    for name, value in values.items():
        yield from _flat(value) if isinstance(value, Mapping) else ((name, value),)
