"""Which epoch's weights are scored, and the names of a method's figures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from iadsr.methods.method import Batch, Encoded, Method
from iadsr.training.loop import train
from iadsr.training.recommender import build_recommender
from tests.helpers import feed_of, inputs_of, small_cell, small_sequences


class Stepwise(Method):
    """Counts its steps in a buffer, which it replaces, and hears which epoch it is."""

    steps: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))
        self.epoch = 0

    def begin_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: Batch, keep: torch.Tensor, noise: torch.Generator
    ) -> Encoded:
        self.steps = self.steps + 1
        return super().forward(table, backbone, batch, keep, noise)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_what_is_scored_is_in_the_epoch_of_its_weights(average: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """An average too; and at the end the model is told the epoch that it went back to."""
    cell = small_cell("gru4rec", "none", "last", epochs=8, learning_rate=0.2, average=average)
    model = build_recommender(cell, inputs_of())
    method = model.method = Stepwise()
    scored: list[tuple[int, int]] = []

    def denoise(self: Stepwise, *parts: Any) -> Encoded:
        scored.append((self.epoch, int(self.steps)))
        return Method.denoise(self, *parts)

    monkeypatch.setattr(Stepwise, "denoise", denoise)
    outcome = train(model, feed_of(small_sequences()), cell)
    assert scored == [(epoch, 3 * epoch) for epoch in range(1, 9)]
    assert outcome.best_epoch < 8, "the case must go back to test anything"
    assert (method.epoch, int(method.steps)) == (outcome.best_epoch, 3 * outcome.best_epoch)


class Named(Method):
    """Calls a loss and a figure as it likes."""

    def __init__(self, loss: str, figure: str) -> None:
        super().__init__()
        self.loss, self.figure = loss, figure

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: Batch, keep: torch.Tensor, noise: torch.Generator
    ) -> Encoded:
        states = super().forward(table, backbone, batch, keep, noise).states
        return Encoded(states, {self.loss: states.sum()}, traced={self.figure: states.sum()})


def test_a_method_cannot_call_its_figures_as_the_loop_calls_its_own() -> None:
    cell = small_cell("gru4rec", "none", "last", epochs=1)
    names = [
        "epoch",
        "loss",
        "validation",
        "seconds",
        "keep_rate",
        "gate_share",
        "mask_gradient",
        "guessing_loss",
        "loss_mine",
        "gradient_mine_table",
    ]
    for loss, figure in [("recommendation", "mine"), *(("mine", name) for name in names)]:
        model = build_recommender(cell, inputs_of())
        model.method = Named(loss, figure)
        with pytest.raises(ValueError, match=loss if figure == "mine" else figure):
            train(model, feed_of(small_sequences()), cell)
    model.method = Named("mine", "other")
    (row,) = train(model, feed_of(small_sequences()), cell).curve
    pulls = {f"gradient_{loss}_{part}" for loss in ("recommendation", "mine") for part in ("table", "backbone")}
    assert set(row.figures) == {"loss_recommendation", "loss_mine", "guessing_loss", "other"} | pulls
