"""Departures of the authors' release from the paper, each a subclass of IADSR that overrides one step.

R8 (bounded scores), R9 (padding can be recommended) and R10 (early stopping on the training loss) are training
settings; `IADSROptions` changes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from iadsr.methods.iadsr import IADSR, Interests, Texts
from iadsr.methods.masks import gumbel_noise
from iadsr.methods.method import Asked, Batch, Encoded, History, TrainingBatch, Untrainable


class R1(IADSR):
    """The mask never reaches the recommendation."""

    remembers = False

    def incoming_mask(self, keep: Tensor, batch: Batch, noise: torch.Generator) -> Tensor:
        """Keep everything."""
        return torch.ones_like(keep)


class R2(IADSR):
    """No denoising at test time."""

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """Encode every input; gate and score are computed, but drop nothing."""
        embedded: Tensor = table(batch.items)
        states = backbone(embedded, batch.lengths, batch.users)
        gate, score = self.judge(self.interests(backbone, embedded, states, batch), batch)
        return Encoded(states, {}, torch.ones_like(score), gate.expand_as(score), score)


class R3(IADSR):
    """The gate is always open."""

    def passes(self, agreement: Tensor) -> Tensor:
        """Pass every sequence."""
        return torch.ones_like(agreement, dtype=torch.bool)


class R4(IADSR):
    """One Gumbel sample instead of the difference of two."""

    def draw_noise(self, score: Tensor, noise: torch.Generator) -> Tensor:
        """Draw one Gumbel sample per score."""
        return gumbel_noise(score, noise)


class R5(IADSR):
    """Text and behaviour of different positions are paired in training, once a history is longer than the input."""

    asks_for: frozenset[Asked] = frozenset({"history"})

    def text_rows(self, batch: Batch) -> dict[str, Tensor]:
        """Add the rows that `mispair` finds."""
        rows = super().text_rows(batch)
        if isinstance(batch, TrainingBatch):
            paired, judged = mispair(batch)
            rows |= {"judged": judged.flatten(), "paired": paired}
        return rows

    def semantic_short(self, texts: Texts, batch: Batch) -> Tensor:
        """Judge each position by another one's text."""
        if "judged" not in texts.short:
            return super().semantic_short(texts, batch)
        return texts.short["judged"].view(*batch.items.shape, -1)

    def short_partners(self, interests: Interests, batch: Batch, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Align the `chosen` (M,) positions with the texts of others."""
        return interests.texts.short["paired"][chosen], interests.texts.rows["paired"][chosen]


class R6(IADSR):
    """The reconstruction terms of a batch are added up."""

    def average_rows(self, total: Tensor, counted: Tensor) -> Tensor:
        """Return the sum."""
        return total


class R7(IADSR):
    """Caser has no decoder."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        del self.decode

    def reconstruct(self, kept: Tensor, embedded: Tensor, inside: Tensor) -> Tensor:
        """Raise Untrainable."""
        raise Untrainable("as released, Caser has no decoder: its first step ends in an error (R7)")


class R11(IADSR):
    """In training, the long semantic interest includes the target's text."""

    asks_for: frozenset[Asked] = frozenset({"following"})

    def text_rows(self, batch: Batch) -> dict[str, Tensor]:
        """Add the targets' text-table rows (B,)."""
        rows = super().text_rows(batch)
        if isinstance(batch, TrainingBatch) and batch.following_texts is not None:
            last = torch.arange(len(batch.lengths), device=batch.lengths.device), batch.lengths - 1
            rows["target"] = batch.following_texts[last]
        return rows

    def semantic_long(self, texts: Texts, batch: Batch) -> Tensor:
        """Pool the input's texts and the target's."""
        if "target" not in texts.long:
            return super().semantic_long(texts, batch)
        inputs = texts.long["inputs"].view(*batch.items.shape, -1)
        inside = nn.functional.pad(batch.valid, (0, 1), value=True)
        return self.pool_texts(torch.cat((inputs, texts.long["target"].unsqueeze(1)), dim=1), inside)


def mispair(batch: TrainingBatch) -> tuple[Tensor, Tensor]:
    """Find the text rows that the release pairs with each input (R5).

    It joins the texts of every user's *whole* history, but the states of the inputs alone, and cuts texts off at the
    beginning until both are equally long. The alignment pairs the two index by index. A user's scores read a slice of
    the cut texts: it begins where the inputs of the users before end and is as long as the whole history; its last
    positions, as many as inputs, count. Where no history is longer than the input, each input gets its own text.

    Returns:
        Rows to align with (N,); rows to judge by (B, T), 0 at padding.
    """
    assert batch.history is not None
    texts, whole, inputs = History(*batch.history)
    total = int(inputs.sum())
    begin = np.concatenate(([0], np.cumsum(inputs)[:-1]))
    first = np.minimum(begin + whole, total) - inputs
    stretch = np.repeat(first - begin, inputs) + np.arange(total)
    paired = texts[-total:]
    judged = torch.zeros_like(batch.items).flatten()
    judged[batch.inside] = paired[torch.as_tensor(stretch, device=texts.device)]
    return paired, judged.view_as(batch.items)


DEFECTS: dict[str, type[IADSR]] = {part.__name__: part for part in (R1, R2, R3, R4, R5, R6, R7, R11)}
