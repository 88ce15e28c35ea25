"""SSDRec: its graph vectors by hand, what it inserts where, and what each defect of its release changes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from iadsr.config.methods import load_method
from iadsr.conformance.suite import CHECKS, Case
from iadsr.core.errors import ConfigError
from iadsr.methods.hierarchical_defects import DEFECTS
from iadsr.methods.hierarchical_layers import Inputs
from iadsr.methods.method import Batch, Encoded, MethodInputs
from iadsr.methods.ssdrec import OWN_DEFECTS, Enlarged, SSDRec
from iadsr.methods.ssdrec_layers import GraphEncoder, Surroundings, choose, consistency
from iadsr.methods.ssdrec_options import SSDRecDefect
from iadsr.models.backbone import last_states
from iadsr.sequences.perturb import inject_noise
from iadsr.sequences.samples import training_samples
from iadsr.sequences.split import LAST_TRAINED
from iadsr.training.feed import Step
from iadsr.training.loop import train
from iadsr.training.recommender import Recommender, build_recommender
from tests.helpers import N_ITEMS, USERS, feed_of, inputs_of, small_cell, small_sequences

CONFIG = Path(__file__).resolve().parents[3] / "workflow" / "config"
LONGEST = 12
TEMPERATURE = torch.tensor(0.5)
EDGES = ("items_before", "items_after", "items_opposed", "users_alike", "users_opposed")


def built(
    options: dict[str, Any] | None = None,
    objective: str = "last",
    backbone: str = "gru4rec",
    inputs: MethodInputs | None = None,
) -> tuple[Recommender, Step]:
    """A model with large weights, and a step of all samples, of which some leave no room for an insertion."""
    cell = Case("ssdrec", backbone, objective, {"logits": "raw", **(options or {})}).cell(
        dropout=0.0, max_length=LONGEST
    )
    torch.manual_seed(1)
    model = build_recommender(cell, inputs or inputs_of(max_length=LONGEST))
    encoder = method_of(model).graph_encoder
    maps = [merge.map.weight for merge in (encoder.merge_items, encoder.merge_users)]
    for weight in model.parameters():
        if not any(weight is each for each in maps):
            torch.nn.init.normal_(weight, std=0.5)
    with torch.no_grad():
        model.table.embedding.weight[0] = 0
    samples = training_samples(small_sequences(), cell.settings.objective, LONGEST, np.random.default_rng(0))
    step = feed_of(small_sequences()).step(samples, np.arange(USERS - 1), model.method.asks_for)
    return model, step


def method_of(model: Recommender) -> SSDRec:
    assert isinstance(model.method, SSDRec)
    return model.method


def stream(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def enlarged(model: Recommender, batch: Batch, seed: int = 5) -> Enlarged:
    method = method_of(model.eval())
    return method.enlarge(method.graph_vectors(model.table), batch, TEMPERATURE, stream(seed))


def trained_on(model: Recommender, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> tuple[Encoded, Enlarged]:
    """One training step without dropout, and the histories that it made."""
    seen: list[Enlarged] = []
    real = type(model.method).enlarge

    def record(*parts: Any) -> Enlarged:
        seen.append(real(*parts))
        return seen[-1]

    monkeypatch.setattr(type(model.method), "enlarge", record)
    model.eval()
    return model.method(model.table, model.backbone, batch, torch.ones(batch.items.shape), stream()), seen[-1]


# Graph vectors


def test_vectors_from_graphs_are_those_of_the_formulas() -> None:
    model, _ = built()
    encoder = method_of(model.eval()).graph_encoder
    assert isinstance(encoder, GraphEncoder)
    graphs = {}
    for name, graph in encoder.graphs.items():
        rows = len(graph.begin) - 1
        wide = USERS if name.startswith("users") else N_ITEMS + 1
        graphs[name] = torch.zeros(rows, wide)
        for row in range(rows):
            for edge in range(int(graph.begin[row]), int(graph.begin[row + 1])):
                graphs[name][row, graph.columns[edge]] += graph.weights[edge]
    items, users = model.table.embedding.weight, method_of(model).users.weight
    found = encoder(items, users)
    a, b, c = (*encoder.blend_users.weights, encoder.blend_users.bias)
    d, e, f = (*encoder.blend_items.weights, encoder.blend_items.bias)
    for user in range(USERS):
        across = graphs["items_of_user"][user] @ items
        parts = [a * (graphs[name][user] @ users) + b * users[user] + c for name in ("users_alike", "users_opposed")]
        torch.testing.assert_close(found.users[user], merged(encoder.merge_users, across, parts), rtol=1e-3, atol=1e-4)
    for item in range(1, N_ITEMS + 1):
        own, parts = items[item], []
        for names in (("items_before", "items_after"), ("items_opposed", "items_opposed")):
            near = [graphs[name][item] @ items for name in names]
            scores = [
                torch.nn.functional.leaky_relu(layer.weight @ (own * part), 0.2).sum() / math.sqrt(8)
                for layer, part in zip((encoder.before, encoder.after), near, strict=True)
            ]
            share = torch.stack(scores).softmax(0)
            parts.append(d * own + e * (share[0] * near[0] + share[1] * near[1]) + f)
        across = graphs["users_of_item"][item] @ users
        torch.testing.assert_close(found.items[item], merged(encoder.merge_items, across, parts), rtol=1e-3, atol=1e-4)


def merged(merge: Any, across: Tensor, parts: list[Tensor]) -> Tensor:
    both = [merge.join.weight @ torch.cat((across, part)) for part in parts]
    result: Tensor = merge.map.weight @ (merge.inner.weight @ ((both[0] + both[1]) / 2)).sigmoid()
    return result


def test_every_step_trains_the_encoder_of_graphs_unless_told_otherwise() -> None:
    method = method_of(built()[0].train())
    table = built()[0].table
    assert all(method.graph_vectors(table).items.requires_grad for _ in range(4))


def test_graphs_are_encoded_at_every_so_many_steps() -> None:
    model, _ = built({"refresh": 3})
    method = method_of(model.train())
    trains = []
    for _ in range(7):
        vectors = method.graph_vectors(model.table)
        trains.append(vectors.items.requires_grad)
    assert trains == [True, False, False, True, False, False, True]
    model.train()
    assert method.graph_vectors(model.table).items.requires_grad, "an epoch begins with an encoding"
    model.eval()
    with torch.no_grad():
        first = method.graph_vectors(model.table).items.clone()
        model.table.embedding.weight += 1
        for _ in range(4):
            assert torch.equal(method.graph_vectors(model.table).items, first), "scoring encodes once"
        model.eval()
        assert not torch.allclose(method.graph_vectors(model.table).items, first), "of the weights that it scores"


def test_an_item_level_reads_the_item_and_a_share_of_the_user() -> None:
    model, step = built()
    method, batch = method_of(model.eval()), step.batch
    vectors = method.graph_vectors(model.table)
    described = method.describe(vectors, batch)
    for row in (0, 3):
        wanted = vectors.items[batch.items[row]] + vectors.users[batch.users[row]] / batch.lengths[row]
        torch.testing.assert_close(described[row], wanted)
    before = method.levels(model.table, model.table(batch.items), batch)
    method.graph_encoder.blend_items.bias.data += 5
    model.eval()
    after = method.levels(model.table, model.table(batch.items), batch)
    assert torch.equal(before.sequence, after.sequence)
    assert not torch.allclose(before.item[batch.valid], after.item[batch.valid])


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize(("objective", "told"), [("last", False), ("prefix", True)])
def test_under_last_no_graph_holds_a_target(objective: str, told: bool, noisy: bool) -> None:
    """Each user's last training target is its only one there; under `prefix`, a target is another sample's input."""
    whole = inject_noise(small_sequences(), 0.3) if noisy else small_sequences()
    items = whole.items.copy()
    places = whole.from_end(LAST_TRAINED)
    items[places] = items[places] % N_ITEMS + 1
    models = [
        built(objective=objective, inputs=inputs_of(replace(whole, items=each), max_length=LONGEST))[0]
        for each in (whole.items, items)
    ]
    ours, theirs = (dict(method_of(model).graph_encoder.named_buffers()) for model in models)
    changed = any(ours[name].shape != theirs[name].shape or not torch.equal(ours[name], theirs[name]) for name in ours)
    assert changed == told


# What surrounds an input, and choices


def test_surroundings_are_those_of_a_row_alone() -> None:
    torch.manual_seed(0)
    layer = Surroundings(4)
    x, lengths = torch.randn(3, 5, 4), torch.tensor([5, 1, 3])
    valid = torch.arange(5) < lengths.unsqueeze(1)
    before, behind = layer(x, lengths)
    fit = consistency(x * valid.unsqueeze(-1), before, behind, valid)
    for row, length in enumerate(lengths.tolist()):
        whole = torch.cat((layer.ends[:1], x[row, :length], layer.ends[1:]))
        ahead = layer.ahead(whole.unsqueeze(0))[0][0]
        back = layer.back(whole.flip(0).unsqueeze(0))[0][0].flip(0)
        torch.testing.assert_close(before[row, :length], ahead[:length])
        torch.testing.assert_close(behind[row, :length], back[2:])
        first = torch.stack([x[row, t] @ (ahead[t] * back[t + 2]) for t in range(length)]).softmax(0)
        clamped = x[row, :length].clamp(-1, 1)
        others = [sum(clamped[t] @ clamped[s] for s in range(length) if s != t) for t in range(length)]
        second = torch.stack([torch.as_tensor(each) for each in others]).float().softmax(0)
        torch.testing.assert_close(fit[row, :length], first * second)
        assert not fit[row, length:].any()


def test_a_choice_is_a_softmax_over_what_is_allowed() -> None:
    logits = torch.tensor([1.0, 0.0, -1.0, 4.0]).expand(20_000, 4).clone().requires_grad_()
    allowed = torch.tensor([True, True, True, False]).expand(20_000, 4)
    for temperature in (0.01, 0.5, 3.0):
        drawn = choose(logits, allowed, torch.tensor(temperature), stream())
        assert torch.equal(drawn.sum(1), torch.ones(20_000)) and set(drawn.unique().tolist()) == {0.0, 1.0}
        wanted = [*torch.tensor([1.0, 0.0, -1.0]).softmax(0).tolist(), 0.0]
        assert drawn.mean(0).tolist() == pytest.approx(wanted, abs=0.015)
    (gradient,) = torch.autograd.grad(drawn[:, 0].sum(), logits)
    assert bool(gradient[:, 0].gt(0).any()) and not gradient[:, 3].any()


# Insertion


@pytest.mark.parametrize("candidates", [0, 5])
def test_items_are_inserted_around_one_input_where_there_is_room(candidates: int) -> None:
    model, step = built({"candidates": candidates}, "prefix")
    batch, vectors = step.batch, method_of(model.eval()).graph_vectors(model.table)
    found = enlarged(model, batch)
    described = method_of(model).describe(vectors, batch)
    places = set()
    assert LONGEST - 2 in batch.lengths and LONGEST - 1 in batch.lengths
    for row, length in enumerate(batch.lengths.tolist()):
        room = length <= LONGEST - 2
        new = found.batch.items[row, : int(found.batch.lengths[row])]
        inserted = found.inserted[row, : len(new)]
        assert len(new) == length + 2 * room and int(inserted.sum()) == 2 * room
        assert torch.equal(new[~inserted], batch.items[row, :length]), "the others stay in order"
        assert torch.equal(found.batch.valid[row], torch.arange(found.batch.items.shape[1]) < len(new))
        assert torch.equal(new[found.places[row, :length]], batch.items[row, :length])
        ends = found.places[row, :length].clone()
        if room:
            first, second = inserted.nonzero().flatten().tolist()
            assert second == first + 2
            ends[first] += 1
            places.add(first)
        assert torch.equal(found.ends[row, :length], ends), "what stands behind an input belongs to its state"
        torch.testing.assert_close(
            found.described[row, : len(new)][inserted], vectors.items[new[inserted]], rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(found.described[row, : len(new)][~inserted], described[row, :length])
    assert len(places) > 3, "not always at one place"
    assert found.taken_out.sum(1).max() == 1
    for row, t in found.taken_out.nonzero().tolist():
        around = found.inserted[row].nonzero().flatten().tolist()
        assert around[0] <= t <= around[1]
    assert 0 < found.taken_out.any(1).float().mean() < 1


def test_what_is_inserted_depends_on_what_stands_around() -> None:
    """With a temperature near 0 and strong states, the candidate with the largest inner product."""
    model, _ = built({"candidates": 0})
    method = method_of(model.eval())
    items = method.graph_vectors(model.table).items
    state = 1e3 * torch.randn(30, 8, generator=stream())
    drawn, vector = method.choose_item(state, items, torch.tensor(0.01), stream())
    assert torch.equal(drawn, (state @ items[1:].T).argmax(1) + 1)
    torch.testing.assert_close(vector, items[drawn])


def test_the_first_item_is_chosen_by_what_precedes_and_the_second_by_what_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, step = built()
    method, batch = method_of(model.eval()), step.batch
    described = method.describe(method.graph_vectors(model.table), batch) * batch.valid.unsqueeze(-1)
    around = method.surroundings(described, batch.lengths)
    asked: list[Tensor] = []
    answers: list[tuple[Tensor, Tensor]] = []
    real = SSDRec.choose_item

    def record(self: SSDRec, state: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        asked.append(state)
        answers.append(real(self, state, *rest))
        return answers[-1]

    monkeypatch.setattr(SSDRec, "choose_item", record)
    found = enlarged(model, batch)
    for row in found.inserted.any(1).nonzero().flatten().tolist():
        place = int(found.inserted[row].nonzero()[0])
        for state, states, (item, _), at in zip(asked, around, answers, (place, place + 2), strict=True):
            torch.testing.assert_close(state[row], states[row, place])
            assert found.batch.items[row, at] == item[row]


def test_a_gradient_reaches_both_choices() -> None:
    """From the item level alone: the backbone reads the items that were chosen, not how."""
    model, step = built()
    method = method_of(model.train())
    longer = method.enlarge(method.graph_vectors(model.table), step.batch, TEMPERATURE, stream())
    rows = longer.inserted.any(1)
    first = longer.inserted[rows].long().argmax(1)
    parameters = list(method.surroundings.parameters())
    for where in (first, first + 1, first + 2):
        picked = longer.described[rows][torch.arange(int(rows.sum())), where]
        for gradient in torch.autograd.grad(picked.square().sum(), parameters, retain_graph=True):
            assert bool(gradient.any())


@pytest.mark.parametrize("defects", [[], ["stale_mask"]])
@pytest.mark.parametrize("backbone", ["gru4rec", "sasrec"])
def test_the_last_state_is_that_of_what_is_kept(
    backbone: str, defects: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, step = built({"defects": defects}, backbone=backbone)
    batch = step.batch
    encoded, longer = trained_on(model, batch, monkeypatch)
    assert encoded.states is not None and encoded.keep is not None and encoded.mask is not None
    vectors = last_states(encoded.states, batch.lengths)
    kept = (encoded.mask > 0.5) & longer.batch.valid
    assert not kept[longer.taken_out].any() or bool((kept.sum(1) == 1).any())
    fallen = 0
    for row, length in enumerate(batch.lengths.tolist()):
        items = longer.batch.items[row][kept[row]].unsqueeze(0)
        alone = model.backbone(model.table(items), torch.tensor([items.shape[1]]), batch.users[row : row + 1])
        torch.testing.assert_close(vectors[row], alone[0, -1], rtol=1e-4, atol=1e-5)
        for t in range(length):
            place = int(longer.places[row, t])
            within = place < int(longer.batch.lengths[row])
            assert encoded.keep[row, t] == float(within and bool(kept[row, place]))
            fallen += not within
        assert int(longer.batch.lengths[row]) == length + 2 * (not defects and length <= LONGEST - 2)
    assert (fallen > 0) == bool(defects), "as released, the newest items fall off"
    assert encoded.keep[~batch.valid].eq(1).all()
    assert 0.3 < kept[longer.inserted].float().mean() < 1


def test_the_sequence_level_does_not_read_what_was_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model, step = built()
    read: list[Tensor] = []
    real = method_of(model).sequence_level.decode

    def record(inputs: Inputs) -> Tensor:
        read.append(inputs.embedded)
        return real(inputs)

    monkeypatch.setattr(method_of(model).sequence_level, "decode", record)
    _, longer = trained_on(model, step.batch, monkeypatch)
    assert bool(longer.taken_out.any())
    torch.testing.assert_close(read[0], model.table(longer.batch.items * ~longer.taken_out))


def test_nothing_is_inserted_in_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    model, step = built()
    monkeypatch.delattr(SSDRec, "enlarge")
    first, second = (
        model.eval().method.denoise(model.table, model.backbone, step.batch, stream(seed)) for seed in (1, 2)
    )
    assert torch.equal(first.states, second.states)
    kept = first.keep.bool() & step.batch.valid
    assert 0.2 < kept.sum() / step.batch.valid.sum() < 1
    vectors = last_states(first.states, step.batch.lengths)
    for row in range(len(kept)):
        items = step.batch.items[row][kept[row]].unsqueeze(0)
        alone = model.backbone(model.table(items), torch.tensor([items.shape[1]]), step.batch.users[row : row + 1])
        torch.testing.assert_close(vectors[row], alone[0, -1], rtol=1e-4, atol=1e-5)


def test_what_its_curve_shows() -> None:
    cell = small_cell("gru4rec", "ssdrec", "last")
    curve = train(build_recommender(cell, inputs_of()), feed_of(small_sequences()), cell).curve
    wanted = {"inserted_rows", "rows_taken_out", "inserted_kept", "noise_by_sequence", "noise_by_item", "loss_bpr"}
    for row in curve:
        assert wanted <= row.figures.keys()
        assert 0 < row.figures["rows_taken_out"] < row.figures["inserted_rows"] < 1
        assert 0 < row.figures["inserted_kept"] < 1


# Defects


def test_insertion_mostly_misses_short_histories_as_released() -> None:
    rates = {}
    for defects in ((), ("padded_positions",)):
        model, step = built({"defects": list(defects)})
        short = step.batch.select((step.batch.lengths <= 5).nonzero().flatten())
        room = [enlarged(model, short, seed).inserted.any(1) for seed in range(40)]
        rates[defects] = float(torch.stack(room).float().mean())
        mean = float(short.lengths.float().mean())
    assert rates[()] == 1
    assert rates["padded_positions",] < 0.6 * mean / LONGEST * 2 and rates["padded_positions",] < mean / LONGEST


def test_the_user_is_missing_in_scoring_as_released() -> None:
    models = [built({"defects": defects})[0] for defects in ([], ["no_user_at_test"])]
    models[1].load_state_dict(models[0].state_dict())
    _, step = built()
    batch = Batch(**{name: getattr(step.batch, name) for name in Batch.__dataclass_fields__})
    parts = []
    for model in models:
        method = method_of(model.eval())
        vectors = method.graph_vectors(model.table)
        parts.append((method.describe(vectors, step.batch), method.describe(vectors, batch), vectors))
    assert torch.equal(parts[0][0], parts[1][0]) and torch.equal(parts[0][0], parts[0][1])
    assert torch.equal(parts[1][1], parts[1][2].items[batch.items])
    assert not torch.allclose(parts[1][1], parts[0][1])


def test_maps_that_start_at_zero_hide_the_graphs() -> None:
    for defects in ([], ["zero_maps"]):
        cell = small_cell("gru4rec", "ssdrec", "last", {"defects": defects})
        model = build_recommender(cell, inputs_of())
        vectors = method_of(model.eval()).graph_vectors(model.table)
        assert bool(vectors.items.any()) == bool(vectors.users.any()) == (not defects)


@pytest.mark.parametrize("name", ["target_query", "test_noise"])
def test_it_has_the_defects_of_hsd(name: str) -> None:
    for defects in ([], [name]):
        model, step = built({"defects": defects})
        method, batch = method_of(model.eval()), step.batch
        embedded = model.table(batch.items)
        if name == "target_query":
            query = method.query(model.table, embedded, batch)[:, 0]
            assert torch.equal(query, model.table(step.targets)) == bool(defects)
        else:
            states = [method.denoise(model.table, model.backbone, batch, stream(seed)).states for seed in (1, 2)]
            assert torch.equal(*states) == (not defects)


def test_all_defects_together_train_and_resume() -> None:
    options = load_method(CONFIG, "ssdrec_released").options
    assert set(options["defects"]) == {*DEFECTS, *OWN_DEFECTS} == set(get_args(SSDRecDefect))
    assert CHECKS["resumed equals never killed"](Case("ssdrec", "gru4rec", "last", options)) is None


@pytest.mark.parametrize(
    ("options", "objective", "words"),
    [
        ({}, "all", "inserts items by what comes after"),
        ({"scope": "causal"}, "last", "inserts items by what comes after"),
        ({"mask": "none"}, "last", "it is `hsd` with `mask: none`"),
        ({"defects": ["batch_statistics"], "norm": "layer"}, "last", "has no batch_statistics"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], objective: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        small_cell("gru4rec", "ssdrec", objective, options)


def test_it_needs_histories() -> None:
    for objective, name in (("last", "input_histories"), ("prefix", "histories")):
        with pytest.raises(ValueError, match="training histories"):
            build_recommender(small_cell("gru4rec", "ssdrec", objective), inputs_of(**{name: None}))
