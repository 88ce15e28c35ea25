"""The control drops as much as it was told to, and nothing at a rate of one."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from iadsr.config.options import find_method, known_methods
from iadsr.conformance.suite import Case
from iadsr.core.errors import ConfigError
from iadsr.methods.method import Batch, MethodInputs
from iadsr.methods.random_drop import RandomDrop
from iadsr.methods.random_drop_options import RandomDropOptions
from iadsr.models.backbone import ItemTable
from tests.helpers import small_cell


class Same(nn.Module):
    def forward(self, embedded: torch.Tensor, lengths: torch.Tensor, users: torch.Tensor) -> torch.Tensor:
        return embedded


SIZES = 3, 200, 4, 4, 50  # items, users, widths, length


def made(inputs: MethodInputs, **options: Any) -> RandomDrop:
    return RandomDrop(inputs, RandomDropOptions(**options))


ITEMS = torch.ones(200, 50, dtype=torch.long)
BATCH = Batch(ITEMS, torch.full((200,), 50), ITEMS > 0, torch.arange(ITEMS.numel()), torch.arange(200))


def test_rates_are_those_of_the_matched_run() -> None:
    control = made(MethodInputs(*SIZES, keep_rates=np.array([0.9, 0.5]), test_keep_rate=1.0))
    table = ItemTable(3, 4)
    shares = []
    for epoch in (1, 2, 3, 9):
        control.begin_epoch(epoch)
        encoded = control(table, Same(), BATCH, torch.ones(1), torch.Generator().manual_seed(epoch))
        assert encoded.keep is not None
        torch.testing.assert_close(encoded.states, table(BATCH.items) * encoded.keep.unsqueeze(-1))
        shares.append(float(encoded.keep.mean()))
    assert shares == pytest.approx([0.9, 0.5, 0.5, 0.5], abs=0.02)
    tested = control.denoise(table, Same(), BATCH, torch.Generator().manual_seed(0))
    assert tested.keep is not None
    assert tested.keep.min() == 1


def test_it_needs_rates() -> None:
    with pytest.raises(ValueError, match="keep rates"):
        made(MethodInputs(*SIZES))


def test_it_packs_what_it_keeps() -> None:
    """States of the kept inputs move up; at a dropped one stands the state of the last kept one before it."""
    control = made(MethodInputs(*SIZES, keep_rates=np.array([0.5]), test_keep_rate=0.5), remove="pack")
    items = torch.arange(1, 6).repeat(8, 1)
    batch = Batch(items, torch.full((8,), 5), items > 0, torch.arange(40), torch.arange(8))
    table = ItemTable(5, 4)
    encoded = control.denoise(table, Same(), batch, torch.Generator().manual_seed(0))
    assert encoded.keep is not None
    for row in range(8):
        last = torch.zeros(4)
        for t in range(5):
            last = table(items[row, t]) if encoded.keep[row, t] else last
            assert torch.equal(encoded.states[row, t], last)


@pytest.mark.parametrize("kind", ["random_drop", "popularity_drop", "text_outlier", "recency"])
def test_a_control_has_a_run_to_match_or_a_rate(kind: str) -> None:
    def options(**given: Any) -> dict[str, Any]:
        found = small_cell("gru4rec", kind, "last", given).method_options
        return {name: found[name] for name in ("match", "rate") if name in found}

    assert options() == {"match": "iadsr"}, "as before there was a rate"
    assert options(match="adt") == {"match": "adt"}
    assert options(rate=0.2) == {"match": None, "rate": 0.2}
    for wrong in ({"match": None}, {"match": "adt", "rate": 0.2}):
        with pytest.raises(ConfigError, match="either `match` or `rate`"):
            options(**wrong)
    model = find_method(kind, kind)
    assert [model(**given).has_keep_rates for given in ({}, {"rate": 0.2})] == [False, True]


def test_a_rate_of_its_own_is_that_of_every_epoch() -> None:
    control = made(MethodInputs(*SIZES), match=None, rate=0.3)
    for epoch in (1, 2, 9):
        control.begin_epoch(epoch)
        keep, _ = control.choose(control.rate, BATCH, torch.Generator().manual_seed(epoch))
        assert float(keep.mean()) == pytest.approx(0.7, abs=0.02)
    assert control.test_rate == 0.7


@pytest.mark.parametrize("kind", known_methods())
def test_whatever_drops_inputs_can_be_matched(kind: str) -> None:
    """A control may copy the rates of any method that has masks, but of one with a backbone of its own or a copy's."""
    model = find_method(kind, kind)
    options = {"rate": 0.5} if issubclass(model, RandomDropOptions) else {}
    case = Case(kind, "own" if model.own_backbone else "gru4rec", "last", options)
    built = case.model(case.cell()).eval()
    batch = case.step(built, case.cell()).batch
    encoded = built.method.denoise(built.table, built.backbone, batch, torch.Generator().manual_seed(0))
    assert model(**options).has_keep_rates == (encoded.keep is not None and not model.own_backbone)
