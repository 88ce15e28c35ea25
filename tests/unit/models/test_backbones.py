"""Backbones against slow, obvious computations; padding and causality are in tests/properties."""

import sys
import types

import numpy as np
import pytest
import torch
from pydantic import Field
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from iadsr.config.options import BackboneOptions, known_backbones
from iadsr.models.backbone import ItemTable, build_backbone, last_states
from iadsr.models.caser import Caser
from iadsr.models.gru4rec import GRU4Rec
from iadsr.models.recurrence import run_gru
from iadsr.models.sasrec_options import SASRecOptions


@pytest.mark.parametrize("name", list(known_backbones()))
def test_shapes_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, 5, 8, 6, 0.1, known_backbones()[name]().model_dump())
    embedded = torch.randn(3, 6, 8, requires_grad=True)
    states = backbone(embedded, torch.tensor([6, 2, 4]), torch.arange(3))
    assert states.shape == (3, 6, 8)
    states.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in backbone.parameters())


@pytest.mark.parametrize("published", [False, True])
def test_caser_equals_one_window_at_a_time(published: bool) -> None:
    """Tang and Wang's network on the last `window` items, position by position."""
    torch.manual_seed(1)
    caser = Caser(5, 4, 0.0, window=3, horizontal=2, vertical=2, user_embedding=published).eval()
    x = torch.randn(1, 5, 4)
    states = caser(x, torch.tensor([5]), torch.tensor([3]))
    for t in range(5):
        window = torch.zeros(3, 4)
        for k in range(3):
            if t - 2 + k >= 0:
                window[k] = x[0, t - 2 + k]
        pooled = []
        for height, convolution in enumerate(caser.horizontal, start=1):
            places = [
                torch.einsum("fdh,hd->f", convolution.weight, window[i : i + height]) + convolution.bias
                for i in range(3 - height + 1)
            ]
            pooled.append(torch.relu(torch.stack(places)).amax(0))
        horizontal = torch.cat(pooled)
        vertical = torch.einsum("vk,kd->vd", caser.vertical.weight, window) + caser.vertical.bias.unsqueeze(1)
        features = torch.cat((horizontal, vertical.reshape(-1)))
        beside = caser.users.weight[3] if caser.users is not None else x[0, t]
        expected = caser.out(torch.cat((torch.relu(caser.hidden(features)), beside)))
        np.testing.assert_allclose(states[0, t].detach(), expected.detach(), atol=1e-5)


def test_sasrec_attention_equals_a_softmax_by_hand() -> None:
    torch.manual_seed(2)
    model = build_backbone("sasrec", 5, 4, 5, 0.0, SASRecOptions(layers=1, heads=1, inner=8).model_dump()).eval()
    x = torch.randn(1, 3, 4)
    for weight in model.parameters():
        torch.nn.init.normal_(weight)  # the small first weights would hide a mistake
    block = model.blocks[0]  # type: ignore[index,union-attr]
    h = model.norm(x[0] + model.positions[:3])  # type: ignore[index]
    q, k, v = block.qkv(h).split(4, dim=-1)  # type: ignore[union-attr,operator]
    mixed = torch.stack([torch.softmax(k[: t + 1] @ q[t] / 2.0, 0) @ v[: t + 1] for t in range(3)])
    h = block.attention_norm(h + block.out(mixed))  # type: ignore[union-attr,operator]
    expected = block.network_norm(h + block.network(h))  # type: ignore[union-attr,operator]
    np.testing.assert_allclose(model(x, torch.tensor([3]), torch.arange(1))[0].detach(), expected.detach(), atol=1e-5)


def test_sasrec_as_published_equals_its_equations() -> None:
    """Two blocks that norm their inputs, ReLU, a norm at the end, embeddings scaled by sqrt(D)."""
    torch.manual_seed(3)
    options = {"heads": 1, "inner": 4, "norm": "pre", "activation": "relu", "attention_dropout": 0.5}
    model = build_backbone("sasrec", 5, 4, 5, 0.0, SASRecOptions(layers=2, **options).model_dump()).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    embedded = torch.randn(1, 3, 4)
    h = 2 * embedded[0] + model.positions[:3]  # type: ignore[index]
    for block in model.blocks:  # type: ignore[union-attr]
        q, k, v = block.qkv(block.attention_norm(h)).split(4, dim=-1)
        h = h + block.out(torch.stack([torch.softmax(k[: t + 1] @ q[t] / 2.0, 0) @ v[: t + 1] for t in range(3)]))
        first, second = block.network[0], block.network[3]
        h = h + second(torch.relu(first(block.network_norm(h))))
    found = model(embedded, torch.tensor([3]), torch.arange(1))[0]
    np.testing.assert_allclose(found.detach(), model.norm(h).detach(), atol=1e-4)  # type: ignore[operator]


def test_attention_dropout_acts_in_training_alone() -> None:
    torch.manual_seed(4)
    options = SASRecOptions(layers=1, heads=1, inner=4, attention_dropout=0.9).model_dump()
    model = build_backbone("sasrec", 5, 4, 5, 0.0, options)
    x = torch.randn(2, 5, 4), torch.tensor([5, 5]), torch.arange(2)
    assert not torch.equal(model.train()(*x), model(*x))
    assert torch.equal(model.eval()(*x), model(*x))


def test_item_table_pads_with_zero_and_offers_every_item_but_padding() -> None:
    table = ItemTable(5, 4)
    assert table(torch.tensor([0])).abs().sum() == 0
    assert table.candidates.shape == (5, 4)
    states = torch.arange(12.0).view(2, 3, 2)
    assert last_states(states, torch.tensor([1, 3])).tolist() == [[0, 1], [10, 11]]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("lengths", [[6, 6, 6], [2, 6, 1], [3, 1, 4]])
def test_gru_states_and_gradients_equal_those_of_torch(layers: int, lengths: list[int]) -> None:
    torch.manual_seed(0)
    model = GRU4Rec(5, dropout=0.0, hidden=7, layers=layers).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    x = torch.randn(3, 6, 5, dtype=torch.float64, requires_grad=True)
    outer = torch.randn(3, 6, 7, dtype=torch.float64)
    given = torch.tensor(lengths)
    packed = pack_padded_sequence(x, given, batch_first=True, enforce_sorted=False)
    reference = pad_packed_sequence(model.gru(packed)[0], batch_first=True, total_length=6)[0]
    results = []
    for hidden in (run_gru(model.gru, x, given, model.dropout), reference):
        wanted = [x, *model.gru.parameters()]
        results.append((hidden, torch.autograd.grad((hidden * outer).sum(), wanted)))
    (ours, gradients), (theirs, expected) = results
    torch.testing.assert_close(ours, theirs)
    for gradient, wanted_gradient in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted_gradient)


def test_gru_gradients_equal_finite_differences() -> None:
    torch.manual_seed(1)
    model = GRU4Rec(3, dropout=0.0, hidden=4, layers=1).double()
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: run_gru(model.gru, given, torch.tensor([3, 2]), model.dropout), (x,))


class Running(torch.nn.Module):
    """A backbone from a module that the package does not know: this one."""

    class Options(BackboneOptions):
        power: float = Field(1.0, description="of the count by which a sum is divided")

    def __init__(self, n_users: int, dimension: int, max_length: int, dropout: float, power: float) -> None:
        super().__init__()
        self.power = power

    def forward(self, embedded: torch.Tensor, lengths: torch.Tensor, users: torch.Tensor) -> torch.Tensor:
        counts = torch.arange(1, embedded.shape[1] + 1).unsqueeze(1)
        return embedded.cumsum(1) / counts**self.power


def test_a_class_outside_of_the_package_is_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "own_backbones", types.ModuleType("own_backbones"))
    monkeypatch.setattr("own_backbones.Running", Running, raising=False)
    backbone = build_backbone("own_backbones.Running", 5, 4, 3, 0.0, {"power": 1.0})
    embedded = torch.randn(2, 3, 4)
    states = backbone(embedded, torch.tensor([3, 3]), torch.tensor([0, 1]))
    assert torch.allclose(states[:, -1], embedded.mean(1), atol=1e-6)
