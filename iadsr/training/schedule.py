"""Schedule of a run: its epochs, the validated ones among them, and the learning rate."""

from __future__ import annotations

import math

from iadsr.config.settings import Settings
from iadsr.core.seeding import generator
from iadsr.sequences.samples import training_samples
from iadsr.sequences.split import Sequences


def epochs_of(settings: Settings, sequences: Sequences) -> int:
    """Convert the budget of steps to whole epochs, rounded up, at least one and at most `max_epochs`.

    Under objective `all` the number of windows varies between epochs. One fixed draw counts, so that every seed
    trains equally long.
    """
    samples = training_samples(sequences, settings.objective, settings.max_length, generator(0, "budget"))
    in_epoch = max(1, math.ceil(len(samples) / settings.batch_size))
    epochs = max(1, math.ceil(settings.steps * settings.budget / in_epoch))
    return epochs if settings.max_epochs is None else min(epochs, settings.max_epochs)


def validated_epochs(epochs: int, validations: int) -> frozenset[int]:
    """Choose at most `validations` of the epochs 1..`epochs`, evenly spaced; the last is always among them."""
    count = min(epochs, validations)
    return frozenset(math.ceil(epochs * number / count) for number in range(1, count + 1))


def rate_factor(settings: Settings, progress: float) -> float:
    """Compute the learning rate's factor after a share `progress` of all steps: linear warm-up, then annealing."""
    if progress < settings.warmup:
        return progress / settings.warmup
    rest = (progress - settings.warmup) / (1 - settings.warmup)
    if settings.schedule == "cosine":
        return (1 + math.cos(math.pi * rest)) / 2
    return 1 - rest if settings.schedule == "linear" else 1.0
