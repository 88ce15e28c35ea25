"""Sequences and samples on the device, and batches gathered there by index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from iadsr.methods.method import Batch
from iadsr.sequences.samples import Samples, ranges
from iadsr.sequences.split import Ints


@dataclass(frozen=True)
class Step:
    """A training batch.

    Attributes:
        batch: the inputs.
        slots: (B, T) where each position's mask is kept across epochs; 0 at padding.
        supervised: (M,) flat places in (B, T) whose states predict a training target.
        targets: (M,) target items.
    """

    batch: Batch
    slots: Tensor
    supervised: Tensor
    targets: Tensor


def gather(items: Tensor, samples: Samples, chosen: Ints) -> tuple[Batch, Tensor]:
    """Inputs of the chosen samples and their (B, T) flat positions.

    Every index that depends on the lengths is computed on the host: a GPU never waits to learn a shape.

    Args:
        items: (N,) all interactions, on the device.
    """
    length = samples.length[chosen]
    time = int(length.max())
    start, lengths, inside = (
        torch.as_tensor(array, device=items.device)
        for array in (samples.start[chosen], length, ranges(np.arange(len(chosen)) * time, length))
    )
    steps = torch.arange(time, device=items.device)
    valid = steps < lengths.unsqueeze(1)
    positions = start.unsqueeze(1) + steps * valid  # padding points at a sample's start, and is zeroed below
    return Batch(items[positions] * valid, lengths, valid, inside), positions


def training_step(items: Tensor, samples: Samples, chosen: Ints) -> Step:
    """Inputs, mask slots and targets of the chosen samples."""
    batch, positions = gather(items, samples, chosen)
    slot = torch.as_tensor(samples.slot[chosen], device=items.device)
    steps = torch.arange(batch.items.shape[1], device=items.device)
    ends = torch.arange(len(chosen), device=items.device) * len(steps) + batch.lengths - 1
    supervised = batch.inside if samples.every_position else ends
    targets = items[positions.flatten()[supervised] + 1]
    return Step(batch, slot.unsqueeze(1) + steps * batch.valid, supervised, targets)
