"""Which runs learned nothing: the rule at its thresholds, on curves made by hand, and what the loop measures for it."""

import math

import pytest
import torch

from iadsr.training.loop import Epoch, Outcome, train
from iadsr.training.recommender import build_recommender
from iadsr.training.untrained import why_untrained
from tests.helpers import N_ITEMS, feed_of, inputs_of, small_cell, small_sequences


def outcome(losses: list[float], best: int, guessing: float = 5.0, unvalidated: tuple[int, ...] = ()) -> Outcome:
    """What a run leaves that had these recommendation losses and kept epoch `best`."""
    curve = [
        Epoch(
            number,
            loss,
            None if number in unvalidated else 0.1,
            1.0,
            {"loss_recommendation": loss, "guessing_loss": guessing},
        )
        for number, loss in enumerate(losses, start=1)
    ]
    return Outcome(curve, best, 0.1, 0.1)


@pytest.mark.parametrize(("loss", "learned"), [(4.899, True), (4.9, False), (5.0, False), (5.2, False)])
def test_loss_near_guessing_is_untrained(loss: float, learned: bool) -> None:
    reason = why_untrained(outcome([5.0, 4.95, loss, 1.0], best=3))
    assert (reason is None) == learned
    if reason:
        text = (
            f"at the kept epoch 3 the recommendation loss is {loss:.3f}: no more than 2% below that of guessing, 5.000"
        )
        assert reason == text


def test_only_the_kept_epoch_counts() -> None:
    assert why_untrained(outcome([5.0, 1.0], best=1)) is not None
    assert why_untrained(outcome([1.0, 5.0], best=1)) is None


@pytest.mark.parametrize(
    ("epochs", "best", "learned"),
    [(5, 1, False), (5, 2, False), (5, 3, True), (4, 2, True), (4, 1, True), (60, 2, False)],
)
def test_epoch_kept_too_early_is_untrained(epochs: int, best: int, learned: bool) -> None:
    reason = why_untrained(outcome([1.0] * epochs, best))
    assert (reason is None) == learned
    if reason:
        assert reason == f"the kept epoch {best} is among the first 2 of {epochs} validated epochs"


@pytest.mark.parametrize(("best", "learned"), [(6, False), (9, True)])
def test_epochs_without_validation_do_not_count(best: int, learned: bool) -> None:
    """Epochs 3, 6, ... 15 of 15 are validated."""
    skipped = tuple(number for number in range(1, 16) if number % 3)
    reason = why_untrained(outcome([1.0] * 15, best, unvalidated=skipped))
    assert (reason is None) == learned
    if reason:
        assert reason == "the kept epoch 6 is among the first 2 of 5 validated epochs"
    assert why_untrained(outcome([1.0] * 12, 3, unvalidated=skipped)) is None, "four validated epochs say nothing"


def test_run_without_training_targets_is_not_judged() -> None:
    assert why_untrained(Outcome()) is None
    assert why_untrained(Outcome([Epoch(1, 0.0, 0.1, 1.0, {})], 1, 0.1, 0.1)) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, math.log(N_ITEMS)),
        ({"bounded": True}, math.log(N_ITEMS)),
        ({"rank_padding": True}, math.log(N_ITEMS + 1)),
        ({"loss": "in_batch", "batch_size": 9}, (18 * math.log(9) + 5 * math.log(5)) / 23),  # 23 users have a target
    ],
)
def test_guessing_is_measured_for_every_loss(changes: dict[str, object], expected: float) -> None:
    """A model that cannot learn starts and stays at the loss of equal scores."""
    cell = small_cell("gru4rec", "none", "last", **{"epochs": 1, "dropout": 0.0, "learning_rate": 1e-9, **changes})
    model = build_recommender(cell, inputs_of())
    torch.nn.init.zeros_(model.table.embedding.weight)
    (row,) = train(model, feed_of(small_sequences()), cell).curve
    assert row.figures["guessing_loss"] == pytest.approx(expected, rel=1e-6)
    assert row.figures["loss_recommendation"] == pytest.approx(expected, rel=1e-4)
