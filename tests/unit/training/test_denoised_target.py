"""R2's evaluation: which item becomes the target, by hand; and that nothing else can see it."""

import torch

from iadsr.core.seeding import derive
from iadsr.methods.method import Batch
from iadsr.sequences.perturb import inject_noise
from iadsr.training.denoised_target import denoised_target, split_kept
from iadsr.training.recommender import build_recommender
from tests.helpers import feed_of, inputs_of, small_cell, small_sequences


def batch_of(items: torch.Tensor) -> Batch:
    valid = items > 0
    return Batch(items, valid.sum(1), valid, valid.flatten().nonzero().squeeze(1), torch.arange(len(items)))


def test_dropped_items_leave_and_the_last_one_left_is_the_target() -> None:
    items = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 0], [8, 9, 0, 0]])
    keep = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 0], [0, 1, 0, 0]]).bool()
    inputs, targets, last = split_kept(batch_of(items), keep, None)
    assert targets.tolist() == [3, 7, 9]
    assert last.tolist() == [4, 7, 9]
    assert inputs.items.tolist() == [[1, 0, 0, 0], [5, 6, 0, 0], [8, 0, 0, 0]], "one item left: everything is kept"
    assert inputs.lengths.tolist() == [1, 2, 1]
    assert inputs.inside.tolist() == [0, 4, 5, 8]


def test_padding_on_the_left_stays_there() -> None:
    items = torch.tensor([[1, 2, 3, 4], [0, 5, 6, 7]])
    keep = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0]]).bool()
    inputs, targets, last = split_kept(batch_of(items), keep, 4)
    assert targets.tolist() == [4, 6]
    assert last.tolist() == [4, 7]
    assert inputs.items.tolist() == [[0, 0, 1, 3], [0, 0, 0, 5]]
    assert inputs.lengths.tolist() == [4, 4]


def test_it_is_none_without_a_mask_or_with_injected_items_and_honest_where_nothing_is_dropped() -> None:
    sequences = small_sequences()
    for kind, options in (("none", {}), ("iadsr", {"mask": "none"})):
        cell = small_cell("gru4rec", kind, "last", options)
        model = build_recommender(cell, inputs_of())
        assert denoised_target(model, feed_of(sequences), cell, torch.Generator()) is None
    cell = small_cell("gru4rec", "iadsr", "last")
    model = build_recommender(cell, inputs_of())
    noisy = inject_noise(sequences, 0.3)
    assert denoised_target(model, feed_of(noisy), cell, torch.Generator()) is None, "an injected item is no target"
    cell = small_cell("gru4rec", "iadsr", "last", {"theta": 2.0})  # nobody passes the gate
    model = build_recommender(cell, inputs_of())
    found = denoised_target(model, feed_of(sequences), cell, torch.Generator().manual_seed(derive(0, "x")))
    assert found is not None
    assert found["changed"] == 0.0


def test_some_targets_change_where_the_mask_drops() -> None:
    cell = small_cell("gru4rec", "iadsr", "last")
    model = build_recommender(cell, inputs_of())
    found = denoised_target(model, feed_of(small_sequences()), cell, torch.Generator().manual_seed(0))
    assert found is not None
    assert 0 < found["changed"] < 1
    assert 0 <= found["NDCG@5"] <= found["HR@5"] <= 1
