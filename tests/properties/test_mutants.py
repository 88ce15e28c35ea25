"""Models that see too much: each must be caught by the checks that the real ones pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.config.cell import Cell
from iadsr.conformance import leaks
from iadsr.conformance.leaks import memory_leak, padding_leak, target_leak
from iadsr.methods.method import Asked, Batch, Encoded, Method, TrainingBatch
from iadsr.models import caser, sasrec
from iadsr.sequences.samples import Samples
from iadsr.training.feed import Feed
from iadsr.training.recommender import Recommender, build_recommender
from tests.helpers import inputs_of, small_sequences
from tests.properties.test_causality import JOINED, SEQUENCES, model_of

EVERY = ["last", "prefix", "all"]


def caught(model: Recommender, cell: Cell) -> str | None:
    """What either check finds, in training or in scoring."""
    for mode in ("train", "score"):
        for leak in (target_leak, padding_leak):
            sequences = JOINED if getattr(model.method, "joined", False) else SEQUENCES
            if (found := leak(model, cell, sequences, mode)) is not None:
                return found
    return None


class Around(nn.Module):
    """A backbone with something done to its inputs or states."""

    def __init__(self, backbone: nn.Module, change: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.backbone, self.change = backbone, change

    def forward(self, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        return self.change(self.backbone, embedded, lengths, users)


def reach_right(backbone: nn.Module, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
    """Every window ends one place later."""
    states: Tensor = backbone(F.pad(embedded[:, 1:], (0, 0, 0, 1)), lengths, users)
    return states


def both_ways(backbone: nn.Module, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
    """Forward, and backward from the end of the batch."""
    states: Tensor = backbone(embedded, lengths, users) + backbone(embedded.flip(1), lengths, users).flip(1)
    return states


def with_the_mean(backbone: nn.Module, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
    """A mean over all places, padding among them, joins every state."""
    states: Tensor = backbone(embedded, lengths, users) + embedded.mean(1, keepdim=True)
    return states


@pytest.mark.parametrize("objective", EVERY)
def test_attention_without_its_causal_mask_is_caught(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = F.scaled_dot_product_attention

    def sees_all(*parts: Tensor, is_causal: bool, **options: float) -> Tensor:
        return real(*parts, is_causal=False, **options)

    monkeypatch.setattr(sasrec.F, "scaled_dot_product_attention", sees_all)
    assert caught(*model_of("sasrec", "none", objective)) is not None


@pytest.mark.parametrize("objective", EVERY)
@pytest.mark.parametrize(
    ("backbone", "change"), [("caser", reach_right), ("gru4rec", both_ways), ("gru4rec", with_the_mean)]
)
def test_a_backbone_that_looks_ahead_or_at_padding_is_caught(
    backbone: str, change: Callable[..., Tensor], objective: str
) -> None:
    model, cell = model_of(backbone, "none", objective)
    assert caught(model, cell) is None, "the backbone alone must pass"
    model.backbone = Around(model.backbone, change)
    assert caught(model, cell) is not None


def test_a_window_of_a_convolution_that_is_padded_on_both_sides_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = F.pad

    def centred(x: Tensor, pad: tuple[int, ...], **options: float) -> Tensor:
        return real(x, (0, 0, pad[2] - 1, 1) if len(pad) == 4 and pad[2:] == (2, 0) else pad, **options)

    monkeypatch.setattr(caser.F, "pad", centred)
    assert caught(*model_of("caser", "none", "all")) is not None


@pytest.mark.parametrize("objective", ["last", "prefix"])
@pytest.mark.parametrize("interest_text", ["items", "prefixes"])
def test_a_mask_that_reads_the_target_is_caught(objective: str, interest_text: str) -> None:
    """The release's own (R11): the target's text is in the gate, in the score and so in the mask."""
    options = {"defects": ["R11"], "interest_text": interest_text}
    model, cell = model_of("gru4rec", "iadsr", objective, options)
    found = caught(model, cell)
    assert found is not None and ("mask" in found or "score" in found)
    fair, cell = model_of("gru4rec", "iadsr", objective, {"interest_text": interest_text})
    assert caught(fair, cell) is None


class NextItem(Method):
    """A mask that keeps an input if the item behind it has an even number: what it drops tells the target."""

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: Batch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        behind = F.pad(batch.items[:, 1:], (0, 1))
        return Encoded(backbone(table(batch.items), batch.lengths, batch.users), keep=(behind % 2 == 0).float())


def test_a_mask_that_reads_the_next_item_is_caught() -> None:
    model, cell = model_of("gru4rec", "none", "all")
    model.method = NextItem()
    assert caught(model, cell) == "the mask of sample 0 changes with its target at input 1"


def test_a_mean_over_the_whole_input_under_all_is_caught() -> None:
    model, cell = model_of("gru4rec", "iadsr", "all")
    assert caught(model, cell) is None
    options = {**cell.method_options, "scope": "sequence"}  # what the configuration refuses
    mutant = build_recommender(cell.model_copy(update={"method_options": options}), inputs_of())
    assert caught(mutant, cell) is not None


def test_a_target_told_while_scoring_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data path itself: inputs that reach one item too far."""
    real = Feed.gather

    def longer(self, samples, chosen, asks_for=frozenset()):  # type: ignore[no-untyped-def]
        batch, positions = real(self, samples, chosen, asks_for)
        ends = batch.items.clone()
        ends[:, 0] = self.items[torch.as_tensor(samples.start[chosen] + samples.length[chosen])]
        return Batch(ends, batch.lengths, batch.valid, batch.inside, batch.users), positions

    monkeypatch.setattr(Feed, "gather", longer)
    for objective in ("last", "prefix"):
        assert caught(*model_of("gru4rec", "none", objective)) is not None


class Normed(nn.Module):
    """A backbone whose inputs are normed over the whole batch."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.norm = backbone, nn.BatchNorm1d(8)

    def forward(self, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        states: Tensor = self.backbone(self.norm(embedded.transpose(1, 2)).transpose(1, 2), lengths, users)
        return states


@pytest.mark.parametrize("objective", ["prefix", "all"])
def test_statistics_of_a_batch_that_holds_the_target_are_caught(objective: str) -> None:
    """Under `prefix` other rows hold it. Padding is set aside: it would be caught too."""
    model, cell = model_of("gru4rec", "none", objective)
    model.backbone = Normed(model.backbone)
    assert target_leak(model, cell, SEQUENCES, "train") is not None


def test_places_counted_from_a_rows_end_are_caught() -> None:
    """Under `all` they tell a state how many items follow, which nobody knows when scoring."""
    model, cell = model_of("sasrec", "none", "all")

    def from_the_end(backbone: nn.Module, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        left = lengths.view(-1, 1, 1) - torch.arange(embedded.shape[1]).view(1, -1, 1)
        states: Tensor = backbone(embedded + left.clamp(min=0), lengths, users)
        return states

    model.backbone = Around(model.backbone, from_the_end)
    assert "tells how many follow" in (caught(model, cell) or "")


class TargetInLoss(Method):
    """States and masks are fair; an auxiliary loss is told the target."""

    asks_for: frozenset[Asked] = frozenset({"following"})

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        states = super().forward(table, backbone, batch, keep, noise).states
        assert batch.following is not None
        return Encoded(states, {"hint": batch.following[:, -1].float().mean() * states.square().mean()})


@pytest.mark.parametrize("objective", ["last", "prefix"])
def test_a_loss_that_is_told_the_target_is_caught(objective: str) -> None:
    model, cell = model_of("gru4rec", "none", objective)
    model.method = TargetInLoss()
    assert (caught(model, cell) or "").startswith("the loss 'hint'")


def test_a_gate_that_reads_the_target_is_caught() -> None:
    class Gate(Method):
        asks_for: frozenset[Asked] = frozenset({"following"})

        def forward(self, *parts: Any) -> Encoded:
            batch: TrainingBatch = parts[2]
            assert batch.following is not None
            return replace(super().forward(*parts), gate=batch.following % 2 == 0)

    model, cell = model_of("gru4rec", "none", "last")
    model.method = Gate()
    assert (caught(model, cell) or "").startswith("the gate")


def test_a_mask_that_prefixes_share_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer prefix holds a shorter one's target: what its mask says of an input is not for the shorter one."""
    real = leaks.training_samples

    def shared(*arguments: Any) -> Samples:
        samples = real(*arguments)
        return replace(samples, slot=samples.start, slots=int((samples.start + samples.length).max()))

    monkeypatch.setattr(leaks, "training_samples", shared)
    assert memory_leak(*model_of("gru4rec", "iadsr", "prefix"), SEQUENCES) is not None


@pytest.mark.parametrize("objective", ["prefix", "all"])
def test_texts_paired_across_a_batch_are_caught(objective: str) -> None:
    """R5, on histories longer than the inputs; the configuration refuses it where its mask would reach an input."""
    model, cell = model_of("gru4rec", "iadsr", objective)
    options = {**cell.method_options, "defects": ["R5"]}
    mutant = build_recommender(cell.model_copy(update={"method_options": options}), inputs_of())
    long = small_sequences(users=3, longest=14, seed=1)
    assert target_leak(model, cell, long, "train") is None
    assert target_leak(mutant, cell, long, "train") is not None
