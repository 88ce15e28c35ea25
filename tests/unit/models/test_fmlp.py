"""FMLP-Rec against a discrete Fourier transform by hand; what its padding does, and what it does not."""

from __future__ import annotations

import cmath
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from iadsr.config.run import RunConfig
from iadsr.core.errors import ConfigError
from iadsr.models.fmlp import FMLPRec, apply_filter, pad_left, pad_right
from tests.unit.config.test_run import FOLDER, run

LENGTH = 7
Array = NDArray[np.float64]


def filtered_by_hand(x: Array, weight: Array) -> Array:
    """One channel (L,) and its filter (L // 2 + 1, 2): frequencies above half are the conjugates of those below."""
    length = len(x)
    half = [complex(*pair) for pair in weight]
    spectrum = [sum(x[t] * cmath.exp(-2j * math.pi * k * t / length) for t in range(length)) for k in range(length)]
    product = [spectrum[k] * (half[k] if k <= length // 2 else half[length - k].conjugate()) for k in range(length)]
    for k in (0, *([length // 2] if length % 2 == 0 else [])):  # a real sequence has a real part alone there
        product[k] = complex(product[k].real, 0)
    return np.array(
        [sum(product[k] * cmath.exp(2j * math.pi * k * t / length) for k in range(length)).real / length
         for t in range(length)]
    )  # fmt: skip


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_a_filter_equals_a_transform_by_hand(length: int) -> None:
    rng = np.random.default_rng(length)
    x, weight = rng.normal(size=(2, length, 3)), rng.normal(size=(length // 2 + 1, 3, 2))
    found = apply_filter(torch.tensor(x), torch.tensor(weight))
    expected = np.empty_like(x)
    for row in range(2):
        for channel in range(3):
            expected[row, :, channel] = filtered_by_hand(x[row, :, channel], weight[:, channel])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def norm(x: Array) -> Array:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def large(dropout: float = 0.0, layers: int = 2, max_length: int = LENGTH) -> FMLPRec:
    """A model whose weights are large enough to show a mistake."""
    torch.manual_seed(0)
    model = FMLPRec(4, max_length, dropout, layers, inner=6).double()
    for name, weight in model.named_parameters():
        torch.nn.init.normal_(weight, mean=float("norm.weight" in name), std=0.0 if "norm" in name else 0.7)
    return model.eval()


def states_of(model: FMLPRec, x: Tensor, lengths: list[int]) -> Tensor:
    return model(x, torch.tensor(lengths), torch.arange(len(x))).detach()


def test_states_equal_the_equations() -> None:
    """Two blocks on three items behind four places of padding."""
    model = large()
    items = torch.randn(1, 3, 4, dtype=torch.float64)
    h = np.zeros((LENGTH, 4))
    h[4:] = items[0]
    h = norm(h + model.positions.detach().numpy())
    for block in model.blocks:
        weight = block.filter.detach().numpy()  # type: ignore[union-attr,operator]
        y = np.stack([filtered_by_hand(h[:, channel], weight[:, channel]) for channel in range(4)], axis=1)
        h = norm(h + y)
        first, _, second = (layer for layer in block.network)  # type: ignore[union-attr]
        inner = h @ first.weight.detach().numpy().T + first.bias.detach().numpy()
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        h = norm(h + inner @ second.weight.detach().numpy().T + second.bias.detach().numpy())
    np.testing.assert_allclose(states_of(model, items, [3])[0], h[4:], atol=1e-9)


def test_rows_move_to_the_end_and_back() -> None:
    x = torch.arange(1.0, 13.0).view(2, 6, 1)
    lengths = torch.tensor([6, 2])
    left = pad_left(x, lengths, 8)
    assert left[..., 0].tolist() == [[0, 0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0, 7, 8]]
    again = pad_right(left, lengths, 6)
    assert torch.equal(again[0], x[0]) and torch.equal(again[1, :2], x[1, :2])


def test_a_state_does_not_depend_on_the_batch() -> None:
    """Bit for bit among other rows and widths; a batch of another size may round its products otherwise."""
    torch.manual_seed(1)
    model = FMLPRec(8, 20, 0.0, 2, 32).eval()
    mine = torch.randn(5, 8)

    def state(others: list[int], width: int, place: int) -> Tensor:
        x = torch.randn(len(others) + 1, width, 8)  # what stands behind a row's items is of no account either
        x[place, :5] = mine
        lengths = [*others[:place], 5, *others[place:]]
        return states_of(model, x, lengths)[place, :5]

    states = [state([5, 5, 5], 5, 0), state([20, 1, 7], 20, 0), state([2, 9, 3], 9, 2), state([1, 1, 6], 6, 3)]
    assert all(torch.equal(one, other) for one, other in pairwise(states))
    for others, width in (([], 5), ([4], 6), ([3] * 40, 12)):
        torch.testing.assert_close(state(others, width, 0), states[0], atol=1e-5, rtol=1e-5)


def test_padding_enters_by_its_place_as_published() -> None:
    """Whatever stands behind a row's items is of no account; the position vectors of the padding before them are."""
    model, items = large(), torch.randn(1, 5, 4, dtype=torch.float64)
    before = states_of(model, items, [3])[0, :3]
    assert torch.equal(states_of(model, torch.cat((items[:, :3], 1e6 * items[:, 3:]), 1), [3])[0, :3], before)
    for place in range(4):
        changed = large()
        with torch.no_grad():
            changed.positions[place] = torch.tensor([3.0, -2.0, 1.0, -2.0])
        assert not torch.allclose(states_of(changed, items, [3])[0, :3], before, atol=1e-3)


def test_every_state_sees_the_whole_input() -> None:
    """So it is no causal backbone, and its options say so."""
    model, items = large(), torch.randn(1, 3, 4, dtype=torch.float64)
    before = states_of(model, items, [3])
    for place in range(3):
        changed = items.clone()
        changed[0, place, 0] += 1
        assert (states_of(model, changed, [3]) - before).abs().amax(-1).min() > 1e-6


def test_dropout_acts_in_training_alone() -> None:
    model, x = large(dropout=0.5), torch.randn(2, 5, 4, dtype=torch.float64)
    lengths = torch.tensor([5, 2])
    assert not torch.equal(model.train()(x, lengths, lengths), model(x, lengths, lengths))
    assert torch.equal(model.eval()(x, lengths, lengths), model(x, lengths, lengths))


def fmlp(protocol: str, dataset: str = "movielens-100k") -> RunConfig:
    return run(backbones=["fmlp"], protocols=[protocol], datasets=[dataset], methods=["none", "iadsr"])


def test_it_runs_where_the_last_state_alone_is_trained() -> None:
    for protocol in ("paper", "strong_prefix"):
        cells = fmlp(protocol).cells(FOLDER)
        assert {cell.backbone for cell in cells} == {"fmlp"} and len(cells) > 0
    assert {cell.method_options["scope"] for cell in cells if cell.kind == "iadsr"} == {"sequence"}
    assert fmlp("strong", "beauty").cells(FOLDER)
    for protocol in ("strong", "strong_all"):
        with pytest.raises(ConfigError, match=r"this fmlp .* sees what follows a position.* 'prefix' or 'last'"):
            fmlp(protocol).cells(FOLDER)
    with pytest.raises(ConfigError, match="the release has no fmlp"):
        fmlp("released").cells(FOLDER)
