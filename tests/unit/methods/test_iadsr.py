"""IADSR's terms against loop-by-loop computations."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from iadsr.core.config import RUN_OPTIONS, Settings, settle_method
from iadsr.methods.iadsr import IADSR, _recent_mean, build, project_texts
from iadsr.methods.method import Batch, Context
from iadsr.models.backbone import ItemTable

TEXT = torch.cat((torch.zeros(1, 5), torch.randn(7, 5, generator=torch.Generator().manual_seed(3))))


class Shift(nn.Module):
    """A backbone whose state is simple: a linear map of the embedding at the position."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(4, 4)

    def forward(self, embedded: torch.Tensor, lengths: torch.Tensor, users: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.map(embedded)
        return states


def method_of(context: Context, **options: object) -> IADSR:
    settings = Settings(
        objective="last", max_length=4, ranking="kept", dropout=0, batch_size=3, learning_rate=1, epochs=1, patience=1
    )
    given, _ = settle_method("iadsr", options, settings, "caser", "iadsr")
    return build(context, **{name: value for name, value in given.items() if name not in RUN_OPTIONS})


def make(scope: str = "sequence", **options: object) -> tuple[IADSR, ItemTable, Shift, Batch]:
    torch.manual_seed(0)
    method = method_of(Context(4, 4, TEXT), scope=scope, **options)
    items = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 1, 2, 0]])
    lengths = torch.tensor([4, 2, 3])
    batch = Batch(items, lengths, items > 0, torch.tensor([0, 1, 2, 3, 4, 5, 8, 9, 10]), torch.arange(3))
    return method, ItemTable(7, 4), Shift(), batch


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a @ b / (a.norm() * b.norm())).detach())


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
            assert bool(gate.expand_as(score)[row, t]) == (cosine(long_semantic, long) > method.theta)


def test_reconstruction_is_the_mean_within_a_row_and_then_over_rows() -> None:
    method, table, backbone, batch = make(alignment=0.0)
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
    assert float(encoded.losses["reconstruction"]) == pytest.approx(np.mean(rows), abs=1e-6)
    assert set(encoded.losses) == {"reconstruction"}


def test_long_alignment_is_one_row_a_sequence_under_scope_sequence() -> None:
    method, table, backbone, batch = make(reconstruction=0.0, alignment_temperature=0.5)
    states = backbone(table(batch.items), batch.lengths, batch.users)
    interests = method.interests(backbone, table(batch.items), states, batch)
    total = 0.0
    pairs = [
        (interests.collaborative_long[:, 0], interests.semantic_long[:, 0]),
        (interests.collaborative_short[batch.valid], interests.semantic_short[batch.valid]),
    ]
    for left, right in pairs:
        rows = [[cosine(a, b) / 0.5 for b in right] for a in left]
        total += float(np.mean([-row[i] + math.log(sum(math.exp(x) for x in row)) for i, row in enumerate(rows)]))
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
        torch.testing.assert_close(project_texts(method.project, TEXT, items, waits), method.project(TEXT[items]))


def test_gradient_reaches_the_mask_through_reconstruction() -> None:
    method, table, backbone, batch = make(alignment=0.0)
    encoded = method(table, backbone, batch, torch.ones(3, 4), torch.Generator().manual_seed(1))
    encoded.losses["reconstruction"].backward()
    assert method.project.weight.grad is not None
    assert method.project.weight.grad.abs().sum() > 0, "text reaches the loss only through the mask"


def test_text_is_required() -> None:
    with pytest.raises(ValueError, match="text"):
        method_of(Context(4, 4))


def judged(scope: str = "sequence", **options: object) -> tuple[torch.Tensor, torch.Tensor, Batch]:
    """Gates and scores of the shared batch."""
    method, table, backbone, batch = make(scope, **options)
    embedded = table(batch.items)
    states = backbone(embedded, batch.lengths, batch.users)
    gate, score = method.judge(method.interests(backbone, embedded, states, batch), batch)
    return gate.expand_as(score), score.detach(), batch


@pytest.mark.parametrize("scope", ["sequence", "causal"])
@pytest.mark.parametrize(
    ("threshold", "reduce"), [("mean", np.mean), ("quantile", lambda x: np.quantile(x, 0.3, method="lower"))]
)
def test_a_threshold_is_taken_from_the_scores_in_reach(scope: str, threshold: str, reduce: Any) -> None:
    _, plain, batch = judged(scope)
    _, found, _ = judged(scope, threshold=threshold, quantile=0.3)
    for row, length in enumerate(batch.lengths.tolist()):
        for t in range(length):
            reach = plain[row, : t + 1 if scope == "causal" else length].numpy()
            assert float(found[row, t]) == pytest.approx(float(plain[row, t]) - float(reduce(reach)), abs=1e-5)


def test_a_learned_threshold_starts_at_zero_and_gets_a_gradient() -> None:
    method, table, backbone, batch = make(threshold="learned", alignment=0.0)
    torch.testing.assert_close(judged(threshold="learned")[1], judged()[1])
    method(table, backbone, batch, torch.ones(3, 4), torch.Generator().manual_seed(1)).losses[
        "reconstruction"
    ].backward()
    assert method.bias.grad is not None
    assert float(method.bias.grad.abs()) > 0


def test_without_text_the_score_is_collaborative_and_nothing_is_aligned() -> None:
    method = method_of(Context(4, 4), semantic=False)
    _, table, backbone, batch = make()
    embedded = table(batch.items)
    states = backbone(embedded, batch.lengths, batch.users)
    gate, score = method.judge(method.interests(backbone, embedded, states, batch), batch)
    assert bool(gate.all())
    for row, length in enumerate(batch.lengths.tolist()):
        long = states[row, :length].amax(0)
        for t in range(length):
            assert float(score[row, t]) == pytest.approx(cosine(long, states[row, t]), abs=1e-5)
    encoded = method(table, backbone, batch, torch.ones(3, 4), torch.Generator().manual_seed(0))
    assert set(encoded.losses) == {"reconstruction"}


@pytest.mark.parametrize("scope", ["sequence", "causal"])
def test_other_ways_to_a_semantic_interest(scope: str) -> None:
    for options in ({"long": "max"}, {"short": "window"}, {"shared_projection": True}):
        method, table, backbone, batch = make(scope, **options)
        embedded = table(batch.items)
        found = method.interests(backbone, embedded, backbone(embedded, batch.lengths, batch.users), batch)
        assert found.semantic_long is not None
        assert found.semantic_short is not None
        maps = method.project.weight if "shared_projection" in options else None
        short_map, long_map = (maps, maps) if maps is not None else method.project.weight.chunk(2)
        for row, length in enumerate(batch.lengths.tolist()):
            for t in range(length):
                texts = TEXT[batch.items[row, : t + 1 if scope == "causal" else length]] @ long_map.T
                long = texts.amax(0) if options.get("long") == "max" else texts.mean(0)
                place = t if scope == "causal" else 0
                torch.testing.assert_close(found.semantic_long[row, place], long)
                near = (
                    TEXT[batch.items[row, max(0, t - 4) : t + 1]] if "short" in options else TEXT[batch.items[row, [t]]]
                )
                torch.testing.assert_close(found.semantic_short[row, t], (near @ short_map.T).mean(0))


def test_a_window_forgets_what_is_older_than_five_items() -> None:
    ones = torch.ones(1, 8, dtype=torch.bool)
    x = torch.arange(8.0).view(1, 8, 1)
    found = _recent_mean(x, ones).flatten().tolist()
    assert found == [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0]


def test_a_soft_mask_is_the_sample_behind_the_hard_one() -> None:
    masks = {}
    for kind in ("hard", "soft"):
        method, table, backbone, batch = make(mask=kind)
        encoded = method(table, backbone, batch, torch.ones(3, 4), torch.Generator().manual_seed(0))
        assert encoded.keep is not None
        masks[kind] = encoded.keep[batch.valid]
    assert ((masks["soft"] > 0) & (masks["soft"] < 1)).all()
    assert torch.equal((masks["soft"] > 0.5).float(), masks["hard"].round())


def test_without_a_mask_only_the_auxiliary_losses_are_left() -> None:
    method, table, backbone, batch = make(mask="none")
    dropped = torch.zeros(3, 4)
    encoded = method(table, backbone, batch, dropped, torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoded.states, backbone(table(batch.items), batch.lengths, batch.users))
    assert encoded.keep is None
    assert set(encoded.losses) == {"alignment", "reconstruction"}
    assert method.denoise(table, backbone, batch, torch.Generator()).keep is None
    assert not method.remembers


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
