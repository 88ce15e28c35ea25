"""Interactions on the device, and the batches gathered from them by index."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from iadsr.config.cell import Cell
from iadsr.methods.method import Asked, Batch, History, TrainingBatch
from iadsr.sequences.samples import Samples, ranges
from iadsr.sequences.split import Ints, Sequences


@dataclass(frozen=True)
class Step:
    """A training batch and its targets.

    Attributes:
        batch: the inputs.
        slots: (B, T) index of each position in the array of remembered masks; 0 at padding.
        positions: (B, T) index of each input among all interactions; 0 at padding.
        supervised: (M,) flat indices in (B, T) of the states that predict a training target.
        targets: (M,) target items.
    """

    batch: TrainingBatch
    slots: Tensor
    positions: Tensor
    supervised: Tensor
    targets: Tensor


def left_padding(cell: Cell) -> int | None:
    """Return the length to which released networks' inputs are padded on the left; None: on the right, as needed."""
    return cell.settings.max_length if cell.settings.networks == "released" else None


class Feed:
    """Makes batches on the device.

    Every index that depends on lengths is computed on the host, so that a GPU is never waited for.

    Attributes:
        items: (N,) all interactions.
        texts: (N,) text-table row of each interaction, or None: the row of its item.
        noise: (N,) flags of known noise, or None.
    """

    def __init__(self, sequences: Sequences, device: torch.device, left: int | None = None) -> None:
        self.sequences, self.device, self.left = sequences, device, left
        self.items = torch.as_tensor(sequences.items, device=device).long()
        self.texts = None if sequences.texts is None else torch.as_tensor(sequences.texts, device=device).long()
        self.noise = None if sequences.noise is None else torch.as_tensor(sequences.noise, device=device)

    def gather(self, samples: Samples, chosen: Ints, asks_for: frozenset[Asked] = frozenset()) -> tuple[Batch, Tensor]:
        """Gather the inputs of the chosen samples, and their indices (B, T) among all interactions, 0 at padding."""
        length, left = samples.length[chosen], self.left
        time = int(length.max()) if left is None else left
        before = np.zeros_like(length) if left is None else left - length
        start, first, last, lengths, inside, users = (
            self._on_device(array)
            for array in (
                samples.start[chosen] - before,
                before,
                before + length,
                length if left is None else np.full_like(length, left),
                ranges(np.arange(len(chosen)) * time + before, length),
                samples.user[chosen],
            )
        )
        steps = torch.arange(time, device=self.device)
        valid = (steps >= first.unsqueeze(1)) & (steps < last.unsqueeze(1))
        positions = (start.unsqueeze(1) + steps) * valid  # padding points at the first interaction, and is zeroed below
        texts = None if self.texts is None else self.texts[positions] * valid
        noisy = self.noise[positions] & valid if self.noise is not None and "noisy" in asks_for else None
        return Batch(self.items[positions] * valid, lengths, valid, inside, users, texts, noisy), positions

    def step(self, samples: Samples, chosen: Ints, asks_for: frozenset[Asked] = frozenset()) -> Step:
        """Make a training step of the chosen samples, with the parts of the data that a method `asks_for`."""
        batch, positions = self.gather(samples, chosen, asks_for)
        length, time = samples.length[chosen], batch.items.shape[1]
        supervised = batch.inside
        if samples.every_position and samples.supervising is not None:
            useful = samples.supervising[ranges(samples.start[chosen], length)]
            supervised = supervised[self._on_device(np.flatnonzero(useful))]
        elif not samples.every_position:
            ends = np.arange(len(chosen)) * time + (length if self.left is None else self.left) - 1
            supervised = self._on_device(ends)
        targets = self.items[positions.flatten()[supervised] + 1]
        slots = torch.zeros_like(batch.items).flatten()
        slots[batch.inside] = self._on_device(ranges(samples.slot[chosen], length))
        told = TrainingBatch(**vars(batch))
        if "following" in asks_for:
            following, texts = (every[positions + 1] * batch.valid for every in (self.items, self._text_rows))
            told = replace(told, following=following, following_texts=texts)
        if "history" in asks_for:
            counts = samples.start[chosen] + length - samples.first[chosen]
            history = self._text_rows[self._on_device(ranges(samples.first[chosen], counts))]
            told = replace(told, history=History(history, counts, length))
        return Step(told, slots.view_as(batch.items), positions, supervised, targets)

    @property
    def _text_rows(self) -> Tensor:
        return self.items if self.texts is None else self.texts

    def _on_device(self, array: Ints) -> Tensor:
        return torch.as_tensor(array, device=self.device)
