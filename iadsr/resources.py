"""Estimates what a training run needs on a cluster: time, memory, and which short runs share a submission."""

from __future__ import annotations

import math
from dataclasses import dataclass

from iadsr.config.cell import Cell
from iadsr.config.datasets import DatasetSpec, Size
from iadsr.core.errors import IadsrError

# Runs of at most so many minutes, and how many of them make a submission: it trains them one after another, mostly
# for 30 to 60 minutes. The profiles in workflow/profiles repeat these numbers; a test holds them together.
GROUPS = {1: 45, 2: 30, 4: 15, 8: 7, 15: 4}
ALLOW_DIRTY = "IADSR_ALLOW_DIRTY"

# Seconds on one thread, fitted by eye to the archived runs (MovieLens-100K: 57 to 131 on average per protocol and
# backbone), and for larger catalogues to Beauty's epochs in README's table. Machines differ by a factor of two.
_START = 6.0
_STEP = 0.015
_PRODUCT = 8e-9  # per target and item of a step
_SCORE = 6e-9  # per user and item of a validation
_METHOD = 1.5  # a method's step over the backbone's alone
# MiB: the archived runs took 585 to 830, mostly for imports. Beauty and larger catalogues are a guess: per item a
# vector, its moments in the optimiser, and the vector of its text, which has up to 4,096 numbers.
_IMPORTS = 1200
_ITEM = 0.06


@dataclass(frozen=True)
class Estimate:
    """What a training run takes: `seconds` on one thread, and `memory_mb` at its peak."""

    seconds: float
    memory_mb: int


def dataset_size(spec: DatasetSpec) -> Size:
    """Return a dataset's size as its file states it; one that states none counts as large as Sports."""
    return spec.stated_size or Size(35_598, 18_357, 296_337)


def estimate_run(cell: Cell, size: Size) -> Estimate:
    """Estimate a training run's time and memory from its budget of steps and the size of its dataset."""
    settings = cell.settings
    history = min(settings.max_length, size.interactions / size.users)
    samples = settings.estimated_samples(size)
    in_epoch = max(1, math.ceil(samples / settings.batch_size))
    epochs = settings.epochs(samples)
    targets = min(settings.batch_size, samples) * (history if settings.objective == "all" else 1)
    step = _STEP + _PRODUCT * targets * size.items
    training = epochs * in_epoch * step * (1 if cell.kind == "none" else _METHOD) * (2 if cell.warm_start else 1)
    scoring = _SCORE * size.users * size.items * (min(epochs, settings.validations) + 2)
    return Estimate(_START + training + scoring, math.ceil(_IMPORTS + _ITEM * size.items))


def time_limit(seconds: float, attempt: int) -> int:
    """Return the minutes to ask for: three times the estimate, since machines differ, and more after a failure."""
    return math.ceil(3 * seconds / 60) * attempt


def group_of(seconds: float) -> str | None:
    """Name the group whose runs share submissions with one that takes `seconds`; None for a long run."""
    minutes = next((limit for limit in GROUPS if seconds <= 60 * limit), None)
    return None if minutes is None else f"runs_{minutes}min"


def group_components() -> dict[str, int]:
    """Return the number of runs per submission of each group, as Snakemake's option `--group-components`."""
    return {str(group_of(60 * limit)): count for limit, count in GROUPS.items()}


def check_checkout(state: dict[str, object], allowed: str | None) -> None:
    """Refuse to submit jobs from a checkout with changes that no commit holds.

    A job reads the code when it starts, perhaps hours after an edit, and its record can name only a commit.

    Args:
        state: what `provenance.commit` returns; `dirty` is None where there is no git to ask.
        allowed: the environment's value of `ALLOW_DIRTY`.

    Raises:
        IadsrError: there are such changes, and nobody allowed them.
    """
    if state["dirty"] and allowed != "1":
        raise IadsrError(
            "the checkout has uncommitted changes, and jobs of a cluster read it whenever they start: commit or stash "
            f"them, or set {ALLOW_DIRTY}=1"
        )
