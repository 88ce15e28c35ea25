"""One thread, as a training job has; pairs of timings that make a ratio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.workloads import compute_as_a_job

Time = Callable[..., Any]


@pytest.fixture(autouse=True)
def as_in_a_job() -> None:
    """A job of the grid computes on one core, and the same bytes each time."""
    compute_as_a_job()


@pytest.fixture
def timed(benchmark: BenchmarkFixture) -> Time:
    """Time a function as one side of a ratio.

    `pair` names the ratio; `goal` is the most that ours may take of the reference (`limit`), or the least times that it
    must be faster (`speedup`); a pair of kind `seconds` has no reference. `scale` turns a timing into that of an
    epoch; `reference` gives the other side in seconds where it was measured in another process.
    """

    def time(
        function: Callable[[], object],
        pair: str,
        side: Literal["ours", "reference"],
        kind: Literal["limit", "speedup", "seconds"],
        goal: float,
        rounds: int = 20,
        scale: float = 1.0,
        reference: float | None = None,
    ) -> None:
        benchmark.group = pair
        benchmark.extra_info.update(pair=pair, side=side, kind=kind, goal=goal, scale=scale, reference=reference)
        benchmark.pedantic(function, rounds=rounds, iterations=1, warmup_rounds=3 if rounds >= 10 else 0)

    return time
