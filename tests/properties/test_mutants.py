"""Models that see too much: each must be caught by the checks that the real ones pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.core.config import Cell
from iadsr.methods.method import Batch, Encoded, Method
from iadsr.models import caser, sasrec
from iadsr.training import data
from iadsr.training.recommender import Recommender, build_recommender
from tests.helpers import N_ITEMS, USERS, context
from tests.leaks import padding_leak, target_leak
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
    mutant = build_recommender(cell.model_copy(update={"method_options": options}), N_ITEMS, USERS, context())
    assert caught(mutant, cell) is not None


def test_a_target_told_while_scoring_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data path itself: inputs that reach one item too far."""
    real = data.gather

    def longer(items: Tensor, samples, chosen, left=None, texts=None):  # type: ignore[no-untyped-def]
        batch, positions = real(items, samples, chosen, left, texts)
        ends = batch.items.clone()
        ends[:, 0] = items[torch.as_tensor(samples.start[chosen] + samples.length[chosen])]
        return Batch(ends, batch.lengths, batch.valid, batch.inside, batch.users), positions

    monkeypatch.setattr(data, "gather", longer)
    for objective in ("last", "prefix"):
        assert caught(*model_of("gru4rec", "none", objective)) is not None
