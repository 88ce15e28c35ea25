"""How often intervals and tests are right, on simulated grids whose truth is known: `report/reliability.csv`.

    python -m benchmarks.reliability        # some ten minutes on one core

Each simulated grid has the shape of the default one: three backbones with IADSR and three other methods, 943 users, the
same seeds. A user hits with a probability that is the user's own; the spread of these tastes, and how far they agree
between methods and between backbones, have the moments of the archived runs (HR@5 under `strong`, history excluded).
Every run moves a rate for all users at once, by a share that is drawn anew: the part of seeds. What a hit is worth to
NDCG@5 is drawn from the archived hits. Then the page's own rule decides: crossed intervals, with how much runs vary
pooled over the methods, and Holm within a family.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from iadsr.cli import ARCHIVE
from iadsr.core import columns as c
from iadsr.evaluation.archive import read_archive
from iadsr.evaluation.metrics import hit_rate, ndcg
from iadsr.evaluation.runs import Run
from iadsr.formats.tables import write_csv
from iadsr.statistics.compare import SIGNIFICANCE
from iadsr.statistics.crossed import RunSpread, compare_crossed, holm, pool_runs

Floats = NDArray[np.float64]

OUT = Path(__file__).parents[1] / "report" / "reliability.csv"
METRICS = ("HR@5", "NDCG@5")
SEEDS = (2, 3, 5, 10)
SEED_SDS = (0.0, 0.004, 0.008)  # of the difference between two methods' hit rates
GAINS = (0.1, 0.246, 0.363)  # of IADSR over all others
GRIDS, GRIDS_WITH_GAIN = 1000, 500
METHODS, BACKBONES = 4, 3  # IADSR first, the baseline second
PAIRS = ((0, 1), (2, 1), (3, 1), (0, 2), (0, 3))  # as the default run file compares them
_AT_ONCE = 100
_QUANTILES = 20_001


@dataclass(frozen=True)
class Tastes:
    """What the simulated users are like.

    Attributes:
        users: how many.
        mean: their mean probability of a hit.
        variance: that of the probability over users.
        shared: the share of users who like the same whatever ranks for them.
        by_backbone: the share of those who like the same under all methods of a backbone.
        worth: NDCG@5 of each archived hit.
    """

    users: int
    mean: float
    variance: float
    shared: float
    by_backbone: float
    worth: Floats


def fit_tastes(ranks: Floats) -> Tastes:
    """Fit tastes to ranks (backbones, methods, seeds, users) by the moments of hits in runs of different seeds."""
    hits = hit_rate(ranks, 5)
    backbones, methods, seeds, users = hits.shape
    flat = hits.reshape(-1, users)
    moments = np.cov(flat)
    b, m, s = (part.ravel() for part in np.indices((backbones, methods, seeds)))

    def same(of: NDArray[np.int64]) -> NDArray[np.bool_]:
        return of[:, None] == of[None]

    other_seed = ~same(s)
    own, of_backbone, of_all = (
        float(moments[other_seed & chosen].mean()) for chosen in (same(b) & same(m), same(b) & ~same(m), ~same(b))
    )
    worth = ndcg(ranks, 5)[hits > 0]
    return Tastes(users, float(hits.mean()), own, of_all / own, (of_backbone - of_all) / own, worth)


def archived_ranks(folder: Path = ARCHIVE) -> Floats:
    """Read the ranks of the default grid's runs under `strong`, (backbones, methods, seeds, users)."""
    methods = ("iadsr", "none", "random_mask", "aux_only")
    runs = {
        run.address[2:]: run
        for run in read_archive(folder, ["movielens-100k"])
        if run.address.protocol == "strong" and run.address.method in methods
    }
    sides = [sorted({key[part] for key in runs}) for part in range(3)]
    ranks = np.stack([_ranks_of(runs[key]) for key in itertools.product(*sides)])
    return ranks.reshape(*map(len, sides), -1)


def _ranks_of(run: Run) -> Floats:
    ranks = run.ranks((c.USER, c.TARGET, *map(c.rank_column, c.RANKINGS))).sort_values(c.USER)
    values: Floats = ranks[c.rank_column("excluded")].to_numpy(np.float64)
    return values


def draw_grids(
    rng: np.random.Generator,
    tastes: Tastes,
    grids: int,
    seeds: int,
    seed_sd: float,
    gain: float,
    uneven: float = 1.0,
    together: float = 0.0,
) -> dict[str, Floats]:
    """Draw metrics of simulated grids, each (METHODS, grids, BACKBONES, seeds, users).

    The runs of the first method vary `uneven` times as much with their seed as those of the others. What a method's
    seed does with one backbone has the correlation `together` with what it does with another.
    """
    shape = (METHODS, grids, BACKBONES, 1, tastes.users)
    kind, of_all = rng.random((2, 1, grids, 1, 1, tastes.users))
    of_backbone, own = rng.random((1, *shape[1:])), rng.random(shape)
    alike = np.where(kind < tastes.shared + tastes.by_backbone, of_backbone, own)
    place = np.where(kind < tastes.shared, of_all, alike)  # of a user among all
    taste = _taste(place, tastes, tastes.mean)
    if gain:
        taste[0] = _taste(place[0], tastes, tastes.mean * (1 + gain))
    run_sd = seed_sd / np.sqrt(2) / tastes.mean
    moved = rng.normal(1, run_sd, (METHODS, grids, BACKBONES, seeds, 1))
    common = rng.normal(1, run_sd, (METHODS, grids, 1, seeds, 1))
    moved = 1 + np.sqrt(1 - together) * (moved - 1) + np.sqrt(together) * (common - 1)
    moved[0] = 1 + uneven * (moved[0] - 1)
    hits = rng.random((METHODS, grids, BACKBONES, seeds, tastes.users)) < taste * moved
    worth = np.zeros(hits.shape)
    worth[hits] = rng.choice(tastes.worth, int(hits.sum()))
    return {"HR@5": hits.astype(np.float64), "NDCG@5": worth}


def _taste(place: Floats, tastes: Tastes, mean: float) -> Floats:
    """Return the quantiles of a Beta distribution with this mean, as wide for its mean as the tastes'."""
    size = tastes.mean * (1 - tastes.mean) / tastes.variance - 1
    steps = np.linspace(0, 1, _QUANTILES)
    middles = (steps[:-1] + steps[1:]) / 2
    values: Floats = stats.beta.ppf(middles, mean * size, (1 - mean) * size)[(place * (_QUANTILES - 1)).astype(int)]
    return values


def judge_grids(values: Floats, gain: float) -> dict[str, NDArray[np.bool_]]:
    """Judge every grid as the page does, in one metric (METHODS, grids, BACKBONES, seeds, users).

    Returns:
        `covered`, `alone` and `found`, (grids, pairs, backbones): the interval of the gain holds the true one, p and
        adjusted p below 5 %; with `_mean` the same of the mean over backbones, (grids, pairs, 1).
    """
    found: dict[str, NDArray[np.bool_]] = {}
    spreads = [pool_runs(values[:, :, at]) for at in range(values.shape[2])]  # of each backbone, the fields (grids,)
    averages = values.mean(axis=2, keepdims=True)
    for name, side, spread in (("", values, _in_turn(spreads)), ("_mean", averages, pool_runs(averages[:, :, 0]))):
        _, grids, backbones, seeds, users = side.shape
        pairs = [
            compare_crossed(*(side[at].reshape(-1, seeds, users) for at in pair), (spread, spread)) for pair in PAIRS
        ]
        truth = [gain if 0 in pair else 0.0 for pair in PAIRS]
        within = [(one.gain_low <= true) & (true <= one.gain_high) for one, true in zip(pairs, truth, strict=True)]
        covered, p = (
            np.stack(part, 1)
            for part in (
                [one.reshape(grids, backbones) for one in within],
                [one.p.reshape(grids, backbones) for one in pairs],
            )
        )
        adjusted = np.array([holm(one.ravel()) for one in p]).reshape(p.shape)
        found |= {f"covered{name}": covered, f"alone{name}": p < SIGNIFICANCE, f"found{name}": adjusted < SIGNIFICANCE}
    return found


def _in_turn(spreads: Sequence[RunSpread]) -> RunSpread:
    """Set the spreads of backbones side by side, (grids x backbones,), as the metrics axis of a comparison has them."""
    fields = ("square", "excess", "p_even")
    parts = {name: np.stack([getattr(one, name) for one in spreads], axis=1).ravel() for name in fields}
    return replace(spreads[0], **parts)


def study(
    tastes: Tastes, seeds: int, seed_sd: float, gain: float, grids: int, uneven: float = 1.0, together: float = 0.0
) -> dict[str, dict[str, float]]:
    """Simulate and judge so many grids; each metric's shares. The same arguments give the same numbers."""
    rng = np.random.default_rng([seeds, round(seed_sd * 1e4), round(gain * 1e4)])
    judged: dict[str, list[dict[str, NDArray[np.bool_]]]] = {metric: [] for metric in METRICS}
    for start in range(0, grids, _AT_ONCE):
        drawn = draw_grids(rng, tastes, min(_AT_ONCE, grids - start), seeds, seed_sd, gain, uneven, together)
        for metric, values in drawn.items():
            judged[metric].append(judge_grids(values, gain))
    return {metric: _shares(parts, gain) for metric, parts in judged.items()}


def _shares(parts: Sequence[dict[str, NDArray[np.bool_]]], gain: float) -> dict[str, float]:
    all_of = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    shares = {}
    for name in ("", "_mean"):
        if gain:  # of IADSR over the baseline
            shares[f"power_{gain:g}{name}"] = float(all_of[f"found{name}"][:, 0].mean())
            shares[f"coverage_{gain:g}{name}"] = float(all_of[f"covered{name}"][:, 0].mean())
            continue
        shares[f"coverage{name}"] = float(all_of[f"covered{name}"].mean())
        shares[f"false{name}"] = float(all_of[f"alone{name}"].mean())
        shares[f"false_family{name}"] = float(all_of[f"found{name}"].any(axis=(1, 2)).mean())
    return shares


def rows(tastes: Tastes, settings: Iterable[tuple[int, float]]) -> Iterator[dict[str, Any]]:
    """Yield one row per setting and metric."""
    for seeds, seed_sd in settings:
        parts = [study(tastes, seeds, seed_sd, 0.0, GRIDS)]
        parts += [study(tastes, seeds, seed_sd, gain, GRIDS_WITH_GAIN) for gain in GAINS]
        for metric in METRICS:
            numbers = {name: value for part in parts for name, value in part[metric].items()}
            yield {c.METRIC: metric, "seeds": seeds, "seed_sd": seed_sd, **numbers}


def main(out: Path = OUT) -> None:
    """Simulate every setting, and write the table."""
    tastes = fit_tastes(archived_ranks())
    settings = list(itertools.product(SEEDS, SEED_SDS))
    shown = tqdm(settings, desc="settings", disable=not sys.stderr.isatty())
    table = pd.DataFrame(rows(tastes, shown)).sort_values(["metric", "seeds", "seed_sd"])
    write_csv(out, table)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
