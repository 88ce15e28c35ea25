"""What a method is. The base class is the method `none`: the backbone alone.

A method never owns the backbone: it is handed the item table and the backbone with each batch, so that `none` and a
denoiser with nothing to drop run the very same computation on the same random stream.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from iadsr.core.errors import IadsrError


class Untrainable(IadsrError):
    """The method, as configured, cannot train: an outcome to be recorded, not a fault."""


@dataclass(frozen=True)
class Batch:
    """Inputs of B samples, padded on the right, or on the left as released.

    Attributes:
        items: (B, T) item indices, 0 where padded.
        lengths: (B,) positions that the network takes for inputs: all T where padding stands on the left, since the
            release masks it nowhere.
        valid: (B, T) True where not padded.
        inside: (N,) flat places in (B, T) of the N positions that are not padded.
        users: (B,) user indices.
        texts: (B, T) each position's row in the text table, or None: its item.
        paired: (N,) text rows that the release aligns with each position of `inside` (R5), or None: their own.
        judged: (B, T) text rows that the release judges each position by (R5), or None: their own.
        target_text: (B,) text row of each sample's target (R11). In training alone, and only for a method that
            declares `sees_target`.
    """

    items: Tensor
    lengths: Tensor
    valid: Tensor
    inside: Tensor
    users: Tensor
    texts: Tensor | None = None
    paired: Tensor | None = None
    judged: Tensor | None = None
    target_text: Tensor | None = None

    @property
    def text_rows(self) -> Tensor:
        """(B, T) each position's row in the text table."""
        return self.items if self.texts is None else self.texts

    def select(self, rows: Tensor) -> Batch:
        """The inputs of some rows (B,) alone, as a backbone needs them: without texts."""
        valid = self.valid[rows]
        return Batch(
            self.items[rows], self.lengths[rows], valid, valid.flatten().nonzero().squeeze(1), self.users[rows]
        )


@dataclass(frozen=True)
class Encoded:
    """What a method makes of a batch.

    Attributes:
        states: (B, T, D) states; the one at t scores what follows position t.
        losses: weighted auxiliary terms by name, which is not `recommendation`.
        keep: (B, T) 1 where an input is kept and 0 where it is dropped, something between if the mask is soft, or None
            if the method drops nothing.
        gate: (B, T) 1 where the gate lets the method act, or None if it has no gate.
        score: (B, T) evidence that an input is wanted, low for noise, or None.
        mask: (B, T) the mask with its gradient, or None.
        traced: further figures worth a curve, by a name that no column of `iadsr.training.loop.Epoch` has.
    """

    states: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    keep: Tensor | None = None
    gate: Tensor | None = None
    score: Tensor | None = None
    mask: Tensor | None = None
    traced: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a method may be built from.

    Attributes:
        dimension: width of item embeddings.
        width: width of states.
        text: (rows + 1, E) text embeddings with a zero row 0 for padding, or None. A row per item, or per joined text
            where `Sequences.texts` says which one belongs to an interaction.
        keep_rates: training keep rate of the matched run by epoch, for controls.
        test_keep_rate: keep rate of the matched run at test time.
    """

    dimension: int
    width: int
    text: Tensor | None = None
    keep_rates: np.ndarray[Any, np.dtype[np.float64]] | None = None
    test_keep_rate: float = 1.0


class Method(nn.Module):
    """The backbone alone, and the interface of every method."""

    masks = False  # whether it can say, with `sampled_keep`, what it would drop of any input
    remembers = False  # whether `Encoded.keep` of one epoch is handed back as `keep` in the next
    mispairs = False  # whether it asks for `Batch.paired` and `Batch.judged`
    sees_target = False  # whether it asks for `Batch.target_text`: a defect (R11), never an option of a fair method

    def begin_epoch(self, epoch: int) -> None:
        """Told before each training epoch, counted from 1; after the last, that whose weights are kept."""

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: Batch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """One training step's states and auxiliary losses.

        Args:
            table: item indices to embeddings.
            backbone: see `iadsr.models.backbone.Backbone`.
            batch: the inputs.
            keep: (B, T) what the previous epoch decided for these inputs; ones in the first.
            noise: the method's own random stream, apart from dropout's.
        """
        return Encoded(backbone(table(batch.items), batch.lengths, batch.users))

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """States for scoring: no target, no auxiliary loss, no sampling that a method can do without."""
        return Encoded(backbone(table(batch.items), batch.lengths, batch.users))

    def sampled_keep(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Tensor:
        """(B, T) masks drawn as in training, for inputs that nobody trains on."""
        raise NotImplementedError


def build_method(kind: str, context: Context, options: Mapping[str, Any]) -> Method:
    """The method in module `iadsr.methods.<kind>`, with fresh parameters."""
    method: Method = importlib.import_module(f"iadsr.methods.{kind}").build(context, **options)
    return method
