"""IADSR's terms against loop-by-loop computations."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from iadsr.config.options import CELL_OPTIONS
from iadsr.config.settings import Settings
from iadsr.methods.iadsr import IADSR, project_rows
from iadsr.methods.iadsr_choices import RandomMask, build, recent_mean
from iadsr.methods.iadsr_options import IADSROptions
from iadsr.methods.method import Batch, MethodInputs, TrainingBatch
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


def sized(*told: Any) -> MethodInputs:
    return MethodInputs(7, 3, 4, 4, 4, *told)


def method_of(inputs: MethodInputs, **options: object) -> IADSR:
    settings = Settings(
        objective="last", max_length=4, ranking="kept", dropout=0, batch_size=3, learning_rate=1, steps=1
    )
    given, _ = IADSROptions(**options).settle(settings, "caser", "iadsr")
    return build(inputs, IADSROptions(**{name: value for name, value in given.items() if name not in CELL_OPTIONS}))


def make(
    scope: str = "sequence", keep_rates: Any = None, test_keep_rate: float = 1.0, **options: object
) -> tuple[IADSR, ItemTable, Shift, Batch]:
    torch.manual_seed(0)
    method = method_of(sized(TEXT, keep_rates, test_keep_rate), scope=scope, **options)
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
    for epoch, rate in ((1, 1.0), (2, 0.6), (3, 0.4), (9, 0.4)):
        method.begin_epoch(epoch)
        method.chance.count(torch.zeros(200, 50), valid)
        assert method.chance.draw(valid, noise).mean() == pytest.approx(rate, abs=0.02)
        scoring = method.chance.draw_for_scoring(torch.zeros(200, 50), valid, noise, causal=False)
        assert scoring.mean() == pytest.approx(0.95, abs=0.02)


def test_gradient_reaches_the_mask_through_reconstruction() -> None:
    method, table, backbone, batch = make(alignment=0.0)
    encoded = method(table, backbone, batch, torch.ones(3, 4), torch.Generator().manual_seed(1))
    encoded.losses["reconstruction"].backward()
    assert method.project.weight.grad is not None
    assert method.project.weight.grad.abs().sum() > 0, "text reaches the loss only through the mask"


def test_text_is_required() -> None:
    with pytest.raises(ValueError, match="text"):
        method_of(sized())


def judged(scope: str = "sequence", **options: object) -> tuple[torch.Tensor, torch.Tensor, Batch]:
    """Gates and scores of the shared batch."""
    method, table, backbone, batch = make(scope, **options)
    embedded = table(batch.items)
    states = backbone(embedded, batch.lengths, batch.users)
    gate, score = method.judge(method.interests(backbone, embedded, states, batch), batch)
    return gate.expand_as(score), score.detach(), batch


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


def told_of(batch: Batch, target: torch.Tensor) -> TrainingBatch:
    """The batch in training, with a text (B,) after each row's last input."""
    following = torch.zeros_like(batch.items).scatter(1, (batch.lengths - 1).unsqueeze(1), target.unsqueeze(1))
    return TrainingBatch(**vars(batch), following_texts=following)


@pytest.mark.parametrize("interest_text", ["items", "prefixes"])
def test_r11_puts_the_target_into_the_long_text_of_training_alone(interest_text: str) -> None:
    method, table, backbone, batch = make(interest_text=interest_text, defects=["R11"])
    target = torch.tensor([5, 7, 3])
    told = method.interests(
        backbone, table(batch.items), backbone(table(batch.items), None, None), told_of(batch, target)
    )
    long_map = method.project.weight.chunk(2)[1]
    assert told.semantic_long is not None
    for row, length in enumerate((4, 2, 3)):
        texts = TEXT[[*batch.items[row, :length].tolist(), int(target[row])]]
        expected = texts.mean(0) if interest_text == "items" else texts[-1]
        torch.testing.assert_close(told.semantic_long[row, 0], long_map @ expected)
    fair, *_ = make(interest_text=interest_text)
    assert method.asks_for == {"following"} and not fair.asks_for
    scored, plain = (m.denoise(table, backbone, batch, torch.Generator()) for m in (method, fair))
    assert torch.equal(scored.states, plain.states), "no target is told when scoring"


def test_long_interests_are_pooled_with_the_target_of_r11_by_maximum_too() -> None:
    method, table, backbone, batch = make(long="max", defects=["R11"])
    target = torch.tensor([5, 7, 3])
    told = method.interests(
        backbone, table(batch.items), backbone(table(batch.items), None, None), told_of(batch, target)
    )
    long_map = method.project.weight.chunk(2)[1]
    texts = TEXT[[*batch.items[1, :2].tolist(), 7]] @ long_map.T
    torch.testing.assert_close(told.semantic_long[1, 0], texts.amax(0))  # type: ignore[index]
