"""What the protocol lets a method do, each by a tiny method that does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.config.options import MethodOptions
from iadsr.conformance.suite import CHECKS, Case
from iadsr.methods.method import Asked, Batch, Encoded, Method, MethodInputs, TrainingBatch
from iadsr.sequences.perturb import inject_noise
from iadsr.sequences.samples import training_samples
from iadsr.sequences.split import LAST_TRAINED, Sequences
from iadsr.training import loop
from iadsr.training.feed import Step
from iadsr.training.loop import train
from iadsr.training.recommender import Recommender, build_recommender
from iadsr.training.state import Outcome
from tests.helpers import feed_of, inputs_of, small_cell, small_sequences


def built(
    method: Method, objective: str = "last", backbone: str = "gru4rec", **settings: object
) -> tuple[Recommender, Step]:
    """A model with the method, and a training step of six samples."""
    cell = small_cell(backbone, "none", objective, dropout=0.0, **settings)
    model = build_recommender(cell, inputs_of())
    model.method = method
    samples = training_samples(small_sequences(), cell.settings.objective, 8, np.random.default_rng(0))
    return model, feed_of(small_sequences()).step(samples, np.arange(6), method.asks_for)


def losses_of(model: Recommender, step: Step) -> dict[str, Tensor]:
    return model(step, torch.ones(step.slots.shape), torch.Generator())[0]


class First(Method):
    """Trains on a step's first target alone."""

    losses: Tensor
    supervised: Tensor

    def weigh_targets(self, encoded: Encoded, losses: Callable[[], Tensor], supervised: Tensor) -> Tensor:
        self.losses, self.supervised = losses(), supervised
        assert not self.losses.requires_grad
        encoded.traced["largest_loss"] = self.losses.max()
        return torch.eye(len(self.losses))[0] * 3


@pytest.mark.parametrize("settings", [{}, {"loss": "in_batch"}, {"bounded": True}], ids=str)
def test_weights_of_targets_make_a_weighted_mean(settings: dict[str, object]) -> None:
    method = First()
    model, step = built(method, **settings)
    losses, encoded = model(step, torch.ones(step.slots.shape), torch.Generator())
    assert encoded.states is not None
    states = encoded.states.flatten(0, 1)[step.supervised]
    scores = states @ model.table.candidates.T
    rows, right = scores.tanh() if "bounded" in settings else scores, step.targets - 1
    if "loss" in settings:
        rows, right = rows[:, right], torch.arange(6)
    torch.testing.assert_close(method.losses, F.cross_entropy(rows, right, reduction="none").detach())
    alone = F.cross_entropy(rows[:1], right[:1])
    torch.testing.assert_close(losses["recommendation"], alone)
    parameters = [*model.table.parameters(), *model.backbone.parameters()]
    expected = torch.autograd.grad(alone, parameters, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(losses["recommendation"], parameters), expected)
    assert float(encoded.traced["largest_loss"]) == float(method.losses.max())


def test_weights_of_targets_know_the_states_that_predict_them() -> None:
    method = First()
    model, step = built(method, "all")
    losses_of(model, step)
    assert torch.equal(method.supervised, step.supervised) and len(method.supervised) > len(step.batch.items)


class ClozeOptions(MethodOptions):
    """No backbone beside its own."""

    own_backbone: ClassVar[bool] = True


class Cloze(Method):
    """A network and a recommendation loss of its own: predicts each next item from the mean of all inputs so far."""

    Options = ClozeOptions
    asks_for: frozenset[Asked] = frozenset({"following"})

    def __init__(self, inputs: MethodInputs, options: ClozeOptions) -> None:
        super().__init__()
        self.users = nn.Embedding(inputs.n_users, inputs.width)
        self.output = nn.Linear(inputs.dimension, inputs.width)

    def states(self, table: nn.Module, batch: Batch) -> Tensor:
        steps = torch.arange(1, batch.items.shape[1] + 1).unsqueeze(-1)
        states: Tensor = self.output(table(batch.items).cumsum(1) / steps) + self.users(batch.users).unsqueeze(1)
        return states

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        assert batch.following is not None
        scores = self.states(table, batch)[batch.valid] @ table.candidates.T  # type: ignore[union-attr,operator]
        return Encoded(None, {"recommendation": F.cross_entropy(scores, batch.following[batch.valid] - 1)})

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        return Encoded(self.states(table, batch))


def test_a_method_may_have_its_own_network_and_recommendation_loss() -> None:
    cell = small_cell("own", f"{__name__}.Cloze", "prefix", epochs=30, dropout=0.0)
    model = build_recommender(cell, inputs_of())
    outcome = train(model, feed_of(small_sequences()), cell)
    losses = [row.figures["loss_recommendation"] for row in outcome.curve]
    assert losses[-1] < 0.9 * losses[0]
    assert outcome.best_validation > 0
    assert not list(model.backbone.parameters())
    for name, check in CHECKS.items():
        assert check(Case(cell.kind, "own", "prefix")) is None, name


def test_states_and_a_recommendation_loss_exclude_each_other() -> None:
    class Both(Cloze):
        def forward(self, *parts: object) -> Encoded:  # type: ignore[override]
            encoded = super().forward(*parts)  # type: ignore[arg-type]
            return Encoded(self.states(parts[0], parts[2]), encoded.losses)  # type: ignore[arg-type]

    class Neither(Method):
        def forward(self, *parts: object) -> Encoded:
            return Encoded(None)

    for method in (Both(inputs_of(), ClozeOptions()), Neither()):
        model, step = built(method)
        with pytest.raises(ValueError, match="either states or its own loss"):
            losses_of(model, step)


@pytest.mark.parametrize("noisy", [False, True])
def test_training_histories_end_before_what_is_held_out(noisy: bool) -> None:
    """Injected items are in them: a method cannot tell them from others."""
    sequences: Sequences = inject_noise(small_sequences(), 0.3) if noisy else small_sequences()
    inputs = inputs_of(sequences)
    ends = sequences.target_positions("validation"), sequences.from_end(LAST_TRAINED)
    for histories, before in zip((inputs.histories, inputs.input_histories), ends, strict=True):
        assert histories is not None
        items, offsets = histories
        for user, end in enumerate(before):
            expected = sequences.items[sequences.offsets[user] : end]
            assert items[offsets[user] : offsets[user + 1]].tolist() == expected.tolist()
    assert (inputs.n_items, inputs.n_users) == (sequences.n_items, len(sequences.users))


class Counting(Method):
    """Weighs targets by a step counter, which a resumed run must go on with."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def weigh_targets(self, encoded: Encoded, losses: Callable[[], Tensor], supervised: Tensor) -> Tensor:
        self.steps += 1
        return torch.arange(len(losses())) % (1 + int(self.steps)) + 0.1


def test_a_buffer_survives_average_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", -1.0)
    cell = small_cell("gru4rec", "none", "prefix", epochs=4, average=0.9)

    def run(checkpoint: Path | None = None) -> tuple[Recommender, Outcome]:
        model = build_recommender(cell, inputs_of())
        model.method = Counting()
        return model, train(model, feed_of(small_sequences()), cell, checkpoint)

    straight, whole = run()
    real = loop.run_epoch
    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_epoch", _dying(real, 3))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "x.pt")
    resumed, rest = run(tmp_path / "x.pt")
    assert [row.loss for row in rest.curve] == [row.loss for row in whole.curve]
    assert int(resumed.method.steps) == int(straight.method.steps) > 0  # type: ignore[arg-type]


def _dying(real: Callable[..., object], number: int) -> Callable[..., object]:
    calls = 0

    def epoch(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    return epoch
