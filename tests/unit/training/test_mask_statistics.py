"""Counts of what a mask dropped, by hand."""

import numpy as np
import pytest
import torch

from iadsr.training.mask_statistics import MaskStatistics, input_deciles, mask_figures

CPU = torch.device("cpu")


def made(noise: torch.Tensor | None) -> MaskStatistics:
    masks = MaskStatistics(4, CPU, noise)
    masks.add(torch.tensor([1, 2, 2]), torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 1, 2]))
    masks.add(torch.tensor([3, 4]), torch.tensor([0.0, 1.0]), torch.tensor([3, 4]))
    return masks


def test_rates_by_item() -> None:
    masks = made(None)
    assert (masks.inputs, masks.keep_rate) == (5, 0.6)
    assert masks.kept.tolist() == [0, 1, 1, 0, 1]
    assert masks.seen.tolist() == [0, 1, 2, 1, 1]
    assert mask_figures(masks) == {"drop_precision": None, "drop_recall": None, "noise_share": None}


def test_precision_and_recall_of_what_is_dropped() -> None:
    """Positions 1 and 3 are dropped; 3 and 4 are noise."""
    masks = made(torch.tensor([False, False, False, True, True]))
    names = ("train_drop_precision", "train_drop_recall", "train_noise_share")
    assert mask_figures(masks, "train_") == dict(zip(names, (0.5, 0.5, 0.4), strict=True))


def test_precision_is_unknown_where_nothing_is_dropped() -> None:
    masks = MaskStatistics(2, CPU, torch.tensor([True, False]))
    masks.add(torch.tensor([1, 2]), torch.ones(2), torch.tensor([0, 1]))
    assert masks.precision_and_recall() == (None, 0.0)


def test_nothing_is_known_of_masks_that_were_never_counted() -> None:
    """A method may drop inputs in scoring alone."""
    masks = MaskStatistics(2, CPU, torch.tensor([True, False]))
    assert mask_figures(masks) == {"drop_precision": None, "drop_recall": None, "noise_share": None}


def test_groups_by_the_training_count_of_the_input() -> None:
    masks = made(None)
    groups = masks.by_group(np.array([0, 3, 90, 5, 200]))
    assert groups["cold"] == {"keep": 0.5, "inputs": 2}
    # inputs in order of their item's count: item 1 (of five inputs the first fifth), 3, 2, 2, 4
    assert groups["decile_2"] == {"keep": 1.0, "inputs": 1}
    assert groups["decile_4"] == {"keep": 0.0, "inputs": 1}
    assert groups["decile_7"] == {"keep": 0.5, "inputs": 2}
    assert groups["decile_10"] == {"keep": 1.0, "inputs": 1}
    assert groups["decile_1"] == {"keep": None, "inputs": 0}


def test_deciles_equal_those_of_targets() -> None:
    """Input by input, the definition that the evaluation uses for targets."""
    from iadsr.evaluation.metrics import popularity_decile

    rng = np.random.default_rng(0)
    counts, inputs = rng.integers(0, 30, 50), rng.integers(0, 6, 50)
    by_input = popularity_decile(np.repeat(counts, inputs))
    assert np.repeat(input_deciles(counts, inputs.astype(float)), inputs).tolist() == by_input.tolist()


def test_state_is_all_there_is(tmp_path: pytest.TempPathFactory) -> None:
    masks, again = made(torch.tensor([True] * 5)), MaskStatistics(4, CPU, torch.tensor([True] * 5))
    for name, sums in masks.state().items():
        setattr(again, name, sums)
    assert again.precision_and_recall() == masks.precision_and_recall()
    assert torch.equal(again.kept, masks.kept)
