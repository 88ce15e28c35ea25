"""IADSR's terms against loop-by-loop computations."""

import math

import numpy as np
import pytest
import torch

from iadsr.methods.iadsr import project_rows
from tests.unit.methods.small import TEXT, cosine, make, method_of, sized


@pytest.mark.parametrize("scope", ["sequence", "causal"])
def test_gate_and_score_equal_the_definition(scope: str) -> None:
    method, table, backbone, batch = make(scope)
    states = backbone(table(batch.items), batch.lengths, batch.users)
    gate, score = method.judge(method.interests(backbone, table(batch.items), states, batch), batch)
    short_map, long_map = method.project.weight.chunk(2)
    for row in range(3):
        length = int(batch.lengths[row])
        for t in range(length):
            end = t + 1 if scope == "causal" else length
            texts = TEXT[batch.items[row, :end]]
            short_semantic = short_map @ TEXT[batch.items[row, t]]
            long_semantic = (texts @ long_map.T).mean(0)
            h, long = states[row, t], states[row, :end].amax(0)
            expected = cosine(long_semantic, h) + cosine(long, short_semantic) + cosine(h, short_semantic)
            assert float(score[row, t]) == pytest.approx(expected, abs=1e-5)
            assert bool(gate.expand_as(score)[row, t]) == (cosine(long_semantic, long) > method.cutoff.number)


@pytest.mark.parametrize("error", ["relative", "squared"])
def test_reconstruction_is_the_mean_within_a_row_and_then_over_rows(error: str) -> None:
    method, table, backbone, batch = make(alignment=0.0, reconstruction_error=error)
    encoded = method(table, backbone, batch, torch.ones(3, 4), torch.Generator().manual_seed(5))
    assert encoded.keep is not None
    rows = []
    for row in range(3):
        errors = []
        for t in range(int(batch.lengths[row])):
            target = table(batch.items[row, t])
            decoded = method.decode(encoded.states[row, t] * encoded.keep[row, t])
            errors.append(float((decoded - target).square().mean()))
        rows.append(np.mean(errors))
    there = table(batch.items)[batch.valid].detach().numpy()
    scale = (there**2).mean() if error == "relative" else 1.0
    assert float(encoded.losses["reconstruction"]) == pytest.approx(np.mean(rows) / scale, rel=1e-5)
    assert set(encoded.losses) == {"reconstruction"}


ALIGNMENTS = [
    ("sequence", "sequence", True),
    ("sequence", "sequence", False),
    ("causal", "sequence", False),
    ("causal", "position", True),
    ("causal", "position", False),
]


@pytest.mark.parametrize(("scope", "long_rows", "equal_negatives"), ALIGNMENTS)
def test_alignment_equals_a_loop_over_pairs(scope: str, long_rows: str, equal_negatives: bool) -> None:
    """A row per position for short interests and per sequence for long ones; items 1 and 2 occur twice in the batch."""
    options = {"long_rows": long_rows, "equal_negatives": equal_negatives, "alignment_temperature": 0.5}
    method, table, backbone, batch = make(scope, reconstruction=0.0, **options)
    states = backbone(table(batch.items), batch.lengths, batch.users)
    interests = method.interests(backbone, table(batch.items), states, batch)
    ends = [(row, int(batch.lengths[row]) - 1 if scope == "causal" else 0) for row in range(3)]
    places = [(row, t) for row in range(3) for t in range(int(batch.lengths[row]))]
    long_places = places if long_rows == "position" else ends
    cases = [
        (places, interests.collaborative_short, interests.semantic_short, [int(batch.items[p]) for p in places]),
        (long_places, interests.collaborative_long, interests.semantic_long, [row for row, _ in long_places]),
    ]
    total = 0.0
    for where, left, right, about in cases:
        terms = []
        for i, here in enumerate(where):
            row = {j: cosine(left[here], right[there]) / 0.5 for j, there in enumerate(where)}
            rivals = [x for j, x in row.items() if j == i or about[j] != about[i] or equal_negatives]
            terms.append(-row[i] + math.log(sum(math.exp(x) for x in rivals)))
        total += float(np.mean(terms))
    found, _ = method.align(interests, batch, torch.Generator().manual_seed(0))
    assert float(found) == pytest.approx(total, abs=1e-5)


def test_the_mask_of_the_last_epoch_zeroes_the_input() -> None:
    method, table, backbone, batch = make()
    keep = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]]).float()
    encoded = method(table, backbone, batch, keep, torch.Generator().manual_seed(0))
    expected = backbone(table(batch.items) * keep.unsqueeze(-1), batch.lengths, batch.users)
    torch.testing.assert_close(encoded.states, expected)


def test_denoising_at_test_time_is_deterministic_and_encodes_again_without_the_dropped() -> None:
    method, table, backbone, batch = make(theta=-1.1)
    first = method.denoise(table, backbone, batch, torch.Generator().manual_seed(0))
    again = method.denoise(table, backbone, batch, torch.Generator().manual_seed(9))
    torch.testing.assert_close(first.states, again.states, rtol=0, atol=0)
    assert first.keep is not None
    assert first.score is not None
    assert torch.equal(first.keep.bool(), (first.score >= 0) | ~batch.valid), "padding stays"
    assert 0 < first.keep[batch.valid].mean() < 1, "the case must drop something to test anything"
    torch.testing.assert_close(
        first.states, backbone(table(batch.items) * first.keep.unsqueeze(-1), batch.lengths, batch.users)
    )


@pytest.mark.parametrize("waits", [False, True])
def test_each_way_to_project_gives_every_position_its_text(waits: bool) -> None:
    method, _, _, batch = make()
    few, many = batch.items[:1, :4], batch.items.repeat(1, 2)
    assert few.numel() <= len(TEXT) < many.numel(), "one call for each way"
    for items in (few, many):
        torch.testing.assert_close(project_rows(method.project, TEXT, items, waits), method.project(TEXT[items]))


def test_gradient_reaches_the_mask_through_reconstruction() -> None:
    method, table, backbone, batch = make(alignment=0.0)
    encoded = method(table, backbone, batch, torch.ones(3, 4), torch.Generator().manual_seed(1))
    encoded.losses["reconstruction"].backward()
    assert method.project.weight.grad is not None
    assert method.project.weight.grad.abs().sum() > 0, "text reaches the loss only through the mask"


def test_text_is_required() -> None:
    with pytest.raises(ValueError, match="text"):
        method_of(sized())


def test_cosines_of_matched_and_unmatched_pairs() -> None:
    method, table, backbone, batch = make()
    embedded = table(batch.items)
    interests = method.interests(backbone, embedded, backbone(embedded, batch.lengths, batch.users), batch)
    _, traced = method.align(interests, batch, torch.Generator())
    assert interests.semantic_short is not None
    left, right = interests.collaborative_short[batch.valid], interests.semantic_short[batch.valid]
    table_of = np.array([[cosine(a, b) for b in right] for a in left])
    assert float(traced["cosine_matched"]) == pytest.approx(np.diag(table_of).mean(), abs=1e-5)
    off = table_of[~np.eye(len(table_of), dtype=bool)]
    assert float(traced["cosine_unmatched"]) == pytest.approx(off.mean(), abs=1e-5)
