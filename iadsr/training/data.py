"""Sequences and samples on the device, and batches gathered there by index."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from iadsr.methods.method import Batch
from iadsr.sequences.samples import Samples
from iadsr.sequences.split import Ints


@dataclass(frozen=True)
class Step:
    """A training batch.

    Attributes:
        batch: the inputs.
        slots: (B, T) where each position's mask is kept across epochs; 0 at padding.
        supervised: (B, T) True where the state predicts a training target.
        targets: (M,) target items in the order of `supervised`'s True entries.
    """

    batch: Batch
    slots: Tensor
    supervised: Tensor
    targets: Tensor


def gather(items: Tensor, samples: Samples, chosen: Ints) -> tuple[Batch, Tensor]:
    """Inputs of the chosen samples and their (B, T) flat positions.

    Args:
        items: (N,) all interactions, on the device.
    """
    start = torch.as_tensor(samples.start[chosen], device=items.device)
    lengths = torch.as_tensor(samples.length[chosen], device=items.device)
    steps = torch.arange(int(samples.length[chosen].max()), device=items.device)
    valid = steps < lengths.unsqueeze(1)
    positions = start.unsqueeze(1) + steps * valid  # padding points at a sample's start, and is zeroed below
    return Batch(items[positions] * valid, lengths, valid), positions


def training_step(items: Tensor, samples: Samples, chosen: Ints) -> Step:
    """Inputs, mask slots and targets of the chosen samples."""
    batch, positions = gather(items, samples, chosen)
    slot = torch.as_tensor(samples.slot[chosen], device=items.device)
    steps = torch.arange(batch.items.shape[1], device=items.device)
    supervised = batch.valid if samples.every_position else steps == (batch.lengths - 1).unsqueeze(1)
    return Step(batch, slot.unsqueeze(1) + steps * batch.valid, supervised, items[positions[supervised] + 1])
