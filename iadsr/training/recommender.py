"""Item table, backbone and method as one module, and its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iadsr.core.config import Cell
from iadsr.core.seeding import derive
from iadsr.methods.method import Batch, Context, Encoded, Method, build_method
from iadsr.models.backbone import ItemTable, build_backbone, last_states
from iadsr.models.loss import softmax_loss
from iadsr.training.data import Step


class Recommender(nn.Module):
    """What is trained, saved and scored."""

    def __init__(self, table: ItemTable, backbone: nn.Module, method: Method) -> None:
        super().__init__()
        self.table, self.backbone, self.method = table, backbone, method

    def forward(self, step: Step, keep: Tensor, noise: torch.Generator) -> tuple[dict[str, Tensor], Encoded]:
        """Loss terms of a training step, `recommendation` first; their sum is what is minimised."""
        encoded = self.method(self.table, self.backbone, step.batch, keep, noise)
        states = encoded.states.flatten(0, 1).index_select(0, step.supervised)
        recommendation = softmax_loss(states, self.table.candidates, step.targets - 1)
        return {"recommendation": recommendation, **encoded.losses}, encoded

    def represent(self, batch: Batch, noise: torch.Generator) -> tuple[Tensor, Encoded]:
        """(B, D) vectors that score the item after each row's last input, with what the method decided."""
        encoded = self.method.denoise(self.table, self.backbone, batch, noise)
        return last_states(encoded.states, batch.lengths), encoded


def build_recommender(cell: Cell, n_items: int, context: Context) -> Recommender:
    """A fresh model. Table and backbone get the same first weights whatever the method is.

    That makes a comparison of methods a comparison of methods, and a method with its gate closed exactly `none`.
    """
    settings = cell.settings
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(cell.seed, "backbone"))
        table = ItemTable(n_items, settings.dimension)
        backbone = build_backbone(
            cell.backbone, settings.dimension, settings.max_length, settings.dropout, cell.backbone_options
        )
        torch.manual_seed(derive(cell.seed, "method"))
        method = build_method(cell.kind, context, cell.method_options)
    return Recommender(table, backbone, method)
