"""A batch's indices against loops over samples and positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iadsr.core.config import Objective
from iadsr.sequences.samples import training_samples
from iadsr.training.data import training_step
from tests.helpers import small_sequences


@pytest.mark.parametrize("objective", ["last", "prefix", "all"])
def test_a_step_is_what_the_loops_say(objective: Objective) -> None:
    sequences = small_sequences()
    samples = training_samples(sequences, objective, 6, np.random.default_rng(0))
    chosen = np.array([3, 0, len(samples) - 1])
    step = training_step(torch.as_tensor(sequences.items).long(), samples, chosen)
    width = int(samples.length[chosen].max())
    assert step.batch.items.shape == (3, width)
    inside, supervised, targets = [], [], []
    for row, sample in enumerate(chosen):
        start, length = int(samples.start[sample]), int(samples.length[sample])
        for t in range(width):
            assert step.batch.items[row, t] == (sequences.items[start + t] if t < length else 0)
            assert step.batch.valid[row, t] == (t < length)
            if t < length:
                assert step.slots[row, t] == samples.slot[sample] + t
                inside.append(row * width + t)
            if t == length - 1 or (t < length and objective == "all"):
                supervised.append(row * width + t)
                targets.append(int(sequences.items[start + t + 1]))
    assert step.batch.lengths.tolist() == samples.length[chosen].tolist()
    assert step.batch.inside.tolist() == inside
    assert step.supervised.tolist() == supervised
    assert step.targets.tolist() == targets
