"""Item table, backbone and method as one module, and its loss."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.config.cell import Cell
from iadsr.config.options import find_method
from iadsr.core.seeding import derive
from iadsr.methods.method import Batch, Encoded, Method, MethodInputs
from iadsr.models.backbone import ItemTable, build_backbone, last_states
from iadsr.models.loss import softmax_loss, weighted_loss
from iadsr.training.feed import Step

if TYPE_CHECKING:
    from iadsr.models.released import ReleasedTable
    from iadsr.models.text_tables import ItemVectors, TextTable

_ROWS = 512  # scores of so many targets are held at once


class Recommender(nn.Module):
    """Item embeddings, backbone and denoising method as one module."""

    def __init__(
        self,
        table: ItemTable | ReleasedTable | TextTable | ItemVectors,
        backbone: nn.Module,
        method: Method,
        bounded: bool = False,
        in_batch: bool = False,
    ) -> None:
        super().__init__()
        self.table, self.backbone, self.method = table, backbone, method
        self.bounded, self.in_batch = bounded, in_batch

    def forward(self, step: Step, keep: Tensor, noise: torch.Generator) -> tuple[dict[str, Tensor], Encoded]:
        """Compute the losses of a training step, `recommendation` first; training minimises their sum.

        Raises:
            ValueError: the method returns neither or both of states and its own recommendation loss.
        """
        return self.computed()._losses(step, keep, noise)

    def computed(self) -> Recommender:
        """Return the model with its present item vectors, computed once for a training step or a scoring."""
        table = self.table.computed()
        if table is self.table:
            return self
        return Recommender(table, self.backbone, self.method, self.bounded, self.in_batch)

    def _losses(self, step: Step, keep: Tensor, noise: torch.Generator) -> tuple[dict[str, Tensor], Encoded]:
        encoded = self.method(self.table, self.backbone, step.batch, keep, noise)
        if ("recommendation" in encoded.losses) != (encoded.states is None):
            raise ValueError("a method returns either states or its own loss 'recommendation'")
        if encoded.states is None:
            return {"recommendation": encoded.losses["recommendation"], **encoded.losses}, encoded
        states = encoded.states.flatten(0, 1).index_select(0, step.supervised)
        losses = functools.partial(self.target_losses, states, step.targets)
        weights = self.method.weigh_targets(encoded, losses, step.supervised)
        return {"recommendation": self.recommendation(states, step.targets, weights), **encoded.losses}, encoded

    def recommendation(self, states: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Compute the mean cross-entropy of states (M, W), weighted by `weights` (M,) if given."""
        candidates, bias, right = self._candidates(targets)
        if weights is not None:
            weights = weights / weights.mean()
        if bias is None and not self.bounded:
            return softmax_loss(states, candidates, right, weights=weights)
        return weighted_loss(self._bound(F.linear(states, candidates, bias)), right, weights)

    @torch.no_grad()
    def target_losses(self, states: Tensor, targets: Tensor) -> Tensor:
        """Compute the cross-entropy of each of the states (M, W): (M,), without gradient."""
        candidates, bias, right = self._candidates(targets)
        parts = zip(torch.split(states, _ROWS), torch.split(right, _ROWS), strict=True)
        return torch.cat(
            [
                F.cross_entropy(self._bound(F.linear(part, candidates, bias)), wanted, reduction="none")
                for part, wanted in parts
            ]
        )

    def _candidates(self, targets: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return vectors and bias of all candidates, or as released of the batch's targets; the targets' (M,) rows.

        In a batch, a target that occurs twice counts once as the right answer and once as a wrong one.
        """
        candidates, bias, right = self.table.candidates, self.table.bias, targets - self.table.first
        if self.in_batch:
            candidates, bias = candidates[right], None if bias is None else bias[right]
            right = torch.arange(len(targets), device=targets.device)
        return candidates, bias, right

    def count_candidates(self, rows: int) -> int:
        """Count the candidates among which the recommendation loss of a step with `rows` targets chooses."""
        return rows if self.in_batch else self.table.n_candidates

    def represent(self, batch: Batch, noise: torch.Generator) -> tuple[Tensor, Encoded]:
        """Compute the vectors (B, W) that score the item after each row's last input, with what the method decided."""
        encoded = self.method.denoise(self.table, self.backbone, batch, noise)
        assert encoded.states is not None, "a method returns states for scoring"
        return last_states(encoded.states, batch.lengths), encoded

    def scores(self, vectors: Tensor) -> Tensor:
        """Score all candidates: (B, V), column i for item i + `table.first`."""
        return self._bound(F.linear(vectors, self.table.candidates, self.table.bias))

    def _bound(self, scores: Tensor) -> Tensor:
        """Bound scores by tanh (R8), under which no softmax becomes sharp and large scores tie."""
        return scores.tanh() if self.bounded else scores


def build_recommender(cell: Cell, inputs: MethodInputs) -> Recommender:
    """Build a fresh model. Table and backbone get the same first weights whatever the method is.

    So methods differ in nothing else, and a method that is switched off equals `none` exactly. A table of item vectors
    from text starts from the same random ones, and the backbone beside it has the same first weights.
    """
    settings, options = cell.settings, cell.backbone_options
    table: ItemTable | ReleasedTable | TextTable
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(cell.seed, "backbone"))
        if settings.networks == "released":
            released = importlib.import_module("iadsr.models.released")
            table = released.ReleasedTable(inputs.n_items, settings.dimension, inputs.width, settings.rank_padding)
            backbone = released.build(
                cell.backbone, inputs.n_users, settings.dimension, settings.max_length, settings.dropout, options
            )
        else:
            table = ItemTable(inputs.n_items, settings.dimension, settings.rank_padding)
            backbone = build_backbone(
                cell.backbone, inputs.n_users, settings.dimension, settings.max_length, settings.dropout, options
            )
        if cell.items:
            assert isinstance(table, ItemTable) and inputs.text is not None, "item vectors from text need both"
            torch.manual_seed(derive(cell.seed, "items"))
            table = importlib.import_module("iadsr.models.text_tables").build(table, inputs.text, cell.items)
        torch.manual_seed(derive(cell.seed, "method"))
        method = build_method(cell, inputs)
        model = Recommender(table, backbone, method, settings.bounded, settings.loss == "in_batch")
        if initialise := getattr(backbone, "initialise", None):
            torch.manual_seed(derive(cell.seed, "backbone"))
            initialise(model)
    return model


def build_method(cell: Cell, inputs: MethodInputs) -> Method:
    """Build the cell's method, with fresh parameters."""
    options = find_method(cell.kind, cell.address)
    module, _, name = options.implementation.partition(":")
    method: Method = getattr(importlib.import_module(module), name)(inputs, options(**cell.method_options))
    return method


def state_width(cell: Cell) -> int:
    """Return the width of the cell's states: that of its embeddings, or of the release's hidden layers."""
    return int(cell.backbone_options["hidden"]) if cell.settings.networks == "released" else cell.settings.dimension
