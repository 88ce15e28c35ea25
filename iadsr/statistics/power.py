"""Forecasts, from the runs of a pilot, which gains other numbers of seeds would find, and how many seeds are needed.

The numbers are those of a test at 5 % by itself: in a family (Holm) a gain must be larger. They hold for the pilot's
users and settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from iadsr.core import columns as c
from iadsr.statistics import crossed
from iadsr.statistics.compare import (
    BACKBONES,
    METHOD,
    Comparison,
    Pair,
    Scores,
    group_by_side,
    pair_up,
    plan_comparisons,
    pool_spreads,
    same_tests,
    tested,
)
from iadsr.statistics.grids import Grid

Floats = NDArray[np.float64]

COLUMNS = (
    c.DATASET, c.PROTOCOL, c.BACKBONE, c.METHOD, "baseline", c.RANKING, c.METRIC, "users", "pilot_seeds", "status",
    "gain", "now", "floor", "sought", "needed", "needed_at_worst", "seeds", "detectable", "at_worst",
)  # fmt: skip


def forecast(
    grid: Grid,
    scores: Iterable[Scores],
    seeds: Sequence[int],
    metrics: Sequence[str],
    sought: float,
    each: bool = False,
) -> pd.DataFrame:
    """Forecast what gains an experiment's pairs would show with other numbers of seeds, under the headline ranking.

    Pairs are averaged over backbones where there are several. One row per pair, metric and number of `seeds`. Columns:
    `gain` and `now`, the gain that the pilot's `pilot_seeds` would probably have found; `detectable`, what `seeds`
    would, and `at_worst`, if seeds vary as much as the pilot allows; `floor`, with any number of seeds; `needed` and
    `needed_at_worst`, how many show the gain `sought`, missing if `crossed.MOST` do not. From one seed follows `now`
    alone.

    Args:
        scores: of the pilot's runs; runs outside of the grid do not count.
        sought: a relative gain that a comparison should be able to find.
        each: every backbone by itself, too.

    Raises:
        DataError: two runs do not rank the same targets for the same users.
    """
    cells = set(grid.cells)
    by_side = group_by_side(run for run in scores if run.address in cells)
    spreads = pool_spreads(by_side)
    planned = plan_comparisons(grid)
    pooled = {_place(one) for one in planned if one.kind == BACKBONES}
    wanted = [
        one for one in planned if one.kind == BACKBONES or (one.kind == METHOD and (each or _place(one) not in pooled))
    ]
    same = same_tests(wanted, by_side, [cell.method for cell in grid.cells])
    rows: list[dict[str, Any]] = []
    for comparison in wanted:
        side, ranking, twin = comparison.side, grid.headline(comparison.side.protocol), same.get(comparison)
        pair = pair_up(comparison, by_side, spreads)
        status = f"the same runs as {twin}" if twin else pair.status
        for metric in metrics:
            head = (*side, comparison.baseline.method, ranking, metric, *pair.method.shape[:0:-1], status)
            found: list[dict[str, Any]] = [{"seeds": number} for number in seeds]
            if pair.method.size and not twin:
                at = tested().index((ranking, metric))
                found = _forecast(pair, at, seeds, sought)
            rows.extend({**dict(zip(COLUMNS, head, strict=False)), "sought": sought, **numbers} for numbers in found)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    whole = dict.fromkeys(("needed", "needed_at_worst"), "Int64")
    return table.astype(dict.fromkeys(("gain", "now", "floor", "sought", "detectable", "at_worst"), "float64") | whole)


def _place(comparison: Comparison) -> tuple[str, ...]:
    side, baseline = comparison[1:]
    return (side.dataset, side.protocol, side.method, baseline.method)


def _forecast(pair: Pair, at: int, seeds: Sequence[int], sought: float) -> list[dict[str, Any]]:
    """Forecast from the metric that stands at `at`: one row per number of `seeds`."""
    method, baseline = pair.method[[at]], pair.baseline[[at]]
    spreads = pair.spreads and (pair.spreads[0].at(at), pair.spreads[1].at(at))
    now = crossed.compare_crossed(method, baseline, spreads)
    some = crossed.forecast_crossed(method, baseline, seeds, spreads)
    needed, at_worst = (
        _whole(crossed.seeds_needed(method, baseline, sought, spreads, at_worst=worst)[0]) for worst in (False, True)
    )
    same = {
        "gain": now.gain[0],
        "now": now.detectable[0],
        "floor": some.floor[0],
        "needed": needed,
        "needed_at_worst": at_worst,
    }
    at_seeds = zip(seeds, some.detectable[:, 0], some.at_worst[:, 0], strict=True)
    return [{**same, "seeds": number, "detectable": usual, "at_worst": worst} for number, usual, worst in at_seeds]


def _whole(number: float) -> int | None:
    return None if np.isnan(number) else int(number)
