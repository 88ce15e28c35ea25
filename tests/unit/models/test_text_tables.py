"""Item vectors from text against NumPy's singular value decomposition and loops over items."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from iadsr.models.backbone import INIT_STD, ItemTable
from iadsr.models.text_tables import TextFrozen, TextSum, build, whiten

ITEMS, WIDTH, DIMENSION = 30, 6, 4
TABLES = ["text_sum", "text_frozen"]


def texts(rank: int = WIDTH) -> torch.Tensor:
    """Texts with a mean, directions of unlike variance and a zero row for padding."""
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(ITEMS, rank)) * np.arange(1, rank + 1)
    rows = 3 + parts @ rng.normal(size=(rank, WIDTH))
    return torch.as_tensor(np.vstack((np.zeros(WIDTH), rows))).float()


def table(text: torch.Tensor, items: str, rank_padding: bool = False, **options: Any) -> Any:
    torch.manual_seed(0)
    given = {"items": items, "items_scale": 1.0, "items_reduce": "pca", "items_components": 512, **options}
    return build(ItemTable(ITEMS, DIMENSION, rank_padding), text, given)


def singular(rows: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """U, S and the directions of centred rows, each direction with its largest entry positive."""
    u, s, directions = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    sign = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])
    return u * sign, s, directions * sign[:, None]


def array(x: torch.Tensor) -> npt.NDArray[np.float64]:
    return x.detach().double().numpy()


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_first_weights_are_principal_components_at_our_scale(scale: float) -> None:
    text = texts()
    u, s, _ = singular(array(text[1:]))
    reduced = u[:, :DIMENSION] * s[:DIMENSION]
    made = table(text, "text_init", items_scale=scale)
    weight = array(made.embedding.weight)
    np.testing.assert_allclose(weight[1:], reduced * scale * INIT_STD / np.sqrt((reduced**2).mean()), rtol=1e-4)
    assert weight[1:].std() == pytest.approx(scale * INIT_STD, rel=1e-5)
    assert not weight[0].any()
    assert type(made) is ItemTable, "trained and scored like any other"


def test_first_weights_can_be_a_random_projection() -> None:
    text = texts()
    torch.manual_seed(0)
    ItemTable(ITEMS, DIMENSION)
    projected = array(text[1:] - text[1:].mean(0)) @ array(torch.randn(WIDTH, DIMENSION))
    weight = array(table(text, "text_init", items_reduce="random").embedding.weight[1:])
    np.testing.assert_allclose(weight / weight.std(), projected / np.sqrt((projected**2).mean()), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("width", [512, 3])
def test_whitened_texts_have_mean_zero_and_unit_covariance(width: int) -> None:
    text = texts()
    whitened = array(whiten(text, width))
    count = min(width, WIDTH)
    np.testing.assert_allclose(whitened.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(whitened.T @ whitened / ITEMS, np.eye(count), atol=1e-5)
    np.testing.assert_allclose(whitened, singular(array(text[1:]))[0][:, :count] * np.sqrt(ITEMS), rtol=1e-3, atol=1e-4)


def test_an_item_without_text_enters_no_mean_and_keeps_its_random_weights() -> None:
    text = texts()
    text[[5, 9]] = 0
    others = [item for item in range(ITEMS + 1) if item not in (0, 5, 9)]
    whitened = whiten(text, 512)
    torch.testing.assert_close(whitened[np.array(others) - 1], whiten(text[[0, *others]], 512))
    assert not whitened[[4, 8]].any()
    torch.manual_seed(0)
    free = ItemTable(ITEMS, DIMENSION).embedding.weight
    weight = table(text, "text_init").embedding.weight
    assert torch.equal(weight[[5, 9]], free[[5, 9]])
    assert float(weight[others].detach().std(correction=0)) == pytest.approx(INIT_STD, rel=1e-4)
    summed, frozen = table(text, "text_sum"), table(text, "text_frozen")
    torch.nn.init.ones_(summed.project.bias)
    assert torch.equal(summed.vectors()[[5, 9]], free[[5, 9]] + 1), "its own vector and the map's bias"
    assert torch.equal(frozen.vectors()[5], frozen.vectors()[9])
    assert not torch.equal(frozen.vectors()[5], frozen.vectors()[6])


def test_texts_of_few_directions_leave_the_other_columns_random() -> None:
    text = texts(rank=2)
    torch.manual_seed(0)
    free = ItemTable(ITEMS, DIMENSION).embedding.weight
    weight = table(text, "text_init").embedding.weight
    assert torch.equal(weight[:, 2:], free[:, 2:])
    assert not torch.isclose(weight[1:, :2], free[1:, :2]).any()
    assert whiten(text, 512).shape == (ITEMS, 2)


@pytest.mark.parametrize("items", ["text_init", *TABLES])
def test_texts_that_are_no_texts_of_items_are_refused(items: str) -> None:
    alike = texts()
    alike[1:] = alike[1]
    for text, words in ((alike, "texts that differ"), (alike * 0, "texts that differ"), (texts()[:-1], "29 texts")):
        with pytest.raises(ValueError, match=words):
            table(text, items)


def test_a_sum_is_a_free_vector_and_a_map_of_the_text() -> None:
    text = texts()
    made = table(text, "text_sum", items_scale=3.0)
    torch.nn.init.normal_(made.project.bias)
    weight, bias, whitened = made.project.weight, made.project.bias, whiten(text, 512)
    assert float((whitened @ weight.T).detach().std(correction=0)) == pytest.approx(3 * INIT_STD, rel=1e-4)
    for item in range(1, ITEMS + 1):
        expected = made.embedding.weight[item] + weight @ whitened[item - 1] + bias
        torch.testing.assert_close(made(torch.tensor(item)), expected)
        torch.testing.assert_close(made.candidates[item - 1], expected)
    torch.manual_seed(0)
    assert torch.equal(made.embedding.weight, ItemTable(ITEMS, DIMENSION).embedding.weight), "those of a run without"


def test_a_frozen_table_is_a_network_of_the_text_and_nothing_else() -> None:
    text = texts()
    made = table(text, "text_frozen", items_scale=2.0)
    sizes = {name: tuple(weight.shape) for name, weight in made.named_parameters()}
    assert sizes == {
        "network.0.weight": (DIMENSION, WIDTH),
        "network.0.bias": (DIMENSION,),
        "network.2.weight": (DIMENSION, DIMENSION),
        "network.2.bias": (DIMENSION,),
    }
    assert float(made.candidates.detach().std(correction=0)) == pytest.approx(2 * INIT_STD, rel=1e-4)
    first, _, last = made.network
    for layer in (first, last):
        torch.nn.init.normal_(layer.bias)
    whitened = whiten(text, 512)
    for item in range(1, ITEMS + 1):
        hidden = (first.weight @ whitened[item - 1] + first.bias).clamp(min=0)
        torch.testing.assert_close(made(torch.tensor(item)), last.weight @ hidden + last.bias)


@pytest.mark.parametrize("rank_padding", [False, True])
@pytest.mark.parametrize("items", TABLES)
def test_padding_is_zero_and_inputs_never_train_it(items: str, rank_padding: bool) -> None:
    made = table(texts(), items, rank_padding)
    for weight in made.parameters():
        torch.nn.init.normal_(weight)
    if items == "text_sum":
        torch.nn.init.zeros_(made.embedding.weight[0])
    assert (
        (made.first, made.n_candidates)
        == (1 - rank_padding, ITEMS + rank_padding)
        == (made.first, len(made.candidates))
    )
    vectors = made.computed()
    assert not vectors(torch.tensor([[0, 0]])).any()
    assert torch.equal(vectors.candidates, made.candidates)
    assert torch.equal(vectors.candidates[-1], made(torch.tensor(ITEMS)))
    assert not rank_padding or not made.candidates[0].any()
    vectors(torch.tensor([[0, 3], [0, 0]])).sum().backward()
    assert all(bool(weight.grad.any()) for weight in made.parameters())
    if isinstance(made, TextSum):
        assert made.embedding.weight.grad is not None
        assert made.embedding.weight.grad.any(1).nonzero().flatten().tolist() == [3]
    else:
        assert isinstance(made, TextFrozen)
