"""A batch's indices against loops over samples and positions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from iadsr.config.fields import Objective
from iadsr.methods.method import Asked
from iadsr.models.backbone import last_states
from iadsr.sequences.samples import training_samples
from iadsr.training.feed import Feed
from tests.helpers import feed_of, small_sequences

CPU = torch.device("cpu")


@pytest.mark.parametrize("objective", ["last", "prefix", "all"])
def test_a_step_is_what_the_loops_say(objective: Objective) -> None:
    sequences = small_sequences()
    samples = training_samples(sequences, objective, 6, np.random.default_rng(0))
    chosen = np.array([3, 0, len(samples) - 1])
    step = feed_of(sequences).step(samples, chosen)
    width = int(samples.length[chosen].max())
    assert step.batch.items.shape == (3, width)
    inside, supervised, targets = [], [], []
    for row, sample in enumerate(chosen):
        start, length = int(samples.start[sample]), int(samples.length[sample])
        for t in range(width):
            assert step.batch.items[row, t] == (sequences.items[start + t] if t < length else 0)
            assert step.batch.valid[row, t] == (t < length)
            if t < length:
                assert step.slots[row, t] == samples.slot[sample] + t
                inside.append(row * width + t)
            if t == length - 1 or (t < length and objective == "all"):
                supervised.append(row * width + t)
                targets.append(int(sequences.items[start + t + 1]))
    assert step.batch.lengths.tolist() == samples.length[chosen].tolist()
    assert step.batch.inside.tolist() == inside
    assert step.supervised.tolist() == supervised
    assert step.targets.tolist() == targets


def test_padding_on_the_left_moves_inputs_to_the_end_and_changes_nothing_else() -> None:
    sequences = small_sequences()
    items, samples = feed_of(sequences).items, training_samples(sequences, "last", 8, np.random.default_rng(0))
    chosen = np.arange(6)
    right, left = (Feed(sequences, CPU, width).step(samples, chosen) for width in (None, 8))
    assert left.batch.items.shape == (6, 8)
    assert left.batch.lengths.tolist() == [8] * 6, "the network takes padding for inputs"
    assert torch.equal(left.targets, right.targets)
    for step in (left, right):
        assert torch.equal(
            step.batch.items.flatten()[step.batch.inside], items[step.positions.flatten()[step.batch.inside]]
        )
    assert torch.equal(left.slots.flatten()[left.batch.inside], right.slots.flatten()[right.batch.inside])
    assert left.supervised.tolist() == [8 * row + 7 for row in range(6)]
    for row, length in enumerate(right.batch.lengths.tolist()):
        assert left.batch.items[row, 8 - length :].tolist() == right.batch.items[row, :length].tolist()
        assert left.batch.items[row, : 8 - length].tolist() == [0] * (8 - length)


@pytest.mark.parametrize("left", [None, 6])
def test_texts_of_their_own_take_the_place_of_items_wherever_text_is_read(left: int | None) -> None:
    """Rows 100 above the items: the text that follows, and of the history, are theirs; items and targets are not."""
    sequences = small_sequences()
    samples = training_samples(sequences, "last", 6, np.random.default_rng(0))
    chosen = np.arange(8)
    asked: frozenset[Asked] = frozenset({"following", "history"})
    by_item, own = (
        Feed(data, CPU, left).step(samples, chosen, asked)
        for data in (sequences, replace(sequences, texts=sequences.items + 100))
    )
    assert own.batch.texts is not None
    assert by_item.batch.texts is None and by_item.batch.text_rows is by_item.batch.items
    assert torch.equal(own.batch.items, by_item.batch.items) and torch.equal(own.targets, by_item.targets)
    assert torch.equal(own.batch.text_rows, torch.where(own.batch.valid, own.batch.items + 100, 0))
    following = own.batch.following
    assert following is not None and torch.equal(following, by_item.batch.following)  # type: ignore[arg-type]
    assert torch.equal(own.batch.following_texts, torch.where(own.batch.valid, following + 100, 0))  # type: ignore[arg-type]
    assert own.batch.history is not None and by_item.batch.history is not None
    assert torch.equal(own.batch.history.texts, by_item.batch.history.texts + 100)


@pytest.mark.parametrize("left", [None, 6])
def test_a_method_is_told_what_it_asks_for_and_nothing_else(left: int | None) -> None:
    sequences = small_sequences()
    samples = training_samples(sequences, "last", 6, np.random.default_rng(0))
    feed, chosen = Feed(sequences, CPU, left), np.arange(8)
    plain = feed.step(samples, chosen).batch
    assert plain.following is plain.following_texts is plain.history is None
    assert not hasattr(feed.gather(samples, chosen)[0], "following"), "scoring has no such field"
    step = feed.step(samples, chosen, frozenset({"following"}))
    assert step.batch.following is not None and step.batch.history is None
    assert torch.equal(last_states(step.batch.following, step.batch.lengths), step.targets)
    history = feed.step(samples, chosen, frozenset({"history"})).batch.history
    assert history is not None
    parts = np.split(history.texts.numpy(), np.cumsum(history.counts)[:-1])
    for part, sample in zip(parts, chosen, strict=True):
        target = samples.start[sample] + samples.length[sample]
        assert part.tolist() == sequences.items[samples.first[sample] : target].tolist()
    assert history.inputs.tolist() == samples.length[chosen].tolist()
