"""STEAM: corruption and its undoing, correction, losses, and what its options do."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from iadsr.config.encoders import parse_encoder
from iadsr.config.grid import resolve_method
from iadsr.config.methods import load_method
from iadsr.config.options import find_method
from iadsr.config.protocol import load_protocol, resolve_settings
from iadsr.conformance.examples import planted_sequences
from iadsr.core.errors import ConfigError
from iadsr.methods.method import TrainingBatch
from iadsr.methods.steam import STEAM
from iadsr.methods.steam_corruption import (
    DELETE,
    INSERT,
    KEEP,
    Corrupted,
    Rates,
    corrupt,
    cut_part,
    draw_masks,
    draw_others,
)
from iadsr.methods.steam_network import apply_operations, places_of
from iadsr.sequences.samples import training_samples
from iadsr.training.loop import evaluation_noise, train
from iadsr.training.recommender import Recommender, build_recommender
from iadsr.training.score import Scorer
from tests.helpers import N_ITEMS, feed_of, inputs_of, small_cell, small_sequences

FOLDER = Path(__file__).resolve().parents[3] / "workflow" / "config"
VARIANTS: list[dict[str, Any]] = [
    {},
    {"corrector": False},
    {"recommender": "next_item"},
    {"recommender": "next_item", "corrector": False},
]


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_rows(count: int, longest: int, n_items: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random rows of 1 to `longest` items, some of which repeat."""
    lengths = torch.randint(1, longest + 1, (count,), generator=noise(seed))
    items = torch.randint(1, n_items + 1, (count, longest), generator=noise(seed + 1))
    return items * (torch.arange(longest) < lengths.unsqueeze(1)), lengths


def unpadded(rows: Tensor) -> list[list[int]]:
    return [[item for item in row if item] for row in rows.tolist()]


def a_model(objective: str = "last", dropout: float = 0.0, **options: Any) -> tuple[Recommender, STEAM, TrainingBatch]:
    """A model with item and position vectors large enough to matter, and a training batch of rows of any length."""
    torch.manual_seed(0)
    cell = small_cell("own", "steam", objective, options, dropout=dropout)
    model = build_recommender(cell, inputs_of(dropout=dropout))
    with torch.no_grad():
        for weight in (model.table.embedding.weight[1:], model.method.encoder.positions, model.method.tokens.special):
            weight.mul_(50)
    samples = training_samples(small_sequences(), cell.settings.objective, 8, np.random.default_rng(0))
    step = feed_of(small_sequences()).step(samples, np.arange(16), model.method.asks_for)
    assert isinstance(model.method, STEAM)
    return model, model.method, step.batch


# corruption


def restored(corrupted: Corrupted) -> list[list[int]]:
    """What the labels say of each row, carried out one position at a time."""
    deleted = dict(zip(corrupted.places.tolist(), corrupted.deleted.tolist(), strict=True))
    rows = []
    for row, items in enumerate(corrupted.items.tolist()):
        rows.append([])
        for place, item in enumerate(items):
            label = int(corrupted.labels[row, place])
            assert (label == INSERT) == (row * len(items) + place in deleted)
            if label == INSERT:
                back = [other for other in deleted[row * len(items) + place] if other]
                assert back, "an insertion inserts something"
                rows[-1] += back[::-1]
            if item and label != DELETE:
                rows[-1].append(item)
    return rows


@pytest.mark.parametrize(
    "rates",
    [Rates(0.5, 0.1, 5), Rates(0.8, 0.1, 3), Rates(0.3, 0.6, 5), Rates(0.0, 0.5, 5), Rates(0.6, 0.0, 1)],
    ids=str,
)
def test_undoing_a_corruption_restores_the_row(rates: Rates) -> None:
    items, lengths = some_rows(4000, 12, 40)
    corrupted = corrupt(items, lengths, rates, 40, 20, noise(2))
    assert restored(corrupted) == unpadded(items)
    assert (corrupted.items > 0).sum(1).max() <= 20
    assert corrupted.deleted.shape[1] == rates.longest
    for raw, row, labels in zip(unpadded(items), corrupted.items.tolist(), corrupted.labels.tolist(), strict=True):
        inserted = [item for item, label in zip(row, labels, strict=True) if label == DELETE]
        assert not set(inserted) & set(raw), "an inserted item is none of the row's"
        assert 0 not in inserted


def slow_walk(raw: list[int], rates: Rates, rng: random.Random) -> tuple[tuple[int, int], ...]:
    """A walk as the release takes it: (label, how many items were deleted before) at each corrupted position."""
    done: list[tuple[int, int]] = []
    at, last = 0, len(raw) - 1

    def draw() -> int:
        value = rng.random()
        return INSERT if value < rates.insert else DELETE if value < rates.insert + rates.delete else KEEP

    while at <= last:
        drawn, run = draw(), 0
        while drawn == DELETE and at < last and run < rates.longest:
            at, run, drawn = at + 1, run + 1, draw()
        if run:
            done.append((INSERT, run))
            at += 1
        elif drawn == KEEP:
            done.append((KEEP, 0))
            at += 1
        elif drawn == INSERT:
            done.append((DELETE, 0))
    return tuple(done)


@pytest.mark.parametrize("rates", [Rates(0.5, 0.1, 5), Rates(0.4, 0.3, 2)], ids=str)
def test_corruptions_are_as_likely_as_a_walk_makes_them(rates: Rates) -> None:
    """Counts of whole corruptions of a row of four items, of every kind that is not too rare to count."""
    count, rng = 40_000, random.Random(0)
    raw = [7, 3, 9, 5]
    expected = Counter(slow_walk(raw, rates, rng) for _ in range(count))
    corrupted = corrupt(torch.tensor(raw).expand(count, 4), torch.full((count,), 4), rates, 50, 60, noise())
    runs = torch.zeros_like(corrupted.items).flatten()
    runs[corrupted.places] = (corrupted.deleted > 0).sum(1)
    parts = zip(
        corrupted.labels.tolist(), runs.view_as(corrupted.items).tolist(), corrupted.items.tolist(), strict=True
    )
    found = Counter(tuple((label, run) for label, run, item in zip(*row, strict=True) if item) for row in parts)
    often = {kind for kind in expected | found if max(expected[kind], found[kind]) > 100}
    assert len(often) > 20
    for kind in often:
        spread = (expected[kind] + found[kind]) ** 0.5
        assert abs(expected[kind] - found[kind]) < 5 * spread, kind


def test_probabilities_of_the_first_operation() -> None:
    count, rates = 50_000, Rates(0.5, 0.1, 5)
    corrupted = corrupt(torch.arange(1, 4).expand(count, 3), torch.full((count,), 3), rates, 50, 60, noise())
    shares = [float((corrupted.labels[:, 0] == operation).double().mean()) for operation in (KEEP, DELETE, INSERT)]
    assert shares == pytest.approx([0.4, 0.1, 0.5], abs=0.01)
    alone = corrupt(torch.ones(count, 1).long(), torch.ones(count).long(), rates, 50, 60, noise())
    shares = [float((alone.labels[:, 0] == operation).double().mean()) for operation in (KEEP, DELETE, INSERT)]
    assert shares == pytest.approx([0.8, 0.2, 0.0], abs=0.01), "the last item is never deleted: draw again"


def test_what_was_deleted_is_wanted_in_reverse() -> None:
    items, lengths = torch.arange(1, 21).expand(500, 20), torch.full((500,), 20)
    corrupted = corrupt(items, lengths, Rates(0.7, 0.1, 5), 40, 60, noise())
    before = corrupted.items.flatten()[corrupted.places]
    for item, deleted in zip(before.tolist(), corrupted.deleted.tolist(), strict=True):
        run = sum(other > 0 for other in deleted)
        assert deleted == [item - 1 - k if k < run else 0 for k in range(5)]
    lengths_of_runs = Counter((corrupted.deleted > 0).sum(1).tolist())
    assert set(lengths_of_runs) == {1, 2, 3, 4, 5}


def test_other_items_are_uniform_among_those_that_a_row_lacks() -> None:
    rows = torch.tensor([[2, 2, 5, 0], [1, 2, 3, 7], [0, 0, 0, 0]])
    drawn = draw_others(rows, 70_000, 7, noise())
    for row, lacking in zip(drawn, ([1, 3, 4, 6, 7], [4, 5, 6], [1, 2, 3, 4, 5, 6, 7]), strict=True):
        shares = row.bincount(minlength=8) / len(row)
        expected = torch.tensor([1 / len(lacking) if item in lacking else 0.0 for item in range(8)])
        torch.testing.assert_close(shares, expected, rtol=0, atol=0.01)
        assert not shares[expected == 0].any()


def test_a_row_of_all_items_gets_no_other() -> None:
    corrupted = corrupt(torch.tensor([[1, 2, 3]] * 200), torch.full((200,), 3), Rates(0.2, 0.7, 5), 3, 60, noise())
    assert not (corrupted.labels == DELETE).any()
    assert restored(corrupted) == [[1, 2, 3]] * 200


def test_parts_begin_anywhere_and_are_cut_at_the_end() -> None:
    count, n, longest = 60_000, 5, 3
    items = torch.cat((torch.arange(1, n + 1), torch.zeros(2).long())).expand(count, -1)
    parts, lengths = cut_part(items, torch.full((count,), n), longest, noise())
    assert parts.shape[1] == longest
    found = Counter(tuple(part) for part in unpadded(parts))
    assert lengths.tolist() == [len(part) for part in unpadded(parts)]
    expected = Counter[tuple[int, ...]]()
    for begin in range(n):
        for size in range(1, longest + 1):
            expected[tuple(range(begin + 1, min(n, begin + size) + 1))] += 1
    assert set(found) == set(expected)
    for part, times in expected.items():
        assert found[part] / count == pytest.approx(times / (n * longest), abs=0.006)


def test_masks_have_a_place_unless_they_may_be_empty() -> None:
    """`empty_masks` of the release: then half of the rows with one item teach nothing."""
    valid = torch.arange(4) < torch.tensor([[1], [4], [0]] * 20_000)
    masks = draw_masks(valid, 0.5, noise()).view(-1, 3, 4)
    assert masks[:, 0, 0].all() and not masks[:, 0, 1:].any() and not masks[:, 2].any()
    assert masks[:, 1].any(1).all()
    assert masks[:, 1].double().mean(0).tolist() == pytest.approx([0.5 + 1 / 64] * 4, abs=0.015)
    released = draw_masks(valid, 0.5, noise(), empty=True).view(-1, 3, 4)
    assert float(released[:, 0, 0].double().mean()) == pytest.approx(0.5, abs=0.015)
    assert float((~released[:, 1].any(1)).double().mean()) == pytest.approx(1 / 16, abs=0.01)
    assert not released[:, 0, 1:].any() and not released[:, 2].any()


# correction


def slow_correction(row: list[int], operations: list[int], new: dict[int, list[int]], longest: int) -> list[int]:
    done: list[int] = []
    for place, (item, operation) in enumerate(zip(row, operations, strict=False)):
        if operation == INSERT:
            done += new[place][::-1]
        if operation != DELETE:
            done.append(item)
    return done[-longest:]


@pytest.mark.parametrize("longest", [5, 60])
def test_corrections_equal_those_of_a_loop(longest: int) -> None:
    items, _ = some_rows(500, 9, 40)
    items[0] = 0
    operations = torch.randint(0, 3, items.shape, generator=noise(3))
    operations[1] = DELETE
    places = places_of(operations, items)
    counts = torch.randint(0, 6, (len(places), 1), generator=noise(4))
    new = torch.randint(41, 80, (len(places), 5), generator=noise(5)) * (torch.arange(5) < counts)
    corrected = apply_operations(items, operations, places, new, longest)
    by_place = {place: [item for item in row if item] for place, row in zip(places.tolist(), new.tolist(), strict=True)}
    for row, raw in enumerate(unpadded(items)):
        own = {place - 9 * row: others for place, others in by_place.items() if place // 9 == row}
        expected = slow_correction(raw, operations[row].tolist(), own, longest)
        assert corrected.items[row].tolist() == expected + [0] * (corrected.items.shape[1] - len(expected))
        assert int(corrected.lengths[row]) == len(expected)
        assert int(corrected.inserted[row]) == sum(item > 40 for item in expected)
    assert int(corrected.lengths.max()) <= longest
    assert corrected.lengths[:2].tolist() == [0, 0]


def slow_decode(model: Recommender, encoded: Tensor, released: bool = False) -> list[int]:
    """Items to be inserted before one position, decoded without a batch."""
    method = model.method
    items = torch.cat((model.table.candidates, method.tokens.special[1:]))
    before, found = [encoded], []
    while len(found) < 5:
        if released:  # what stands there already gets the vectors once more
            before = [vector + method.encoder.positions[at] for at, vector in enumerate(before)]
            inputs = torch.stack(before)
        else:
            inputs = torch.stack([vector + method.encoder.positions[at] for at, vector in enumerate(before)])
        best = int((method.inserter(inputs.unsqueeze(0))[0, -1] @ items.T).argmax())
        if best == N_ITEMS:
            break
        found.append(best + 1)
        before.append(items[best])
    return found


@torch.no_grad()
def slow_correct(
    model: Recommender, row: list[int], longest: int, released: bool = False
) -> tuple[list[int], list[int]]:
    """A row as corrected, and the operations, without a batch or padding."""
    method = model.method
    encoded = method.encode(model.table, torch.tensor([row]))[0]
    operations = method.operations(encoded).argmax(-1).tolist()
    new = {at: slow_decode(model, encoded[at], released) for at, chosen in enumerate(operations) if chosen == INSERT}
    return slow_correction(row, operations, new, longest), operations


def diverse(model: Recommender) -> None:
    """Make every operation occur, insertions of several items among them."""
    with torch.no_grad():
        model.method.operations.weight.mul_(20)
        model.method.tokens.special.mul_(0.2)


@pytest.mark.parametrize("released", [(), ("repeated_positions",)], ids=str)
def test_the_corrector_equals_a_loop(released: tuple[str, ...]) -> None:
    model, method, batch = a_model(released=released)
    diverse(model)
    correction = method.train().correct(model.table, batch.items, method.longest)
    found = set()
    for row, raw in enumerate(unpadded(batch.items)):
        expected, operations = slow_correct(model.eval(), raw, method.longest, bool(released))
        assert unpadded(correction.row.items)[row] == expected
        assert correction.operations[row, : len(raw)].tolist() == operations
        found |= set(operations)
    assert found == {KEEP, DELETE, INSERT}
    assert (correction.operations[~batch.valid] == KEEP).all()
    assert int(correction.row.inserted.max()) > 1


def test_repeated_positions_change_what_is_decoded() -> None:
    rows = []
    for released in ([], ["repeated_positions"]):
        model, method, batch = a_model(released=released)
        diverse(model)
        rows.append(unpadded(method.correct(model.table, batch.items, method.longest).row.items))
    assert rows[0] != rows[1]


def test_the_score_is_the_log_odds_against_deleting() -> None:
    model, method, batch = a_model()
    diverse(model)
    with torch.no_grad():
        encoded = method.denoise(model.table, model.backbone, batch, noise())
        logits = method.operations(method.encode(model.table, batch.items)).double()
        probability = logits.softmax(-1)
    assert encoded.score is not None and encoded.keep is not None
    odds = (probability[..., KEEP] + probability[..., INSERT]) / probability[..., DELETE]
    torch.testing.assert_close(encoded.score.double(), odds.log(), rtol=1e-4, atol=1e-4)
    dropped = encoded.keep == 0
    assert dropped.any() and not dropped[~batch.valid].any()
    assert (encoded.score[dropped] < np.log(2)).all(), "deleted where no other operation is likelier"


# losses


def slow_cloze(model: Recommender, rows: list[list[int]], masks: Tensor) -> Tensor:
    losses = []
    for row, masked in zip(rows, masks.tolist(), strict=True):
        tokens = [model.method.tokens.mask if hidden else item for item, hidden in zip(row, masked, strict=False)]
        for at, item in enumerate(row):
            if masked[at]:
                state = model.method.recommend(model.table, torch.tensor([tokens]))[0, at]
                losses.append(F.cross_entropy(state @ model.table.candidates.T, torch.tensor(item - 1)))
    return torch.stack(losses).mean()


def slow_corrector(model: Recommender, corrupted: Corrupted) -> dict[str, Tensor]:
    method = model.method
    items = torch.cat((model.table.candidates, method.tokens.special[1:]))
    operations, insertions = [], []
    deleted = dict(zip(corrupted.places.tolist(), corrupted.deleted.tolist(), strict=True))
    for row, tokens in enumerate(unpadded(corrupted.items)):
        encoded = method.encode(model.table, torch.tensor([tokens]))[0]
        for at in range(len(tokens)):
            operations.append(F.cross_entropy(method.operations(encoded[at]), corrupted.labels[row, at]))
            if corrupted.labels[row, at] != INSERT:
                continue
            others = [item for item in deleted[row * corrupted.items.shape[1] + at] if item]
            wanted = [item - 1 for item in others] + [N_ITEMS] * (len(others) < 5)
            for k, item in enumerate(wanted):
                before = [encoded[at], *(items[other] for other in wanted[:k])]
                inputs = torch.stack([vector + method.encoder.positions[i] for i, vector in enumerate(before)])
                state = method.inserter(inputs.unsqueeze(0))[0, -1]
                insertions.append(F.cross_entropy(state @ items.T, torch.tensor(item)))
    return {"operations": torch.stack(operations).mean(), "insertions": torch.stack(insertions).mean()}


def gradients(model: Recommender, loss: Tensor) -> Iterator[Tensor]:
    model.zero_grad()
    loss.backward()
    for weight in model.parameters():
        assert weight.grad is not None
        yield weight.grad.clone()


@pytest.mark.parametrize("objective", ["last", "prefix", "all"])
def test_losses_equal_those_of_loops(objective: str) -> None:
    model, method, batch = a_model(objective, correction=0.5)
    diverse(model)
    encoded = method(model.table, model.backbone, batch, torch.ones(()), noise(4))
    assert encoded.states is None and list(encoded.losses) == [
        "recommendation",
        "operations",
        "insertions",
        "corrected",
    ]
    stream = noise(4)
    assert batch.following is not None
    whole = [
        [*batch.items[row, :length].tolist(), int(batch.following[row, length - 1])]
        for row, length in enumerate(batch.lengths.tolist())
    ]
    items = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in whole], batch_first=True)
    lengths = batch.lengths + 1
    if objective == "last":
        items, lengths = cut_part(items, lengths, 8, stream)
    else:
        assert method.options.rows == "whole"
    raw = slow_cloze(model, unpadded(items), draw_masks(items > 0, 0.5, stream))
    parts = slow_corrector(model, corrupt(items, lengths, method.rates, N_ITEMS, method.longest, stream))
    corrected = [slow_correct(model, row, method.longest)[0] for row in unpadded(items)]
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in corrected], batch_first=True)
    again = slow_cloze(model, corrected, draw_masks(padded > 0, 0.5, stream))
    expected = {"recommendation": raw, "corrected": again, **{name: 0.5 * loss for name, loss in parts.items()}}
    for name, loss in encoded.losses.items():
        torch.testing.assert_close(loss, expected[name], rtol=1e-4, atol=1e-5, msg=name)
    ours = list(gradients(model, torch.stack(list(encoded.losses.values())).sum()))
    theirs = list(gradients(model, torch.stack(list(expected.values())).sum()))
    for found, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("corrector", [True, False])
def test_next_items_are_scored_behind_the_corrected_inputs(corrector: bool) -> None:
    model, method, batch = a_model("prefix", recommender="next_item", corrector=corrector)
    if corrector:
        diverse(model)
    with torch.no_grad():
        trained = method(model.table, model.backbone, batch, torch.ones(()), noise(4))
        scored = method.denoise(model.table, model.backbone, batch, noise(5))
    assert trained.states is not None and scored.states is not None
    torch.testing.assert_close(trained.states, scored.states)
    for row, raw in enumerate(unpadded(batch.items)):
        inputs, operations = slow_correct(model, raw, method.longest - 1) if corrector else (raw, [KEEP] * len(raw))
        state = method.recommend(model.table, torch.tensor([[*inputs, method.tokens.mask]]))[0, -1]
        for at in range(len(raw)):
            torch.testing.assert_close(scored.states[row, at], state, rtol=1e-4, atol=1e-5)
        if corrector:
            assert scored.keep is not None and trained.keep is not None
            assert scored.keep[row, : len(raw)].tolist() == [float(chosen != DELETE) for chosen in operations]
            assert torch.equal(trained.keep, scored.keep)
    if corrector:
        parts = slow_corrector(
            model, corrupt(batch.items, batch.lengths, method.rates, N_ITEMS, method.longest, noise(4))
        )
        for name, loss in trained.losses.items():
            torch.testing.assert_close(loss, parts[name], rtol=1e-4, atol=1e-5)
        assert set(trained.losses) == set(parts)
    else:
        assert not trained.losses and trained.keep is None and scored.score is None


def test_raw_inputs_can_be_scored() -> None:
    states = []
    for options in ({"test_input": "raw"}, {"corrector": False}, {}):
        model, method, batch = a_model(**options)
        if options.get("corrector", True):
            diverse(model)
            with torch.no_grad():
                method.tokens.special.mul_(5)
        states.append(method.eval().denoise(model.table, model.backbone, batch, noise()).states)
    del states[1]
    assert not torch.allclose(*states)  # type: ignore[misc]
    model, method, batch = a_model(test_input="raw")
    encoded = method.eval().denoise(model.table, model.backbone, batch, noise())
    for row, raw in enumerate(unpadded(batch.items)):
        state = method.recommend(model.table, torch.tensor([[*raw, method.tokens.mask]]))[0, -1]
        torch.testing.assert_close(encoded.states[row, 0], state, rtol=1e-4, atol=1e-5)  # type: ignore[index]
    assert encoded.keep is None


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_scoring_is_certain_and_correction_ignores_dropout(options: dict[str, Any]) -> None:
    model, method, batch = a_model(dropout=0.5, **options)
    first, second = (method.eval().denoise(model.table, model.backbone, batch, noise(seed)) for seed in (1, 2))
    assert torch.equal(first.states, second.states)  # type: ignore[arg-type]
    if options.get("corrector", True):
        diverse(model)
        stream = torch.get_rng_state()
        rows = [method.train(mode).correct(model.table, batch.items, 20).row.items for mode in (True, False)]
        assert torch.equal(*rows) and torch.equal(torch.get_rng_state(), stream)
        method.train().correct(model.table, batch.items, 20)
        assert all(module.training for module in method.modules())
    first, second = (method.train()(model.table, model.backbone, batch, torch.ones(()), noise(1)) for _ in range(2))
    if first.states is None:
        assert first.losses["recommendation"] != second.losses["recommendation"], "dropout is on in training"
    else:
        assert not torch.equal(first.states, second.states)


def test_the_protocol_s_dropout_reaches_the_network() -> None:
    method = a_model(dropout=0.3)[1]
    rates = {module.rate for module in method.modules() if hasattr(module, "rate")}
    assert rates == {0.3}


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_gradient_reaches_every_vector(options: dict[str, Any]) -> None:
    model, method, batch = a_model(**options)
    encoded = method(model.table, model.backbone, batch, torch.ones(()), noise(4))
    losses = list(encoded.losses.values())
    if encoded.states is not None:
        losses.append(encoded.states.square().mean())
    torch.stack(losses).sum().backward()
    for name, weight in method.named_parameters():
        assert weight.grad is not None and weight.grad.any(), name
    assert method.tokens.special.grad is not None and method.tokens.special.grad.any(1).all(), "mask and end"


@pytest.mark.parametrize("recommender", ["cloze", "next_item"])
def test_a_corrector_that_deletes_everything_does_no_harm(recommender: str) -> None:
    model, method, batch = a_model(recommender=recommender)
    with torch.no_grad():
        method.operations.bias[DELETE] = 1e4
    encoded = method(model.table, model.backbone, batch, torch.ones(()), noise(4))
    assert float(encoded.traced["delete_share"]) == 1 and float(encoded.traced["inserted_share"]) == 0
    losses = [*encoded.losses.values(), *([] if encoded.states is None else [encoded.states.mean()])]
    torch.stack(losses).sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())
    if recommender == "cloze":
        assert encoded.losses["corrected"] == 0
    scored = method.eval().denoise(model.table, model.backbone, batch, noise())
    alone = method.recommend(model.table, torch.tensor([[method.tokens.mask]]))[0, 0]
    torch.testing.assert_close(scored.states, alone.expand(scored.states.shape))  # type: ignore[union-attr]
    assert not scored.keep[batch.valid].any()  # type: ignore[index]


def test_a_corrector_that_inserts_without_end_is_cut() -> None:
    model, method, batch = a_model()
    with torch.no_grad():
        method.operations.bias[INSERT] = 1e4
        method.tokens.special[1] = 0
        model.table.embedding.weight[1:] += 1
        method.inserter.block.network_norm.bias += 1
    row = method.correct(model.table, batch.items, method.longest).row
    assert int(row.lengths.max()) == method.longest == 18
    assert [items[-1] for items in unpadded(row.items)] == [items[-1] for items in unpadded(batch.items)], "newest stay"
    encoded = method(model.table, model.backbone, batch, torch.ones(()), noise(4))
    assert all(loss.isfinite() for loss in encoded.losses.values())
    assert method.denoise(model.table, model.backbone, batch, noise()).states.isfinite().all()  # type: ignore[union-attr]


def test_nothing_to_insert_is_no_loss() -> None:
    model, method, batch = a_model(delete=0.0)
    encoded = method(model.table, model.backbone, batch, torch.ones(()), noise(4))
    assert encoded.losses["insertions"] == 0 and encoded.losses["operations"] > 0
    torch.stack(list(encoded.losses.values())).sum().backward()


def test_empty_masks_teach_nothing() -> None:
    """With a low rate hardly any item is masked."""
    released, fair = (a_model(mask_rate=1e-6, released=names) for names in ("empty_masks", ()))
    for (model, method, batch), nothing in ((released, True), (fair, False)):
        encoded = method(model.table, model.backbone, batch, torch.ones(()), noise(4))
        assert (encoded.losses["recommendation"] == 0) == nothing


def test_shares_are_traced() -> None:
    model, method, batch = a_model(recommender="next_item")
    diverse(model)
    encoded = method(model.table, model.backbone, batch, torch.ones(()), noise(4))
    correction = method.correct(model.table, batch.items, method.longest - 1)
    operations = correction.operations[batch.valid].tolist()
    expected = {
        "keep_share": operations.count(KEEP) / len(operations),
        "delete_share": operations.count(DELETE) / len(operations),
        "insert_share": operations.count(INSERT) / len(operations),
        "inserted_share": float(correction.row.inserted.sum() / correction.row.lengths.sum()),
    }
    assert {name: float(value) for name, value in encoded.traced.items()} == pytest.approx(expected)
    assert 0 < expected["inserted_share"] < 1


def test_padding_changes_no_encoding() -> None:
    model, method, batch = a_model()
    wide = F.pad(batch.items, (0, 5))
    for read in (method.encode, method.recommend):
        ours, theirs = read(model.table, batch.items), read(model.table, wide)[:, : batch.items.shape[1]]
        torch.testing.assert_close(ours[batch.valid], theirs[batch.valid])


@pytest.mark.slow
@pytest.mark.parametrize("recommender", ["cloze", "next_item"])
def test_the_corrector_learns_which_items_are_noise(recommender: str) -> None:
    """The suite's check is too short for it: planted noise, of which training knows nothing, after 480 steps."""
    sequences, _ = planted_sequences()
    sizes = {"max_length": 16, "dimension": 32, "dropout": 0.1, "batch_size": 32, "learning_rate": 0.003}
    cell = small_cell("own", "steam", "prefix", {"recommender": recommender}, epochs=10, **sizes)
    model = build_recommender(cell, inputs_of(sequences, 32, max_length=16, dropout=0.1))
    feed = feed_of(sequences, cell)
    train(model, feed, cell)
    auc = Scorer(feed, "test", cell).test(model, evaluation_noise(cell, feed.device))[2]
    assert auc is not None and auc > 0.6


# options


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        ({"recommender": "next_item"}, {"objective": "all"}, "see its target under objective 'all'"),
        ({"delete": 0.7, "insert": 0.3}, {}, "leave nothing to keep"),
        ({}, {"loss": "in_batch"}, "needs `loss: full`"),
        ({}, {"bounded": True}, "needs `loss: full`"),
        ({}, {"networks": "released"}, "needs `networks: ours`"),
        ({"corrector": False, "test_input": "raw"}, {}, "leave out `test_input`"),
        ({"corrector": False, "released": "repeated_positions"}, {}, "leave out `repeated_positions`"),
        ({"recommender": "next_item", "released": "empty_masks"}, {}, "leave them out"),
        ({"recommender": "next_item", "rows": "random"}, {}, "leave them out"),
        ({"heads": 3}, {}, "heads: 3 do not divide the dimension, 8"),
    ],
    ids=str,
)
def test_what_cannot_go_together_is_refused(options: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        small_cell("own", "steam", **{"objective": "last", "method_options": options, **settings})
    assert "\n" not in str(refusal.value)


def test_a_searched_option_counts_where_it_is_read() -> None:
    model = find_method("steam", "test")

    def active(**options: Any) -> set[str]:
        given = model(**options).model_dump()
        return {name for name in ("mask_rate", "delete", "insert", "correction") if model.is_active(name, given)}

    assert active() == {"mask_rate", "delete", "insert", "correction"}
    assert active(corrector=False) == {"mask_rate"}
    assert active(recommender="next_item") == {"delete", "insert", "correction"}
    assert active(recommender="next_item", corrector=False) == set()


CLOZE, NEXT = ("steam", "steam_plain"), ("steam_next", "steam_next_plain")


@pytest.mark.parametrize(
    ("protocol", "dataset", "labels", "rows"),
    [
        ("paper", "movielens-100k", CLOZE, "random"),
        ("paper", "movielens-100k", NEXT, "whole"),
        ("paper", "beauty", CLOZE, "random"),
        ("strong", "movielens-100k", CLOZE, "whole"),
        ("strong", "beauty", CLOZE + NEXT, "whole"),
    ],
)
def test_the_protocols_run_it(protocol: str, dataset: str, labels: tuple[str, ...], rows: str) -> None:
    for label in labels:
        assert resolved(protocol, dataset, label)["method_options"]["rows"] == rows


def test_the_protocols_refuse_it_in_one_line() -> None:
    for label in NEXT:
        with pytest.raises(ConfigError, match=f"method '{label}' would see .*objective 'all'"):
            resolved("strong", "movielens-100k", label)
    with pytest.raises(ConfigError, match="the release has no own; use `networks: ours`"):
        resolved("released", "movielens-100k", "steam")


def resolved(name: str, dataset: str, label: str) -> dict[str, Any]:
    protocol = load_protocol(FOLDER, name)
    settings, _ = resolve_settings(protocol, "own", dataset, None)
    encoder = parse_encoder({"kind": "random"})
    return resolve_method(load_method(FOLDER, label), label, protocol, {}, "own", settings, encoder)
