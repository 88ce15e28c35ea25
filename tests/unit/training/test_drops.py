"""What a mask dropped is told by counts that can be made by hand."""

import numpy as np
import torch

from iadsr.training.drops import describe_drops, describe_history, example_users
from iadsr.training.mask_statistics import MaskStatistics


def masks_of(inputs: dict[int, tuple[int, int]]) -> MaskStatistics:
    """Statistics of items with (kept, seen) inputs."""
    masks = MaskStatistics(9, torch.device("cpu"))
    for item, (kept, seen) in inputs.items():
        items = torch.full((seen,), item)
        masks.add(items, torch.arange(seen) < kept, items)
    return masks


def test_items_stand_in_the_order_of_their_keep_rates_and_rare_ones_do_not_count() -> None:
    described = describe_drops(
        masks_of({1: (10, 20), 2: (0, 19), 3: (40, 40), 4: (5, 20), 5: (30, 30), 6: (20, 40)}), []
    )
    assert described["least"] == [
        {"item": 4, "keep": 0.25, "inputs": 20},
        {"item": 6, "keep": 0.5, "inputs": 40},  # of equal rates the more frequent first
        {"item": 1, "keep": 0.5, "inputs": 20},
        {"item": 3, "keep": 1.0, "inputs": 40},
        {"item": 5, "keep": 1.0, "inputs": 30},
    ]
    assert [one["item"] for one in described["most"]] == [3, 5, 6, 1, 4]
    assert described["histories"] == []


def test_a_history_is_its_latest_inputs() -> None:
    described = describe_history("u7", np.arange(1, 15), np.linspace(0, 1, 14), 9)
    assert described["items"] == list(range(3, 15))
    assert described["keep"][0] == round(2 / 13, 3) and described["keep"][-1] == 1.0
    assert (described["user"], described["target"]) == ("u7", 9)


def test_example_users_stand_at_equal_distances() -> None:
    assert example_users(943).tolist() == [157, 314, 471, 628, 785]
    assert example_users(2).tolist() == [0, 1]
    assert example_users(1).tolist() == [0]
