"""Sequences and samples on the device, and batches gathered there by index."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from iadsr.config.cell import Cell
from iadsr.methods.method import Batch
from iadsr.sequences.samples import Samples, ranges
from iadsr.sequences.split import Ints, Sequences


@dataclass(frozen=True)
class Step:
    """A training batch.

    Attributes:
        batch: the inputs.
        slots: (B, T) where each position's mask is kept across epochs; 0 at padding.
        positions: (B, T) where each input stands among all interactions; 0 at padding.
        supervised: (M,) flat places in (B, T) whose states predict a training target.
        targets: (M,) target items.
    """

    batch: Batch
    slots: Tensor
    positions: Tensor
    supervised: Tensor
    targets: Tensor


def left_padding(cell: Cell) -> int | None:
    """The length to which inputs are padded on the left, for the release's networks; None: on the right as needed."""
    return cell.settings.max_length if cell.settings.networks == "released" else None


def texts_on(sequences: Sequences, device: torch.device) -> Tensor | None:
    """(N,) the text row of each interaction on the device; None where it is the interaction's item."""
    return None if sequences.texts is None else torch.as_tensor(sequences.texts, device=device).long()


def gather(
    items: Tensor, samples: Samples, chosen: Ints, left: int | None = None, texts: Tensor | None = None
) -> tuple[Batch, Tensor]:
    """Inputs of the chosen samples and their (B, T) flat positions.

    Every index that depends on the lengths is computed on the host: a GPU never waits to learn a shape.

    Args:
        items: (N,) all interactions, on the device.
        left: None pads on the right to the longest sample; a number pads on the left to that many positions, as the
            release does.
        texts: (N,) the text row of each interaction, or None: its item.
    """
    length = samples.length[chosen]
    time = int(length.max()) if left is None else left
    before = np.zeros_like(length) if left is None else left - length
    start, first, last, lengths, inside, users = (
        torch.as_tensor(array, device=items.device)
        for array in (
            samples.start[chosen] - before,
            before,
            before + length,
            length if left is None else np.full_like(length, left),
            ranges(np.arange(len(chosen)) * time + before, length),
            samples.user[chosen],
        )
    )
    steps = torch.arange(time, device=items.device)
    valid = (steps >= first.unsqueeze(1)) & (steps < last.unsqueeze(1))
    positions = (start.unsqueeze(1) + steps) * valid  # padding points at the first interaction, and is zeroed below
    rows = None if texts is None else texts[positions] * valid
    return Batch(items[positions] * valid, lengths, valid, inside, users, rows), positions


def training_step(
    items: Tensor,
    samples: Samples,
    chosen: Ints,
    left: int | None = None,
    mispair: bool = False,
    texts: Tensor | None = None,
    tell_target: bool = False,
) -> Step:
    """Inputs, mask slots and targets of the chosen samples.

    Args:
        left, texts: see `gather`.
        mispair: fill in the pairing of the release (R5).
        tell_target: fill in the text row of each sample's target (R11).
    """
    batch, positions = gather(items, samples, chosen, left, texts)
    slot = torch.as_tensor(samples.slot[chosen], device=items.device)
    supervised = batch.inside
    if samples.every_position and samples.supervising is not None:
        useful = samples.supervising[ranges(samples.start[chosen], samples.length[chosen])]
        supervised = supervised[torch.as_tensor(np.flatnonzero(useful), device=items.device)]
    elif not samples.every_position:
        ends = np.arange(len(chosen)) * batch.items.shape[1] + (samples.length[chosen] if left is None else left) - 1
        supervised = torch.as_tensor(ends, device=items.device)
    targets = items[positions.flatten()[supervised] + 1]
    place = torch.as_tensor(ranges(np.zeros(len(chosen), np.int64), samples.length[chosen]), device=items.device)
    rows = batch.inside // batch.items.shape[1]
    slots = torch.zeros_like(batch.items).flatten()
    slots[batch.inside] = slot[rows] + place
    rows_of = items if texts is None else texts
    if mispair:
        batch = replace(batch, **_mispaired(rows_of, samples, chosen, batch))
    if tell_target:
        target = torch.as_tensor(samples.start[chosen] + samples.length[chosen], device=items.device)
        batch = replace(batch, target_text=rows_of[target])
    return Step(batch, slots.view_as(batch.items), positions, supervised, targets)


def _mispaired(texts: Tensor, samples: Samples, chosen: Ints, batch: Batch) -> dict[str, Tensor]:
    """Whose text the release takes for each position (R5).

    It strings together the texts of every user's *whole* history, the states of the last inputs alone, and cuts the
    texts' beginning off until both are equally long. States and texts are then aligned place by place; a user is judged
    by the end of the stretch of the cut string that begins where the inputs of the users before end, and is as long as
    the whole history. Where no history is longer than the input, every position gets its own text.
    """
    length = samples.length[chosen]
    ends = samples.start[chosen] + length
    whole = ends - samples.first[chosen]
    total = int(length.sum())
    string = ranges(samples.first[chosen], whole)[-total:]
    begin = np.concatenate(([0], np.cumsum(length)[:-1]))
    stretch = ranges(np.minimum(begin + whole, total) - length, length)
    positions = torch.as_tensor(np.stack((string, string[stretch])), device=texts.device)
    paired, by_place = texts[positions]
    judged = torch.zeros_like(batch.items).flatten()
    judged[batch.inside] = by_place
    return {"paired": paired, "judged": judged.view_as(batch.items)}
