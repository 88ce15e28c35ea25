"""A batch's indices against loops over samples and positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iadsr.config.fields import Objective
from iadsr.sequences.samples import training_samples
from iadsr.training.data import training_step
from tests.helpers import small_sequences


@pytest.mark.parametrize("objective", ["last", "prefix", "all"])
def test_a_step_is_what_the_loops_say(objective: Objective) -> None:
    sequences = small_sequences()
    samples = training_samples(sequences, objective, 6, np.random.default_rng(0))
    chosen = np.array([3, 0, len(samples) - 1])
    step = training_step(torch.as_tensor(sequences.items).long(), samples, chosen)
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
    items = torch.as_tensor(sequences.items).long()
    samples = training_samples(sequences, "last", 8, np.random.default_rng(0))
    chosen = np.arange(6)
    right, left = (training_step(items, samples, chosen, width) for width in (None, 8))
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
    """Rows 100 above the items: pairing (R5) and the target's text (R11) follow them, items and targets do not."""
    sequences = small_sequences()
    items = torch.as_tensor(sequences.items).long()
    samples = training_samples(sequences, "last", 6, np.random.default_rng(0))
    chosen = np.arange(8)
    by_item = training_step(items, samples, chosen, left, mispair=True, tell_target=True)
    own = training_step(items, samples, chosen, left, mispair=True, texts=items + 100, tell_target=True)
    assert own.batch.texts is not None and own.batch.paired is not None and own.batch.judged is not None
    assert by_item.batch.texts is None and by_item.batch.text_rows is by_item.batch.items
    assert torch.equal(own.batch.items, by_item.batch.items) and torch.equal(own.targets, by_item.targets)
    assert torch.equal(own.batch.text_rows, torch.where(own.batch.valid, own.batch.items + 100, 0))
    assert torch.equal(by_item.batch.target_text, by_item.targets)  # type: ignore[arg-type]
    assert torch.equal(own.batch.target_text, own.targets + 100)  # type: ignore[arg-type]
    assert torch.equal(own.batch.paired, by_item.batch.paired + 100)  # type: ignore[operator]
    assert torch.equal(own.batch.judged, torch.where(own.batch.valid, by_item.batch.judged + 100, 0))  # type: ignore[operator]
    assert training_step(items, samples, chosen, left).batch.target_text is None, "told only to who declares it"
