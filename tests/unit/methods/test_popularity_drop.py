"""The control keeps as many inputs as its run did, and drops the rarest items."""

import numpy as np
import pytest
import torch

from iadsr.methods.method import Batch, Histories
from iadsr.methods.popularity_drop import PopularityDrop
from iadsr.methods.popularity_drop_options import PopularityDropOptions
from tests.helpers import inputs_of

ITEMS = np.repeat(np.arange(1, 41), np.arange(1, 41)).astype(np.int32)  # item i occurs i times


def test_the_rarest_items_are_dropped() -> None:
    inputs = inputs_of(histories=Histories(ITEMS, np.array([0, len(ITEMS)])))
    control = PopularityDrop(inputs, PopularityDropOptions())
    items = torch.tensor(np.append(ITEMS, 0)).long().unsqueeze(0)
    batch = Batch(items, torch.tensor([len(ITEMS)]), items > 0, torch.arange(len(ITEMS)), torch.zeros(1).long())
    for rate in (1.0, 0.8, 0.3):
        keep = control.choose(rate, batch, torch.Generator())[0][0]
        assert float(keep[:-1].mean()) == pytest.approx(rate, abs=0.03)
        assert keep[:-1].tolist() == sorted(keep[:-1].tolist()), "an item is dropped before a more popular one"
        assert float(keep[-1]) == 1, "padding stays"
