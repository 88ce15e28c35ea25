"""The protocol of methods. The base class is the method `none`: the backbone alone.

A method gets the item table and the backbone with each batch, so that `none` and a denoiser with nothing to drop run
the same computation on the same random stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from iadsr.core.errors import IadsrError
from iadsr.methods.cutoff import Cutoff

Asked = Literal["following", "history", "noisy"]


class Untrainable(IadsrError):
    """The method, as configured, cannot train. The run is recorded as diverged."""


@dataclass(frozen=True)
class Batch:
    """Inputs of B samples, padded on the right, or on the left for the released networks.

    Attributes:
        items: (B, T) item indices, 0 where padded.
        lengths: (B,) positions that the network encodes. All T with padding on the left, which the released networks
            do not mask.
        valid: (B, T) True where not padded.
        inside: (N,) flat indices in (B, T) of the N positions that are not padded.
        users: (B,) user indices.
        texts: (B, T) text-table row of each position, or None: the row of its item.
        noisy: (B, T) True where an input is known noise; None where none is known, and for every method that does not
            ask for it: one that does is no method, but a bound for them.
    """

    items: Tensor
    lengths: Tensor
    valid: Tensor
    inside: Tensor
    users: Tensor
    texts: Tensor | None = None
    noisy: Tensor | None = None

    @property
    def text_rows(self) -> Tensor:
        """(B, T) text-table row of each position."""
        return self.items if self.texts is None else self.texts

    def select(self, rows: Tensor) -> Batch:
        """Select the rows where `rows` (B,) is True, without texts."""
        valid = self.valid[rows]
        return Batch(
            self.items[rows], self.lengths[rows], valid, valid.flatten().nonzero().squeeze(1), self.users[rows]
        )


class History(NamedTuple):
    """Everything before each row's target, however long.

    Attributes:
        texts: (H,) text-table rows, one history after another.
        counts: (B,) interactions of each history, on the host.
        inputs: (B,) how many of them, the last ones, are inputs of the batch; on the host.
    """

    texts: Tensor
    counts: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingBatch(Batch):
    """Inputs of B training samples, and the parts of the data that the method `asks_for`; the others are None.

    Scoring has none of these: `Method.denoise` gets a `Batch`.

    Attributes:
        following: (B, T) the item after each input; after the last one, the sample's target.
        following_texts: (B, T) its text-table row.
        history: see `History`.
    """

    following: Tensor | None = None
    following_texts: Tensor | None = None
    history: History | None = None


@dataclass(frozen=True)
class Encoded:
    """States of a batch, and the method's decisions.

    Attributes:
        states: (B, T, W) states; the one at t scores the item after position t. In training also None: then `losses`
            holds the method's own `recommendation`.
        losses: weighted auxiliary terms, by any other name.
        keep: (B, T) 1 where an input is kept and 0 where it is dropped, something between if the mask is soft, or None
            if the method drops nothing.
        gate: (B, T) 1 where the gate lets the method act, or None if it has no gate.
        score: (B, T) evidence that an input is wanted, low for noise, or None.
        mask: the mask with its gradient, of any shape, or None.
        traced: further figures for curve.csv, by names that no column of `iadsr.training.curve.Epoch` has.
    """

    states: Tensor | None
    losses: dict[str, Tensor] = field(default_factory=dict)
    keep: Tensor | None = None
    gate: Tensor | None = None
    score: Tensor | None = None
    mask: Tensor | None = None
    traced: dict[str, Tensor] = field(default_factory=dict)


class Histories(NamedTuple):
    """Interactions of all users in training, with injected ones.

    Attributes:
        items: (N,) user by user, in time order.
        offsets: (U + 1,) user u owns `items[offsets[u]:offsets[u + 1]]`.
    """

    items: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]


@dataclass(frozen=True)
class MethodInputs:
    """Sizes and data from which a method is built.

    Attributes:
        n_items: items 1..n_items; 0 pads.
        n_users: users 0..n_users - 1.
        dimension: width of item embeddings.
        width: width of states.
        max_length: most positions of a batch.
        text: (rows + 1, E) text embeddings with a zero row 0 for padding, or None. A row per item, or per joined text
            where `Sequences.texts` names the row of an interaction.
        keep_rates: keep rate of the matched run's inputs in each training epoch, for controls.
        test_keep_rate: keep rate of the matched run at test time.
        histories: those before each user's two held-out items.
        input_histories: those before each user's last training target, the only one under objective `last`.
        dropout: the setting, for a network of the method's own.
    """

    n_items: int
    n_users: int
    dimension: int
    width: int
    max_length: int
    text: Tensor | None = None
    keep_rates: npt.NDArray[np.float64] | None = None
    test_keep_rate: float = 1.0
    histories: Histories | None = None
    input_histories: Histories | None = None
    dropout: float = 0.0


class Method(nn.Module):
    """The backbone alone, and the interface of every method."""

    has_mask = False  # implements `sample_mask`
    remembers = False  # `Encoded.keep` of one epoch is passed as `keep` in the next
    asks_for: frozenset[Asked] = frozenset()  # fields of `TrainingBatch` (`noisy`: of `Batch`) to fill
    cutoff: Cutoff | None = None  # the option `MethodOptions.cutoff`, if the method has one

    def begin_epoch(self, epoch: int) -> None:
        """Prepare for an epoch: called before each, counted from 1, and at the end with that of the best weights."""

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """Compute a training step's states and auxiliary losses.

        Args:
            table: item indices to embeddings.
            backbone: see `iadsr.models.backbone.Backbone`.
            batch: the inputs.
            keep: (B, T) masks of the previous epoch on these inputs, for a method that `remembers`; else ones.
            noise: the method's random stream; dropout has another one.
        """
        return Encoded(backbone(table(batch.items), batch.lengths, batch.users))

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """Encode inputs for scoring: no target, no auxiliary loss, no sampling that a method can do without."""
        return Encoded(backbone(table(batch.items), batch.lengths, batch.users))

    def weigh_targets(self, encoded: Encoded, losses: Callable[[], Tensor], supervised: Tensor) -> Tensor | None:
        """Weigh a training step's targets in the recommendation loss: (M,) >= 0, or None for equal weights.

        Args:
            encoded: the result of `forward`, to which figures may be added in `traced`.
            losses: computes each target's cross-entropy (M,), without gradient.
            supervised: (M,) flat indices in (B, T) of the states that predict the targets.
        """
        return None

    def sample_mask(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Tensor:
        """Draw a mask (B, T) as in training, for inputs of any stage; needs `has_mask`."""
        raise NotImplementedError
