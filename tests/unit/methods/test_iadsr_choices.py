"""Choices that the paper leaves open, against loops and by hand."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from iadsr.methods.iadsr_choices import RandomMask, recent_mean
from tests.unit.methods.small import TEXT, cosine, judged, make, method_of, sized


def test_relative_reconstruction_is_the_same_at_any_scale() -> None:
    """Embeddings ten times as large, with a decoder's output to match: an equal loss."""
    method, table, _, batch = make()
    kept, inside = torch.randn(3, 4, 4), batch.valid
    assert method.decode is not None
    nn.init.zeros_(method.decode.bias)
    small, large = table(batch.items), 10 * table(batch.items)
    ours = method.reconstruct(kept, small, inside), method.reconstruct(10 * kept, large, inside)
    torch.testing.assert_close(ours[0], ours[1])
    plain, *_ = make(reconstruction_error="squared")
    nn.init.zeros_(plain.decode.bias)
    assert not torch.isclose(plain.reconstruct(kept, small, inside), plain.reconstruct(10 * kept, large, inside))


@pytest.mark.parametrize("positions", [0, 1, 2])
def test_few_positions_past_the_gate_are_no_explosion(positions: int) -> None:
    method, table, _, batch = make()
    inside = torch.zeros_like(batch.valid)
    inside[0, :positions] = True
    error = method.reconstruct(torch.zeros(3, 4, 4), table(batch.items), inside)
    assert bool(error.isfinite())
    assert float(error) == 0 if positions == 0 else float(error) < 1e4


def test_a_mask_of_chance_keeps_at_the_rate_of_the_samples_that_the_method_would_draw() -> None:
    """Scores of 2 at every position: a hard sample keeps with probability sigmoid(2), at any temperature."""
    for temperature in (0.3, 3.0):
        method, *_ = make(mask="random", theta=-2.0, temperature=temperature)
        assert isinstance(method, RandomMask)
        valid, noise = torch.ones(200, 50, dtype=torch.bool), torch.Generator().manual_seed(0)
        method.begin_epoch(1)
        assert method.chance.draw(valid, noise).mean() == 1, "nothing is dropped in the first epoch"
        method.chance.count(method.sample(torch.ones_like(valid), torch.full((200, 50), 2.0), noise), valid)
        assert method.chance.draw(valid, noise).mean() == 1, "training follows the epoch before"
        method.begin_epoch(2)
        expected = 1 / (1 + math.exp(-2))
        assert float(method.chance.draw(valid, noise).mean()) == pytest.approx(expected, abs=0.01)


def test_a_mask_of_chance_counts_every_input_once_and_has_no_gradient() -> None:
    method, table, backbone, batch = make(mask="random", theta=-2.0)
    assert isinstance(method, RandomMask)
    assert not method.remembers
    encoded = method(table, backbone, batch, torch.zeros(3, 4), torch.Generator().manual_seed(0))
    assert encoded.mask is None, "no gradient chooses what is dropped"
    assert float(method.chance.seen[1]) == 9
    assert set(encoded.losses) == {"alignment", "reconstruction"}
    assert encoded.keep is not None
    assert (encoded.keep[~batch.valid] == 1).all()


def test_in_scoring_each_row_loses_as_many_inputs_by_chance_as_by_choice() -> None:
    """On average; under scope `causal` at the rate of the row so far."""
    method, *_ = make(mask="random")
    assert isinstance(method, RandomMask)
    valid = torch.arange(20) < torch.tensor([[20], [7], [1]])
    wanted = torch.ones(3, 20)
    wanted[0, :5] = wanted[1, 2:4] = wanted[2, 5:] = 0  # the last row's are padding
    noise = torch.Generator().manual_seed(0)
    means = {}
    for causal in (False, True):
        drawn = torch.stack([method.chance.draw_for_scoring(wanted, valid, noise, causal) for _ in range(400)])
        assert (drawn[:, ~valid] == 1).all()
        means[causal] = 1 - drawn.mean(0)
    assert means[False][0].numpy() == pytest.approx(np.full(20, 0.25), abs=0.1), "any input is as likely as any other"
    assert means[False][1, :7].numpy() == pytest.approx(np.full(7, 2 / 7), abs=0.1)
    so_far = [5 / max(place, 5) for place in range(1, 21)]
    assert means[True][0].numpy() == pytest.approx(np.array(so_far), abs=0.1)
    assert (means[False][2] == 0).all()


def test_a_mask_of_chance_may_copy_another_run_s_rates() -> None:
    method, *_ = make(mask="random", match="other", keep_rates=np.array([0.6, 0.4]), test_keep_rate=0.95)
    assert isinstance(method, RandomMask)
    valid, noise = torch.ones(200, 50, dtype=torch.bool), torch.Generator().manual_seed(0)
    for epoch, rate in ((1, 0.6), (2, 0.4), (3, 0.4), (9, 0.4)):
        method.begin_epoch(epoch)
        method.chance.count(torch.zeros(200, 50), valid)
        assert method.chance.draw(valid, noise).mean() == pytest.approx(rate, abs=0.02)
        scoring = method.chance.draw_for_scoring(torch.zeros(200, 50), valid, noise, causal=False)
        assert scoring.mean() == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("scope", ["sequence", "causal"])
@pytest.mark.parametrize(
    ("options", "reduce"),
    [
        ({"threshold": "mean"}, np.mean),
        ({"threshold": "quantile", "quantile": 0.3}, lambda x: np.quantile(x, 0.3, method="lower")),
    ],
)
def test_a_threshold_is_taken_from_the_scores_in_reach(scope: str, options: dict[str, Any], reduce: Any) -> None:
    _, plain, batch = judged(scope)
    _, found, _ = judged(scope, **options)
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
    method = method_of(sized(), semantic=False)
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
    found = recent_mean(x, ones).flatten().tolist()
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


@pytest.mark.parametrize("scope", ["sequence", "causal"])
def test_packing_encodes_the_kept_items_alone(scope: str) -> None:
    """With a running sum for a backbone, a state tells which inputs came before it."""

    class Sum(nn.Module):
        def forward(self, embedded: torch.Tensor, lengths: torch.Tensor, users: torch.Tensor) -> torch.Tensor:
            return embedded.cumsum(1) + torch.arange(1, embedded.shape[1] + 1).view(1, -1, 1)

    method, table, _, batch = make(scope, remove="pack")
    keep = torch.tensor([[0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1]]).float()
    encoded = method(table, Sum(), batch, keep, torch.Generator().manual_seed(0))
    for row in range(3):
        for t in range(int(batch.lengths[row])):
            kept = [k for k in range(t + 1) if keep[row, k]]
            expected = sum((table(batch.items[row, k]) for k in kept), torch.zeros(4)) + max(len(kept), 1)
            torch.testing.assert_close(encoded.states[row, t], expected)


def test_packing_with_nothing_dropped_is_the_plain_backbone() -> None:
    outcomes = []
    for remove in ("zero", "pack"):
        method, table, backbone, batch = make(remove=remove)
        outcomes.append(method(table, backbone, batch, torch.ones(3, 4), torch.Generator().manual_seed(0)))
    zero, pack = outcomes
    assert torch.equal(zero.states[batch.valid], pack.states[batch.valid])
    assert {name: float(loss) for name, loss in zero.losses.items()} == {n: float(v) for n, v in pack.losses.items()}


def test_joined_texts_are_interests_as_they_stand() -> None:
    """Short: the text that ends at the position. Long: the one that ends with the input; causal: at the position."""
    rows = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 2, 1, 0]])
    for scope in ("sequence", "causal"):
        method, table, backbone, batch = make(scope, interest_text="prefixes")
        batch = replace(batch, texts=rows)
        found = method.interests(backbone, table(batch.items), backbone(table(batch.items), None, None), batch)
        short_map, long_map = method.project.weight.chunk(2)
        assert found.semantic_short is not None
        assert found.semantic_long is not None
        for row, length in enumerate((4, 2, 3)):
            for t in range(length):
                end = t if scope == "causal" else length - 1
                torch.testing.assert_close(found.semantic_short[row, t], short_map @ TEXT[rows[row, t]])
                place = t if scope == "causal" else 0
                torch.testing.assert_close(found.semantic_long[row, place], long_map @ TEXT[rows[row, end]])
