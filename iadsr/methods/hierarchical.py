"""HSD (Zhang et al., CIKM 2022), fair: no target in a mask, no chance at test. `ssdrec` builds on it, too.

A user's vector is trained on all inputs of the user's samples, as in the original. Under `prefix` and `all`, where one
sample's input is another one's target, it may so have learned of a target; with `query: last`, no mask reads it.

An input is noise if two levels say so: it does not fit its sequence, and it does not fit its user. What is left moves
up and is encoded by the backbone. Layers are in `hierarchical_layers`, the defects of the authors' release in
`hierarchical_defects`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.methods.hierarchical_layers import (
    Inputs,
    ItemLevel,
    SequenceLevel,
    all_but_largest,
    left_out_share,
    row_errors,
    smallest_rows,
)
from iadsr.methods.hsd_options import HSDOptions
from iadsr.methods.masks import encode_packed, harden, logistic_noise, soft_sample
from iadsr.methods.method import Batch, Encoded, Method, MethodInputs, TrainingBatch
from iadsr.models.backbone import INIT_STD, last_states


class Levels(NamedTuple):
    """(B, T) log-odds, from each level, that an input is noise."""

    sequence: Tensor
    item: Tensor


@dataclass(frozen=True)
class EncodedRows(Encoded):
    """With the rows that train.

    Attributes:
        rows: (B,) True where the recommendation loss counts a row, or None: everywhere.
    """

    rows: Tensor | None = None


class HierarchicalDenoiser(Method):
    """HSD."""

    has_mask = True

    def __init__(self, inputs: MethodInputs, options: HSDOptions) -> None:
        super().__init__()
        self.options, self.n_items = options, inputs.n_items
        self.causal = options.scope == "causal"
        self.left_out = options.curriculum
        width, positions = inputs.dimension, inputs.max_length
        self.users = nn.Embedding(inputs.n_users, width)
        nn.init.normal_(self.users.weight, std=INIT_STD)
        self.sequence_level = SequenceLevel(width, positions, options.sequence_dropout, self.causal)
        self.item_level = ItemLevel(width, positions, options.item_dropout, options.norm)

    def begin_epoch(self, epoch: int) -> None:
        """Set the share that the curriculum leaves out, which goes by epochs as released."""
        self.left_out = left_out_share(self.options.curriculum, self.options.curriculum_epochs, epoch)

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """Draw a mask, and encode what it keeps; see `Method`."""
        embedded: Tensor = table(batch.items)
        inputs = self.read(embedded, batch)
        decoded = self.sequence_level.decode(inputs)
        levels = self.judge(decoded, inputs, inputs, self.query(table, embedded, batch), batch.items.shape[1])
        temperature = self.step_temperature()
        sequence, item = self.sample(levels, temperature, noise)
        mask = self.keep_one(1 - sequence * item * batch.valid, batch.valid, batch.lengths - 1)
        losses, rows = self.losses(table, embedded, inputs, decoded, batch, noise)
        states = encode_packed(backbone, embedded * mask.unsqueeze(-1), mask.detach(), batch)
        traced = {"temperature": temperature, **drop_rates(sequence, item, batch.valid)}
        return EncodedRows(states, losses, mask.detach(), None, score_of(levels).detach(), mask, traced, rows)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """Encode what is not likely noise at both levels; see `Method`."""
        embedded: Tensor = table(batch.items)
        levels = self.levels(table, embedded, batch)
        sequence, item = self.decide(levels, noise)
        keep = self.keep_one(1 - sequence * item * batch.valid, batch.valid, batch.lengths - 1)
        return Encoded(encode_packed(backbone, embedded, keep, batch), keep=keep, score=score_of(levels))

    def sample_mask(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Tensor:
        """See `Method`."""
        sequence, item = self.sample(self.levels(table, table(batch.items), batch), self.temperature, noise)
        return self.keep_one(1 - sequence * item * batch.valid, batch.valid, batch.lengths - 1)

    def weigh_targets(self, encoded: Encoded, losses: Callable[[], Tensor], supervised: Tensor) -> Tensor | None:
        """Leave out the rows that are reconstructed worst (curriculum); see `Method`."""
        assert isinstance(encoded, EncodedRows) and encoded.states is not None
        if encoded.rows is None:
            return None
        encoded.traced["rows_kept"] = encoded.rows.double().mean()
        return encoded.rows[supervised // encoded.states.shape[1]].to(encoded.states.dtype)

    # Levels

    def levels(self, table: nn.Module, embedded: Tensor, batch: Batch) -> Levels:
        """Judge inputs for scoring."""
        inputs = self.read(embedded, batch)
        decoded = self.sequence_level.decode(inputs)
        return self.judge(decoded, inputs, inputs, self.query(table, embedded, batch), batch.items.shape[1])

    def read(self, embedded: Tensor, batch: Batch) -> Inputs:
        """Return what the levels read: the inputs alone."""
        return Inputs(embedded * batch.valid.unsqueeze(-1), batch.valid, batch.valid, batch.lengths)

    def query(self, table: nn.Module, embedded: Tensor, batch: Batch) -> Tensor:
        """Return what the item level compares inputs with: (B, 1, H), or of each position (B, T, H)."""
        if self.options.query == "user":
            users: Tensor = self.users(batch.users)
            return users.unsqueeze(1)
        return embedded if self.causal else last_states(embedded, batch.lengths).unsqueeze(1)

    def judge(self, decoded: Tensor, inputs: Inputs, described: Inputs, query: Tensor, time: int) -> Levels:
        """Compute the log-odds of the class noise against the class wanted at the first `time` positions.

        Args:
            decoded: (B, T, H), reconstructed from `inputs`, what the sequence level reads.
            described: what the item level reads.
            query: (B, 1, H) or (B, T, H).
        """
        scores = self.sequence_level(decoded, inputs)[:, :time], self.item_level(described, query)[:, :time]
        sequence, item = (
            part[..., 1] - part[..., 0]
            for part in (each.sigmoid() if self.options.logits == "sigmoid" else each for each in scores)
        )
        return Levels(sequence, item)

    # Mask

    @property
    def temperature(self) -> Tensor:
        """Return the temperature () of the Gumbel-softmax."""
        return self.users.weight.new_tensor(self.options.temperature)

    def step_temperature(self) -> Tensor:
        """Return the temperature () of a training step, which is counted."""
        return self.temperature

    def sample(self, levels: Levels, temperature: Tensor, noise: torch.Generator) -> Levels:
        """Draw each level's choice (B, T), 1 for noise.

        A Gumbel-softmax over two classes is a Gumbel-sigmoid of their logits' difference, with logistic noise.
        """
        return Levels(*(harden(soft_sample(each, logistic_noise(each, noise), temperature)) for each in levels))

    def decide(self, levels: Levels, noise: torch.Generator) -> Levels:
        """Return each level's choice in scoring (B, T), 1 for noise: the likelier class."""
        return Levels(*((each > 0).to(each.dtype) for each in levels))

    def keep_one(self, mask: Tensor, valid: Tensor, newest: Tensor) -> Tensor:
        """Keep the `newest` (B,) input of a row (B, T) that has none left; causal: always the first one."""
        steps = torch.arange(mask.shape[1], device=mask.device)
        if self.causal:
            return torch.where(steps == 0, 1.0, mask)
        empty = ~((mask > 0.5) & valid).any(1, keepdim=True)
        return torch.where(empty & (steps == newest.unsqueeze(1)), 1.0, mask)

    # Losses

    def losses(
        self,
        table: nn.Module,
        embedded: Tensor,
        inputs: Inputs,
        decoded: Tensor,
        batch: Batch,
        noise: torch.Generator,
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Compute weighted losses, and mark the rows (B,) that the curriculum trains on; None: all."""
        losses: dict[str, Tensor] = {}
        errors, rows = row_errors(decoded, inputs), None
        if self.left_out > 0:
            rows = smallest_rows(errors.detach(), self.left_out)
        if self.options.reconstruction > 0:
            counted = torch.ones_like(errors) if rows is None else rows.to(errors.dtype)
            losses["reconstruction"] = self.options.reconstruction * (errors @ counted) / counted.sum()
        if self.options.bpr > 0:
            losses["bpr"] = self.options.bpr * self.preference(table, embedded, batch, noise)
        return losses, rows

    def preference(self, table: nn.Module, embedded: Tensor, batch: Batch, noise: torch.Generator) -> Tensor:
        """Compute BPR of each user's inputs against one random item per row: a sum over positions, a mean over rows."""
        random = torch.randint(1, self.n_items + 1, batch.users.shape, generator=noise, device=batch.users.device)
        preferred = (embedded - table(random).unsqueeze(1)) @ self.users(batch.users).unsqueeze(-1)
        losses = F.softplus(-preferred.squeeze(-1))
        kept = self.filter_terms(losses.detach(), batch.valid, self.options.curriculum - self.left_out)
        return (losses * kept).sum(1).mean()

    def filter_terms(self, losses: Tensor, valid: Tensor, left_out: float) -> Tensor:
        """Mark the terms (B, T) of the BPR loss that count."""
        return all_but_largest(losses, valid, left_out)


class Unmasked(HierarchicalDenoiser):
    """`mask: none`: the losses alone."""

    has_mask = False

    def __init__(self, inputs: MethodInputs, options: HSDOptions) -> None:
        super().__init__(inputs, options)
        del self.item_level, self.sequence_level.convolution, self.sequence_level.classify

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """See `Method`."""
        embedded: Tensor = table(batch.items)
        losses: dict[str, Tensor] = {}
        rows = None
        if self.options.reconstruction or self.options.bpr or self.options.curriculum:
            inputs = self.read(embedded, batch)
            decoded = self.sequence_level.decode(inputs)
            losses, rows = self.losses(table, embedded, inputs, decoded, batch, noise)
        return EncodedRows(backbone(embedded, batch.lengths, batch.users), losses, rows=rows)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """See `Method`."""
        return Method.denoise(self, table, backbone, batch, noise)


def score_of(levels: Levels) -> Tensor:
    """Return minus the log-odds (B, T) of the less certain level: below 0 where an input is dropped."""
    return -torch.minimum(levels.sequence, levels.item)


def drop_rates(sequence: Tensor, item: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Compute the shares of inputs (B, T) that each level calls noise."""
    inputs = valid.sum()
    rates = {"noise_by_sequence": sequence, "noise_by_item": item}
    return {name: (choice.detach() * valid).sum() / inputs for name, choice in rates.items()}
