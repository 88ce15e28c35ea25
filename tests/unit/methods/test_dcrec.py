"""DCRec against loops by hand: propagation, conformity, fusion, losses; and what each defect changes."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from iadsr.config.options import find_method
from iadsr.config.parse import parse
from iadsr.config.run import RunConfig
from iadsr.core.errors import ConfigError
from iadsr.methods.dcrec import DCRec, ItemGraph, draw_up_to, make_graphs, scale_weights
from iadsr.methods.dcrec_graphs import build_similarity
from iadsr.methods.dcrec_options import DCRecOptions
from iadsr.methods.dcrec_transformer import Transformer
from iadsr.methods.method import Batch, Encoded, Histories
from iadsr.models.dropout import Dropout
from iadsr.sequences.perturb import inject_noise
from iadsr.sequences.samples import training_samples
from iadsr.sequences.split import LAST_TRAINED, Sequences
from iadsr.training.feed import Step
from iadsr.training.loop import train
from iadsr.training.recommender import Recommender, build_recommender
from tests.helpers import N_ITEMS, feed_of, inputs_of, small_cell, small_sequences

FOLDER = Path(__file__).resolve().parents[3] / "workflow" / "config"
DEFECTS = (
    "double_counts", "missing_rows", "reversed_edges", "degrees_twice", "mixed_neighbours", "random_scoring",
)  # fmt: skip
PEOPLE = [3, 8, 4, 5]  # users of the batch, with short histories, so that much of the graph remains


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def built(objective: str = "prefix", **options: Any) -> tuple[Recommender, Step]:
    """A model with large weights and without dropout, and a batch: short inputs, inputs of one item, four users."""
    given = {"edge_dropout": 0.0, "attention_dropout": 0.0, **options}
    cell = small_cell("own", "dcrec", objective, given, dropout=0.0)
    model = build_recommender(cell, inputs_of())
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(weight, std=0.5)
    model.table.embedding.weight.data[0] = 0  # type: ignore[union-attr]
    samples = training_samples(small_sequences(), "prefix", 8, np.random.default_rng(0))
    chosen = np.concatenate([np.flatnonzero(samples.user == user)[[0, 2, 1]] for user in PEOPLE])
    return model, feed_of(small_sequences()).step(samples, chosen)


def method_of(model: Recommender) -> DCRec:
    assert isinstance(model.method, DCRec)
    return model.method


def encode(model: Recommender, step: Step, train_mode: bool = True) -> Encoded:
    model.train(train_mode)
    return model.method(model.table, model.backbone, step.batch, torch.ones(()), stream())


def users_of_histories() -> list[list[int]]:
    """What the graphs of training hold."""
    histories = inputs_of().input_histories
    assert histories is not None
    return [histories.items[a:b].tolist() for a, b in pairwise(histories.offsets.tolist())]


def dense(graph: ItemGraph, weights: Tensor | None = None) -> Tensor:
    size = len(graph.begins) - 1
    found = torch.zeros(size, size)
    for row in range(size):
        for edge in range(int(graph.begins[row]), int(graph.begins[row + 1])):
            found[row, int(graph.columns[edge])] += (graph.values if weights is None else weights)[edge]
    return found


def cosine(left: Tensor, right: Tensor) -> Tensor:
    if not left.any() or not right.any():
        return torch.zeros(())
    return left @ right / (left.norm() * right.norm())


# Encoder


def test_the_transformer_equals_a_softmax_by_hand() -> None:
    torch.manual_seed(2)
    model = Transformer(4, 5, 0.0, 0.0, layers=2, heads=2, inner=6).eval()
    for name, weight in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(weight)
    x, lengths = torch.randn(2, 4, 4), [4, 2]
    states = model(x, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        h = model.norm(x[row, :length] + model.positions[:length])
        for block in model.blocks:
            q, (k, v) = block.query(h), block.key_value(h).chunk(2, dim=-1)  # type: ignore[union-attr,operator]
            mixed = torch.zeros(length, 4)
            for t in range(length):
                for head in (slice(0, 2), slice(2, 4)):
                    shares = torch.softmax(
                        torch.stack([q[t, head] @ k[s, head] / math.sqrt(2) for s in range(length)]), 0
                    )
                    mixed[t, head] = sum(shares[s] * v[s, head] for s in range(length))
            h = block.attention_norm(h + block.out(mixed))  # type: ignore[union-attr,operator]
            h = block.network_norm(h + block.network(h))  # type: ignore[union-attr,operator]
        torch.testing.assert_close(states[row], h[-1], atol=1e-5, rtol=1e-5)


def test_the_transformer_sees_no_padding() -> None:
    model = Transformer(4, 6, 0.0, 0.0, layers=2, heads=1, inner=6).eval()
    x, lengths = torch.randn(2, 3, 4), torch.tensor([3, 1])
    wider = torch.cat((x, 1e3 * torch.randn(2, 2, 4)), 1)
    wider[1, 1:] = 1e3
    torch.testing.assert_close(model(wider, lengths), model(x, lengths))


# Graphs


def test_a_product_and_its_gradient_equal_those_of_the_whole_matrix() -> None:
    histories = inputs_of().histories
    assert histories is not None
    graph = ItemGraph(build_similarity(histories, N_ITEMS, 3))
    weights = torch.rand(len(graph.values)) * (torch.rand(len(graph.values)) > 0.3)
    x, outer = torch.randn(N_ITEMS + 1, 5, requires_grad=True), torch.randn(N_ITEMS + 1, 5)
    matrix = dense(graph, weights)
    assert not torch.equal(matrix, matrix.T)
    results = [(y, torch.autograd.grad((y * outer).sum(), x)[0]) for y in (graph(x, weights), matrix @ x)]
    torch.testing.assert_close(results[0], results[1])
    assert torch.autograd.gradcheck(
        lambda given: graph(given, weights.double()), (torch.randn(N_ITEMS + 1, 2).double().requires_grad_(),)
    )


def test_convolution_equals_its_equations() -> None:
    model, _ = built()
    method = method_of(model)
    every = model.table(method.items)
    views = method.look(every, stream())
    for view, graph in zip(views, (method.adjacency, method.similarity), strict=True):
        once = dense(graph) @ every
        mean = (every + once + dense(graph) @ once) / 3
        torch.testing.assert_close(view, method.graph_norm(mean + every), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("noisy", [False, True])
def test_the_graphs_of_training_hold_no_last_training_target(noisy: bool) -> None:
    """Under objective `last` a row's target would be its last item's neighbour, which it never is in scoring."""
    before: Sequences = inject_noise(small_sequences(), 0.3) if noisy else small_sequences()
    items = before.items.copy()
    places = before.from_end(LAST_TRAINED)
    items[places] = items[places] % N_ITEMS + 1
    methods = [
        DCRec(inputs_of(replace(before, items=given)), DCRecOptions(edge_dropout=0)) for given in (before.items, items)
    ]
    every = torch.randn(N_ITEMS + 1, 8)
    for training in (True, False):
        one, other = (method.train(training).look(every, stream()) for method in methods)
        assert [torch.equal(*pair) for pair in zip(one, other, strict=True)] == [training, training]


def test_edges_of_the_batch_s_users_are_left_out_whoever_else_goes_there() -> None:
    model, step = built()
    method = method_of(model)
    gone = method.edges_of_users(step.batch.users)
    taken = set()
    for user in set(step.batch.users.tolist()):
        for one, other in pairwise(users_of_histories()[user]):
            taken |= {(one, other), (other, one)}
    graph = method.adjacency
    found = set()
    for row in range(N_ITEMS + 1):
        for edge in range(int(graph.begins[row]), int(graph.begins[row + 1])):
            if gone[edge]:
                found.add((row, int(graph.columns[edge])))
    assert found == {(one, other) for one, other in taken if one != other}
    others = [items for user, items in enumerate(users_of_histories()) if user not in PEOPLE]
    assert any(pair in found for items in others for pair in pairwise(items)), "somebody else goes there too"
    assert 0 < int(gone.sum()) < len(gone)


def test_edges_are_dropped_in_training_alone_at_their_rate() -> None:
    method = method_of(built(edge_dropout=0.5)[0])
    graph = method.similarity
    noise = stream()
    shares = [float((method.train().thin(graph, noise) == 0).double().mean()) for _ in range(300)]
    assert np.mean(shares) == pytest.approx(1 - math.exp(-0.5), abs=0.02), "draws with replacement"
    kept = method.thin(graph, noise)
    assert torch.equal(kept[kept > 0], graph.values[kept > 0]), "the others keep their weights"
    assert torch.equal(method.eval().thin(graph, noise), graph.values)


# Conformity


def test_draws_are_some_of_the_places_each_as_likely() -> None:
    wanted = torch.tensor([[1, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]]).bool()
    noise, counts = stream(), torch.zeros(6)
    for _ in range(600):
        places, found = draw_up_to(wanted, 2, noise)
        assert found.sum(1).tolist() == [2, 1, 0]
        assert places[0, 0] != places[0, 1]
        assert wanted[0, places[0]].all() and int(places[1][found[1]]) == 5
        counts[places[0]] += 1
    assert counts[1] == 0
    assert counts[[0, 2, 3, 4, 5]].sub(240).abs().max() < 50
    assert draw_up_to(wanted, 10, noise)[1].sum(1).tolist() == [5, 1, 0]


def conformity_by_hand(model: Recommender, batch: Batch) -> Tensor:
    """With at most ten neighbours nothing is left to chance."""
    method = method_of(model)
    weight = model.table.embedding.weight  # type: ignore[union-attr]
    counts = np.eye(N_ITEMS + 1)
    for items in users_of_histories():
        for one, other in pairwise(items):
            if one != other:
                counts[one, other] += 1
                counts[other, one] += 1
    taken = set()
    for user in batch.users.tolist():
        for one, other in pairwise(users_of_histories()[user]):
            taken |= {(one, other), (other, one)} if one != other else set()
    whole, outside = torch.zeros(N_ITEMS + 1, N_ITEMS + 1), torch.zeros(N_ITEMS + 1, N_ITEMS + 1)
    for row in range(N_ITEMS + 1):
        for column in range(N_ITEMS + 1):
            whole[row, column] = counts[row, column] / math.sqrt(counts[row].sum() * counts[column].sum())
            outside[row, column] = 0 if (row, column) in taken else whole[row, column]

    def convolved(matrix: Tensor) -> Tensor:
        once = matrix @ weight
        found: Tensor = method.graph_norm((weight + once + matrix @ once) / 3 + weight)
        return found

    a, a_outside = convolved(whole), convolved(outside)
    agreement = []
    for row, length in enumerate(batch.lengths.tolist()):
        last = int(batch.items[row, length - 1])
        others, own = [], []
        for item in range(N_ITEMS + 1):
            if whole[last, item]:
                (own if (last, item) in taken else others).append(a[item])
        assert len(others) <= 10 and len(own) <= 10
        mean = torch.stack(others).mean(0)
        mean_own = torch.stack(own).mean(0) if own else torch.zeros(8)
        terms = (cosine(a[last], a_outside[last]), cosine(a[last], mean), cosine(mean_own, mean))
        agreement.append(torch.sigmoid(sum(terms) / 3))
    lowest, highest = min(agreement), max(agreement)
    stretched = [(value - lowest) / (highest - lowest) for value in agreement]
    scale = 0.5 / (sum(stretched) / len(stretched))
    weights = [value * scale for value in stretched]
    return torch.stack(
        [torch.tensor(0.5) if length == 1 else w for w, length in zip(weights, batch.lengths.tolist(), strict=True)]
    )


def test_conformity_equals_that_of_the_loops() -> None:
    model, step = built()
    method = method_of(model).train()
    last = step.batch.items[torch.arange(len(step.batch.items)), step.batch.lengths - 1]
    every = model.table(method.items)
    found = method.measure_conformity(every, method.look(every, stream()).adjacent, step.batch, last, stream())
    wanted = conformity_by_hand(model, step.batch)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert (step.batch.lengths == 1).any() and (step.batch.lengths > 1).any()
    gradient = torch.autograd.grad(found @ torch.arange(12.0), model.table.embedding.weight)[0]  # type: ignore[union-attr]
    expected = torch.autograd.grad(wanted @ torch.arange(12.0), model.table.embedding.weight)[0]  # type: ignore[union-attr]
    torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-3)
    assert float(gradient.abs().max()) > 1e-3


def test_conformity_of_one_row_or_of_equal_rows_is_finite() -> None:
    for agreement in (torch.tensor([0.7]), torch.full((3,), 0.7)):
        weights = scale_weights(agreement, torch.full_like(agreement, 2), 0.5)
        assert weights.isfinite().all()


# Fusion and losses


def test_a_step_equals_that_of_the_loops() -> None:
    """States, contrastive loss and divergence, each from its definition, with their gradients."""
    model, step = built(contrastive=0.7, contrastive_temperature=0.3, divergence=0.2)
    method, batch = method_of(model), step.batch
    encoded = encode(model, step)
    w = conformity_by_hand(model, batch)
    views = method.look(model.table(method.items), stream())
    h, a, s, fused = [], [], [], []
    for row, length in enumerate(batch.lengths.tolist()):
        last = int(batch.items[row, length - 1])
        h.append(method.encoder(model.table(batch.items[row : row + 1, :length]), torch.tensor([length]))[0])
        a.append(views.adjacent[last])
        s.append(views.similar[last])
        parts = [h[-1], a[-1], s[-1]]
        scores = [sum((method.fusion.weight @ part)[d] * method.importance[d] for d in range(8)) for part in parts]
        shares = torch.softmax(torch.stack(scores), 0)  # type: ignore[arg-type]
        fused.append(sum(share * part for share, part in zip(shares, parts, strict=True)))
    states = encoded.states
    assert states is not None
    for row, length in enumerate(batch.lengths.tolist()):
        torch.testing.assert_close(states[row, length - 1], fused[row], atol=1e-4, rtol=1e-4)
    assert (states.abs().sum(-1) > 0).sum() == len(states), "zeros elsewhere"

    def contrast(left: list[Tensor], right: list[Tensor], row: int) -> Tensor:
        masses = [torch.exp(cosine(left[row], other) / 0.3) for other in right]
        return -torch.log(1e-8 + masses[row] / sum(masses))

    rows = range(len(h))
    terms = [w[row] * contrast(h, a, row) + (w.max() - w[row]) * contrast(a, s, row) for row in rows]
    contrastive = 0.7 * sum(terms) / len(terms)
    replay = stream()  # with ten neighbours at most nothing but the numbers of draws matters
    for shape in ((len(w), method.adjacency.widest),) * 2:
        torch.rand(shape, generator=replay)
    drawn = sorted((0.5 + 0.1 * torch.randn(len(w), generator=replay)).tolist())
    order = torch.sort(w).values
    mass = sum(torch.exp(value) for value in order)
    divergence = (
        0.2
        * sum(
            max(q, 1e-8) * (math.log(max(q, 1e-8)) - (value - torch.log(mass)))
            for q, value in zip(drawn, order, strict=True)
        )
        / len(w)
    )
    weight = model.table.embedding.weight  # type: ignore[union-attr]
    for name, wanted in (("contrastive", contrastive), ("divergence", divergence)):
        torch.testing.assert_close(encoded.losses[name], wanted, atol=1e-4, rtol=1e-4)
        gradients = [torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in (encoded.losses[name], wanted)]
        torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-2)
        assert float(gradients[0].abs().max()) > 1e-4
    assert sum(float(encoded.traced[f"share_{part}"]) for part in ("sequence", "adjacent", "similar")) == pytest.approx(
        1
    )


def test_the_second_pass_has_dropout_of_its_own() -> None:
    """As published: the state that is contrasted is another draw of the one that recommends."""
    model, step = built(contrastive=1.0, divergence=0.0)
    method = method_of(model)
    seen: list[Tensor] = []
    method.encoder.register_forward_hook(lambda _, __, state: seen.append(state.detach()))
    encode(model, step)
    assert torch.equal(*seen)
    method.encoder.dropout.dropped, method.encoder.dropout.rate = 128, 0.5
    encode(model, step)
    assert not torch.equal(*seen[2:])


def test_without_weight_a_loss_is_not_computed() -> None:
    model, step = built(contrastive=0.0, divergence=0.0)
    assert not encode(model, step).losses
    model, step = built(contrastive=0.0)
    assert set(encode(model, step).losses) == {"divergence"}
    model, step = built(divergence=0.0)
    assert set(encode(model, step).losses) == {"contrastive"}


# Scoring, the baseline, options


def test_scoring_is_deterministic_and_as_training_without_dropout() -> None:
    model, step = built(edge_dropout=0.5)
    model.eval()
    first, second = (model.represent(step.batch, torch.Generator().manual_seed(seed))[0] for seed in (1, 2))
    assert torch.equal(first, second)
    quiet, step = built()
    method = method_of(quiet)
    method.scored_adjacency, method.scored_similarity = method.adjacency, method.similarity
    states = encode(quiet, step).states
    assert states is not None
    torch.testing.assert_close(quiet.eval().represent(step.batch, stream())[0], states.sum(1))


def test_without_graphs_it_is_its_transformer() -> None:
    model, step = built(graph=False)
    method = method_of(model)
    assert {name.split(".")[0] for name, _ in method.named_parameters()} == {"encoder"}
    encoded = encode(model, step)
    assert encoded.states is not None and not encoded.losses
    state = method.encoder(model.table(step.batch.items), step.batch.lengths)
    torch.testing.assert_close(encoded.states.sum(1), state)
    torch.testing.assert_close(model.eval().represent(step.batch, stream())[0], state)


def test_a_state_looks_ahead_so_objective_all_is_refused() -> None:
    for options in ({}, {"graph": False}):
        with pytest.raises(ConfigError, match=r"'dcrec' would see its target .* use objective 'prefix' or 'last'"):
            small_cell("own", "dcrec", "all", options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads: 3 do not divide the dimension, 8"),
        ({"graph": False, "released": "double_counts"}, "no defect of the release acts"),
    ],
)
def test_contradictory_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_cell("own", "dcrec", "last", options)


def test_dropout_is_that_of_the_settings() -> None:
    for graph, places in ((True, 6), (False, 5)):
        options = DCRecOptions(graph=graph, attention_dropout=0.1)
        found = [part.rate for part in DCRec(inputs_of(dropout=0.3), options).modules() if isinstance(part, Dropout)]
        assert set(found) == {0.1, 0.3}
        assert len(found) == places, "one before the blocks, two in each, one on what enters the graphs"


def test_the_shipped_files_are_dcrec_its_baseline_and_its_release() -> None:
    run = parse(
        RunConfig,
        {
            "name": "t", "description": "d", "datasets": ["movielens-100k"], "encoder": {"kind": "minilm"},
            "protocols": ["paper", "strong_prefix"], "backbones": ["own"], "baseline": "dcrec_plain",
            "methods": ["dcrec", "dcrec_plain", "dcrec_released"], "seeds": [0],
        },
        "test",
    )  # fmt: skip
    cells = {(cell.protocol, cell.method): cell for cell in run.cells(FOLDER)}
    assert len(cells) == 6
    for protocol in ("paper", "strong_prefix"):
        cell = cells[protocol, "dcrec"]
        assert not cell.method_options["released"] and cell.method_options["graph"]
        assert not cells[protocol, "dcrec_plain"].method_options["graph"]
        assert cells[protocol, "dcrec_released"].method_options["released"] == DEFECTS


CHANGES: dict[str, Any] = {
    "graph": False, "layers": 1, "heads": 4, "inner": 7, "attention_dropout": 0.6, "neighbours": 2,
    "edge_dropout": 0.1, "contrastive": 1.0, "contrastive_temperature": 0.2, "divergence": 1.0, "conformity": 0.8,
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_every_option_reaches_the_run(name: str) -> None:
    assert {*CHANGES, "released"} == set(DCRecOptions.model_fields)

    def losses(options: dict[str, Any]) -> list[float]:
        cell = small_cell("own", "dcrec", "last", options, epochs=2)
        return [row.loss for row in train(build_recommender(cell, inputs_of()), feed_of(small_sequences()), cell).curve]

    assert losses({}) != losses({name: CHANGES[name]})


def test_at_most_four_options_are_searched_and_all_belong_to_the_graphs() -> None:
    model = find_method("dcrec", "test")
    assert not any(model.is_active(name, {"graph": False}) for name in model.model_fields)
    assert model.is_active("contrastive", {"graph": True})


# Defects of the release, each by its effect


def graphs_with(*released: str, items: int = N_ITEMS) -> list[np.ndarray]:
    """Both graphs of random histories."""
    rng = np.random.default_rng(0)
    histories = Histories(rng.integers(1, items + 1, 4 * items).astype(np.int32), np.arange(items + 1) * 4)
    return [graph.toarray() for graph in make_graphs(histories, items, DCRecOptions(released=released))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("defect", "changed"),
    [
        ("double_counts", [True, False]),
        ("missing_rows", [False, True]),
        ("reversed_edges", [False, True]),
        ("degrees_twice", [True, True]),
        ("mixed_neighbours", [False, False]),
        ("random_scoring", [False, False]),
    ],
)
def test_a_defect_changes_its_graph_alone(defect: str, changed: list[bool]) -> None:
    items = 900  # more than two blocks of the release's loop
    fair, faulty = graphs_with(items=items), graphs_with(defect, items=items)
    assert [not np.array_equal(*pair) for pair in zip(fair, faulty, strict=True)] == changed
    if defect == "double_counts":
        assert (np.diag(faulty[0])[1:] <= np.diag(fair[0])[1:]).all(), "an item's own vector counts less"
    if defect == "missing_rows":
        right = [row for row in range(items + 1) if np.array_equal(fair[1][row], faulty[1][row])]
        assert right[:512] == list(range(512)) and len(right) < 600
    if defect == "reversed_edges":
        np.testing.assert_array_equal(faulty[1], fair[1].T)
        assert np.ptp(faulty[1][1:].sum(1)) > 0.5, "what an item receives no longer adds up to 1"
    if defect == "degrees_twice":
        assert faulty[0].sum() < fair[0].sum()


def test_mixed_neighbours_counts_neighbours_that_remain_as_the_batch_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most three are drawn, so that some that remain are left for the second draw."""
    monkeypatch.setattr("iadsr.methods.dcrec._NEIGHBOURS", 3)
    vectors = torch.eye(N_ITEMS + 1)
    for released in ((), ("mixed_neighbours",)):
        model, _ = built(released=released)
        method = method_of(model)
        graph = method.adjacency
        last = torch.tensor([int(torch.diff(graph.begins).argmax())])
        edges, inside = graph.edges_of(last)
        removed = torch.zeros(len(graph.values), dtype=torch.bool)
        removed[edges[0, 0]] = True
        remaining, own = set(), set()
        noise = stream()
        for _ in range(60):
            others_mean, own_mean = method.neighbour_means(vectors, last, removed, noise)
            drawn, second = (set(mean[0].nonzero().flatten().tolist()) for mean in (others_mean, own_mean))
            assert len(drawn) == 3 and not drawn & second
            remaining |= drawn
            own |= second
        neighbours = set(graph.columns[edges[inside]].tolist())
        gone = {int(graph.columns[edges[0, 0]])}
        assert remaining == neighbours - gone
        assert own == (neighbours if released else gone)


def test_random_scoring_drops_edges_in_scoring() -> None:
    model, step = built(edge_dropout=0.5, released="random_scoring")
    model.eval()
    first, second = (model.represent(step.batch, torch.Generator().manual_seed(seed))[0] for seed in (1, 2))
    assert not torch.allclose(first, second)


def test_it_needs_histories() -> None:
    for name in ("histories", "input_histories"):
        with pytest.raises(ValueError, match="histories"):
            DCRec(inputs_of(**{name: None}), DCRecOptions())


def test_it_learns_the_ring() -> None:
    """Three steps in four go to the next item of the ring."""
    for options in ({}, {"graph": False}):
        settings = {"epochs": 8, "dropout": 0.1, "dimension": 16, "batch_size": 64, "learning_rate": 0.02}
        cell = small_cell("own", "dcrec", "prefix", options, **settings)
        sequences = small_sequences(users=60)
        model = build_recommender(cell, inputs_of(sequences, dimension=16, dropout=0.1))
        outcome = train(model, feed_of(sequences), cell)
        assert outcome.best_validation > 0.5
