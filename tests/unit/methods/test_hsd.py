"""HSD: its levels by hand, what is kept and encoded, its curriculum, and what each defect of its release changes."""

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
from iadsr.conformance.leaks import target_leak
from iadsr.conformance.suite import CHECKS, Case
from iadsr.core.errors import ConfigError
from iadsr.methods import hierarchical_defects
from iadsr.methods.hierarchical import EncodedRows, HierarchicalDenoiser, Levels
from iadsr.methods.hierarchical_defects import DEFECTS, ZeroedRows
from iadsr.methods.hierarchical_layers import (
    Inputs,
    PositionConvolution,
    PositionNorm,
    SequenceLevel,
    all_but_largest,
    left_out_share,
    smallest_rows,
)
from iadsr.methods.hsd_options import HSDDefect, HSDOptions
from iadsr.methods.method import Batch, Encoded, TrainingBatch
from iadsr.models.backbone import last_states
from iadsr.sequences.perturb import inject_noise
from iadsr.sequences.samples import training_samples
from iadsr.training.feed import Step
from iadsr.training.loop import run_epoch, train
from iadsr.training.recommender import Recommender, build_recommender
from iadsr.training.state import TrainingState
from tests.helpers import feed_of, inputs_of, small_cell, small_sequences

CONFIG = Path(__file__).resolve().parents[3] / "workflow" / "config"
WILD = {"logits": "raw"}
LENGTHS = torch.arange(1, 51)


def built(
    options: dict[str, Any] | None = None,
    objective: str = "last",
    backbone: str = "gru4rec",
    scale: float = 1.0,
    asks: bool = False,
) -> tuple[Recommender, Step]:
    """A model without the backbone's dropout and with large weights, and a step of 16 samples."""
    case = Case("hsd", backbone, objective, options or {})
    cell = case.cell(dropout=0.0)
    model = build_recommender(cell, inputs_of())
    model.method.begin_epoch(1)
    torch.manual_seed(1)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=scale)
    with torch.no_grad():
        model.table.embedding.weight[0] = 0
    samples = training_samples(small_sequences(), cell.settings.objective, 8, np.random.default_rng(0))
    wanted = frozenset({"following"}) if asks else model.method.asks_for
    return model, feed_of(small_sequences(), cell).step(samples, np.arange(16), wanted)  # type: ignore[arg-type]


def method_of(model: Recommender) -> HierarchicalDenoiser:
    assert isinstance(model.method, HierarchicalDenoiser)
    return model.method


def stream(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train_step(model: Recommender, step: Step, batch: TrainingBatch | None = None) -> Encoded:
    """One training step without dropout: only the mask is drawn."""
    model.eval()
    given = step.batch if batch is None else batch
    encoded: Encoded = model.method(model.table, model.backbone, given, torch.ones(given.items.shape), stream())
    return encoded


def score_step(model: Recommender, batch: Batch, seed: int = 5) -> Encoded:
    return model.eval().method.denoise(model.table, model.backbone, batch, stream(seed))


def levels_of(model: Recommender, batch: Batch) -> Levels:
    return method_of(model.eval()).levels(model.table, model.table(batch.items), batch)


# Levels


@pytest.mark.parametrize("objective", ["last", "all"])
def test_levels_are_those_of_the_formulas(objective: str) -> None:
    """Row by row without padding, position by position."""
    model, step = built(WILD, objective, scale=0.5)
    method, batch = method_of(model), step.batch
    sequence, item = method.sequence_level, method.item_level
    assert isinstance(item.norm, PositionNorm)
    item.norm.mean += 0.1 * torch.arange(8)
    item.norm.variance += 0.2 * torch.arange(8)
    found = levels_of(model, batch)
    for row, length in enumerate(batch.lengths.tolist()):
        embedded = model.table(batch.items[row, :length])
        both: list[Tensor] = [embedded]
        for _ in range(2):
            states = sequence.ahead(both[-1].unsqueeze(0))[0][0]
            if sequence.back is not None:
                states = states + sequence.back(both[-1].flip(0).unsqueeze(0))[0][0].flip(0)
            both.append(states)
        user = method.users.weight[batch.users[row]]
        for t in range(length):
            mixed = sequence.convolution.bias[t].expand(8)
            for other in range(t + 1 if objective == "all" else length):
                mixed = mixed + sequence.convolution.weight[0, t, other] * both[2][other]
                mixed = mixed + sequence.convolution.weight[1, t, other] * embedded[other]
            two = sequence.classify.weight @ mixed.clamp(min=0)
            normed = (embedded[t] - item.norm.mean[t]) / (item.norm.variance[t] + 1e-5).sqrt()
            feature = normed * item.norm.weight[t] + item.norm.bias[t]
            hidden = torch.tanh(item.key.weight @ feature + item.query.weight @ user + item.query.bias)
            other_two = item.classify.weight @ hidden
            torch.testing.assert_close(found.sequence[row, t], two[1] - two[0], rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(found.item[row, t], other_two[1] - other_two[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_with_sigmoids_for_logits_no_input_is_sure_to_stay_or_go(scale: float) -> None:
    def chances(options: dict[str, Any]) -> tuple[Tensor, Tensor]:
        model, step = built(options, scale=scale)
        sequence, item = (each.sigmoid()[step.batch.valid].detach() for each in levels_of(model, step.batch))
        return sequence, item

    lowest, highest = 1 / (1 + math.e) ** 2, 1 / (1 + math.exp(-1)) ** 2
    sequence, item = chances({})
    both = sequence * item
    assert 0.0723 < lowest <= float(both.min()) and float(both.max()) <= highest < 0.5345
    if scale < 1:
        assert torch.allclose(both, torch.tensor(0.25), atol=0.01), "a quarter at the start"
    else:
        for each, free in zip((sequence, item), chances(WILD), strict=True):
            assert float(each.min()) < 0.35 and float(each.max()) > 0.65, "the bounds are nearly reached"
            assert float(free.min()) < 0.05 and float(free.max()) > 0.95


def test_levels_drop_as_often_as_their_odds_say() -> None:
    model, _ = built()
    odds = Levels(torch.full((400, 100), 0.7), torch.full((400, 100), -0.4))
    for temperature in (0.001, 0.5, 5.0):
        sequence, item = method_of(model).sample(odds, torch.tensor(temperature), stream())
        assert float(sequence.mean()) == pytest.approx(1 / (1 + math.exp(-0.7)), abs=0.01)
        assert float((sequence * item).mean()) == pytest.approx(
            1 / (1 + math.exp(-0.7)) / (1 + math.exp(0.4)), abs=0.01
        )
        assert set(sequence.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("causal", [False, True])
def test_a_slice_of_the_convolution_is_the_whole_one_on_zeros(causal: bool) -> None:
    torch.manual_seed(0)
    layer = PositionConvolution(9, causal)
    first, second = torch.randn(2, 3, 5, 4)
    whole = layer(*(torch.nn.functional.pad(each, (0, 0, 0, 4)) for each in (first, second)))
    torch.testing.assert_close(layer(first, second), whole[:, :5])
    assert causal == torch.equal(layer(first, second)[:, 0], layer(first[:, :1], second[:, :1])[:, 0])


def test_the_lstm_reads_no_padding() -> None:
    torch.manual_seed(0)
    level = SequenceLevel(4, 6, 0.0, causal=False)
    x, lengths = torch.randn(3, 6, 4), torch.tensor([6, 2, 4])
    valid = torch.arange(6) < lengths.unsqueeze(1)
    decoded = level.decode(Inputs(x * valid.unsqueeze(-1), valid, valid, lengths))
    for row, length in enumerate(lengths.tolist()):
        whole = torch.ones(1, length).bool()
        alone = level.decode(Inputs(x[row : row + 1, :length], whole, whole, lengths[row : row + 1]))
        torch.testing.assert_close(decoded[row, :length], alone[0])
        assert not decoded[row, length:].any()
    level, few, x = level.double(), lengths[1:].clamp(max=3), x[1:, :3].double().requires_grad_()
    valid = torch.arange(3) < few.unsqueeze(1)
    assert torch.autograd.gradcheck(lambda x: level.decode(Inputs(x * valid.unsqueeze(-1), valid, valid, few)), (x,))


@pytest.mark.parametrize("objective", ["last", "all"])
def test_the_query_is_the_user_or_the_newest_item(objective: str) -> None:
    for query in ("user", "last"):
        model, step = built({**WILD, "query": query}, objective)
        batch, before = step.batch, levels_of(model, step.batch)
        strangers = levels_of(model, replace(batch, users=batch.users.roll(1)))
        assert differs(before.item, strangers.item) == (query == "user")
        assert not differs(before.sequence, strangers.sequence)
        if query == "last":
            newest = batch.items.gather(1, batch.lengths.unsqueeze(1) - 1)
            wanted = model.table(batch.items if objective == "all" else newest)
            assert torch.equal(method_of(model).query(model.table, model.table(batch.items), batch), wanted)


# Norm


def slow_moments(x: Tensor, counted: Tensor, t: int) -> tuple[float, float] | None:
    values = [float(v) for row in range(len(x)) if counted[row, t] for v in x[row, t]]
    if not values:
        return None
    mean = sum(values) / len(values)
    return mean, sum((v - mean) ** 2 for v in values) / len(values)


def test_the_masked_norm_equals_a_loop_over_valid_positions() -> None:
    torch.manual_seed(0)
    norm = PositionNorm(6).train()
    running: dict[int, tuple[float, float, int]] = dict.fromkeys(range(6), (0.0, 1.0, 0))
    for _ in range(14):
        lengths = torch.randint(1, 6, (5,))
        counted = torch.arange(5) < lengths.unsqueeze(1)
        x = 2 + 3 * torch.randn(5, 5, 4)
        before = dict(running)
        normed = norm(x, counted)
        for t in range(5):
            mean, variance, _ = before[t]
            torch.testing.assert_close(normed[:, t], (x[:, t] - mean) / math.sqrt(variance + 1e-5))
            if (own := slow_moments(x, counted, t)) is not None:
                mean, variance, seen = running[t]
                share = 1 / min(seen + 1, 10)
                running[t] = mean + share * (own[0] - mean), variance + share * (own[1] - variance), seen + 1
    assert norm.mean.tolist() == pytest.approx([running[t][0] for t in range(6)], rel=1e-4)
    assert norm.variance.tolist() == pytest.approx([running[t][1] for t in range(6)], rel=1e-4)
    assert (norm.mean[5], norm.variance[5]) == (0, 1), "a position that never occurred"
    held = norm.mean.clone()
    torch.testing.assert_close(norm.eval()(x, counted), (x - held[:5, None]) / (norm.variance[:5, None] + 1e-5).sqrt())
    assert torch.equal(norm.mean, held), "scoring moves no statistic"


def test_with_own_statistics_it_is_batch_norm() -> None:
    norm, theirs = PositionNorm(6), torch.nn.BatchNorm1d(6)
    norm.own_statistics = True
    x = 2 + 3 * torch.randn(5, 6, 4, generator=stream())
    torch.testing.assert_close(norm(x, torch.ones(5, 6).bool()), theirs(x))


def test_the_average_of_weights_scores_with_the_statistics_of_training() -> None:
    cell = small_cell("gru4rec", "hsd", "last", average=0.9, epochs=2)
    state = TrainingState(build_recommender(cell, inputs_of()), feed_of(small_sequences()), cell)
    samples = training_samples(small_sequences(), "last", 8, np.random.default_rng(0))
    run_epoch(state, samples, 1, 2, trace=False)
    trained, scored = (method_of(model).item_level.norm for model in (state.model, state.scored))
    assert isinstance(trained, PositionNorm) and isinstance(scored, PositionNorm)
    assert trained is not scored and int(trained.batches[0]) == math.ceil(len(samples) / 8)
    assert torch.equal(trained.variance, scored.variance) and torch.equal(trained.mean, scored.mean)
    assert float(scored.variance[0]) < 0.01, "that of embeddings with a standard deviation of about 0.02"


# Mask and states


@pytest.mark.parametrize("backbone", ["gru4rec", "sasrec"])
@pytest.mark.parametrize("scoring", [False, True])
def test_a_causal_state_is_that_of_the_items_kept_so_far(backbone: str, scoring: bool) -> None:
    model, step = built(WILD, "all", backbone, scale=0.5)
    batch = step.batch
    encoded = score_step(model, batch) if scoring else train_step(model, step)
    assert encoded.keep is not None and encoded.states is not None
    kept = encoded.keep.bool() & batch.valid
    assert 0.2 < kept.sum() / batch.valid.sum() < 0.95
    assert kept[:, 0].all()
    for row, length in enumerate(batch.lengths.tolist()):
        for t in range(length):
            items = batch.items[row, : t + 1][kept[row, : t + 1]].unsqueeze(0)
            alone = model.backbone(model.table(items), torch.tensor([items.shape[1]]), batch.users[row : row + 1])
            torch.testing.assert_close(encoded.states[row, t], alone[0, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scoring", [False, True])
def test_the_last_state_is_that_of_the_kept_items(scoring: bool) -> None:
    model, step = built(WILD, "last", scale=0.5)
    batch = step.batch
    encoded = score_step(model, batch) if scoring else train_step(model, step)
    assert encoded.keep is not None and encoded.states is not None and encoded.score is not None
    vectors = last_states(encoded.states, batch.lengths)
    for row, length in enumerate(batch.lengths.tolist()):
        kept = encoded.keep[row, :length].bool()
        items = batch.items[row, :length][kept].unsqueeze(0)
        alone = model.backbone(model.table(items), torch.tensor([items.shape[1]]), batch.users[row : row + 1])
        torch.testing.assert_close(vectors[row], alone[0, -1], rtol=1e-4, atol=1e-5)
    if scoring:
        sequence, item = levels_of(model, batch)
        noise = (sequence > 0) & (item > 0)
        assert torch.equal(encoded.score < 0, noise)
        dropped = (encoded.keep == 0) & batch.valid
        assert bool(dropped.any()) and bool((noise & batch.valid)[dropped].all())
        spared = noise & batch.valid & ~dropped
        for row, t in spared.nonzero().tolist():
            assert noise[row][batch.valid[row]].all() and t == int(batch.lengths[row]) - 1


@pytest.mark.parametrize("defects", [[], ["empty_rows"]])
def test_of_a_row_of_noise_the_newest_item_stays(defects: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Or, as released, nothing: its state is that of a zero vector."""
    model, step = built({"defects": defects}, scale=0.5)
    batch = step.batch
    noise = Levels(torch.ones(batch.items.shape), torch.ones(batch.items.shape))
    monkeypatch.setattr(HierarchicalDenoiser, "sample", lambda *_: noise)
    monkeypatch.setattr(HierarchicalDenoiser, "decide", lambda *_: noise)
    losses, encoded = model.train()(step, torch.ones(step.slots.shape), stream())
    torch.stack(list(losses.values())).sum().backward()
    assert all(bool(value.isfinite()) for value in losses.values())
    assert all(w.grad is None or bool(w.grad.isfinite().all()) for w in model.parameters())
    for found in (encoded, score_step(model, batch)):
        newest = torch.zeros_like(batch.items).scatter(1, batch.lengths.unsqueeze(1) - 1, 1)
        wanted = torch.where(batch.valid, torch.zeros_like(newest) if defects else newest, 1)
        assert torch.equal(found.keep, wanted.float())
    last = model.table(batch.items.gather(1, batch.lengths.unsqueeze(1) - 1))
    alone = model.backbone(last * (not defects), torch.ones_like(batch.lengths), batch.users)
    torch.testing.assert_close(last_states(score_step(model, batch).states, batch.lengths), alone[:, 0])


@pytest.mark.parametrize("objective", ["last", "all"])
@pytest.mark.parametrize("options", [{}, {**WILD, "norm": "layer", "query": "last"}], ids=str)
def test_a_gradient_reaches_every_parameter_of_the_mask(options: dict[str, Any], objective: str) -> None:
    """From the recommendation loss alone, hence through the mask."""
    model, step = built(options, objective, scale=0.3)
    losses, encoded = model.train()(step, torch.ones(step.slots.shape), stream())
    losses["recommendation"].backward()
    for name, weight in method_of(model).named_parameters():
        if name != "users.weight" or options.get("query") != "last":
            assert weight.grad is not None and bool(weight.grad.any()), name
    assert encoded.mask is not None and encoded.mask.requires_grad


# Losses and curriculum


def slow_filter(losses: Tensor, rate: float, length: int, released: bool) -> list[float]:
    """What is left of one row's terms; as released, a slice of the ascending order from -n on is zeroed."""
    left = losses[:length].tolist()
    ascending = sorted(range(length), key=lambda t: left[t])
    count = math.floor(rate * length)
    zeroed = ascending[-count:] if count or released else []
    for t in zeroed:
        left[t] = 0.0 if rate else left[t]
    return left + [0.0] * (len(losses) - length)


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("rate", [0.2 - 0.2 * (1 - epoch / 9) for epoch in range(10)] + [0.01, 0.5, 0.99])
def test_the_largest_bpr_terms_are_left_out_as_in_a_loop(rate: float, released: bool) -> None:
    losses = torch.rand(50, 50, generator=stream())
    valid = torch.arange(50) < LENGTHS.unsqueeze(1)
    denoiser = ZeroedRows if released else HierarchicalDenoiser
    kept = denoiser.filter_terms(denoiser.__new__(denoiser), losses, valid, rate)
    for row, length in enumerate(LENGTHS.tolist()):
        assert (losses[row] * kept[row]).tolist() == pytest.approx(slow_filter(losses[row], rate, length, released))
    if released and rate == pytest.approx(0.2):
        assert (LENGTHS[~kept.any(1)] < 5).all() and len(LENGTHS[~kept.any(1)]) == 4
    if not released and rate < 0.5:
        assert kept.any(1).all()
    assert torch.equal(all_but_largest(losses, valid, rate), kept) or released


def test_the_curriculum_falls_to_zero_in_its_last_epoch() -> None:
    shares = [left_out_share(0.2, 10, epoch) for epoch in range(1, 13)]
    assert shares == pytest.approx([*np.linspace(0.2, 0, 10), 0, 0])
    assert [left_out_share(0.2, 1, epoch) for epoch in (1, 2)] == [0.2, 0.0]
    assert [left_out_share(0.0, 10, epoch) for epoch in (1, 2)] == [0.0, 0.0]


def test_rows_that_are_reconstructed_worst_are_left_out() -> None:
    errors = torch.rand(13, generator=stream())
    for share in (0.0, 0.1, 0.2, 0.99):
        count = max(int((1 - share) * 13), 1)
        assert smallest_rows(errors, share).nonzero().flatten().tolist() == sorted(errors.argsort()[:count].tolist())
    assert int(smallest_rows(torch.zeros(10), 0.2).sum()) == 8, "equal errors, too"


@pytest.mark.parametrize("objective", ["last", "all"])
def test_both_losses_count_the_same_rows(objective: str) -> None:
    """With injected items too, which have no target of their own."""
    model, step = built({}, objective, scale=0.3)
    noisy = inject_noise(small_sequences(), 0.3)
    samples = training_samples(noisy, objective, 8, np.random.default_rng(0))  # type: ignore[arg-type]
    step = feed_of(noisy).step(samples, np.arange(16))
    losses, encoded = model.eval()(step, torch.ones(step.slots.shape), stream())
    assert isinstance(encoded, EncodedRows) and encoded.rows is not None and encoded.states is not None
    assert int(encoded.rows.sum()) == 12
    states = encoded.states.flatten(0, 1)[step.supervised]
    every = torch.nn.functional.cross_entropy(states @ model.table.candidates.T, step.targets - 1, reduction="none")
    owner = step.supervised // step.batch.items.shape[1]
    torch.testing.assert_close(losses["recommendation"], every[encoded.rows[owner]].mean())
    method = method_of(model)
    inputs = method.read(model.table(step.batch.items), step.batch)
    decoded = method.sequence_level.decode(inputs)
    errors = torch.stack(
        [
            (decoded[row, :length] - inputs.embedded[row, :length]).square().sum() / length
            for row, length in enumerate(step.batch.lengths.tolist())
        ]
    )
    assert errors[encoded.rows].max() <= errors[~encoded.rows].min()
    torch.testing.assert_close(losses["reconstruction"], errors[encoded.rows].mean())
    method.begin_epoch(10)
    _, later = model(step, torch.ones(step.slots.shape), stream())
    assert later.rows is None


def test_the_bpr_loss_prefers_a_users_inputs_to_one_random_item_per_row() -> None:
    model, step = built({"bpr": 2.0, "curriculum": 0.5}, scale=0.3)
    method, batch = method_of(model), step.batch
    method.begin_epoch(10)
    losses, _ = method.losses(
        model.table,
        model.table(batch.items),
        method.read(model.table(batch.items), batch),
        torch.zeros(*batch.items.shape, 8),
        batch,
        stream(),
    )
    random = torch.randint(1, method.n_items + 1, (16,), generator=stream())
    total = 0.0
    for row, length in enumerate(batch.lengths.tolist()):
        user, other = method.users.weight[batch.users[row]], model.table(random[row])
        differences = (model.table(batch.items[row, :length]) - other) @ user
        terms = -torch.log(1e-10 + differences.sigmoid())
        total += float(terms.detach().sort().values[: length - length // 2].sum())
    assert float(losses["bpr"].detach()) == pytest.approx(2 * total / 16, rel=1e-5)


def test_what_its_curve_shows() -> None:
    cell = small_cell("gru4rec", "hsd", "last", {"curriculum_epochs": 3})
    curve = train(build_recommender(cell, inputs_of()), feed_of(small_sequences()), cell).curve
    wanted = {"noise_by_sequence", "noise_by_item", "temperature", "keep_rate", "loss_bpr", "loss_reconstruction"}
    for row in curve:
        assert wanted <= row.figures.keys()
        assert 0 < row.figures["noise_by_sequence"] < 1 and row.figures["temperature"] == 0.5
        dropped = row.figures["noise_by_sequence"] * row.figures["noise_by_item"]
        assert 1 - row.figures["keep_rate"] == pytest.approx(dropped, abs=0.1)
    kept = [row.figures.get("rows_kept", 1.0) for row in curve]
    assert kept == pytest.approx([(6 / 8 + 6 / 8 + 5 / 7) / 3, (7 / 8 + 7 / 8 + 6 / 7) / 3, 1])


# Defects


def differs(left: Tensor | None, right: Tensor | None) -> bool:
    assert left is not None and right is not None
    return not torch.allclose(left, right, atol=1e-6)


def test_no_state_depends_on_the_target_but_with_its_defect() -> None:
    for defects, sees in (([], False), (["target_query"], True)):
        model, step = built({**WILD, "defects": defects}, scale=0.5, asks=True)
        batch = step.batch
        assert batch.following is not None
        shuffled = replace(batch, following=batch.following.roll(1, 0))
        before, after = train_step(model, step), train_step(model, step, shuffled)
        assert differs(before.states, after.states) == differs(before.score, after.score) == sees
    fair, _ = built(WILD, scale=0.5)
    fair.load_state_dict(model.state_dict())
    assert torch.equal(score_step(fair, Batch(**_parts(batch))).keep, score_step(model, Batch(**_parts(batch))).keep)


def _parts(batch: Batch) -> dict[str, Any]:
    return {name: getattr(batch, name) for name in Batch.__dataclass_fields__}


def test_annealing_freezes_the_mask() -> None:
    for defects in ([], ["annealing"]):
        model, _ = built({"defects": defects})
        method = method_of(model)
        seen = {n: float(method.step_temperature()) for n in range(1, 801)}
        found = [round(seen[n], 3) for n in (1, 39, 40, 200, 400, 520, 720, 800)]
        assert found == ([0.5, 0.5, 0.48, 0.274, 0.055, 0.013, 0.001, 0.001] if defects else [0.5] * 8)
        assert float(method.temperature) == pytest.approx(seen[800])


def test_scoring_is_random_as_released_alone() -> None:
    for defects in ([], ["test_noise"]):
        model, step = built({"defects": defects}, scale=0.5)
        first, second = (score_step(model, step.batch, seed) for seed in (1, 2))
        assert differs(first.states, second.states) == bool(defects)


def test_statistics_of_the_batch_hold_other_samples_targets() -> None:
    for defects in ([], ["batch_statistics"]):
        case = Case("hsd", "gru4rec", "prefix", {**WILD, "defects": defects})
        cell, sequences = case.cell(max_length=4), small_sequences(users=4, longest=9)
        leak = target_leak(case.model(cell), cell, sequences, "train")
        assert (leak is not None) == bool(defects)


def test_padding_enters_all_layers_as_released_alone() -> None:
    model, step = built({"defects": ["padding"]}, scale=0.5)
    fair, _ = built({}, scale=0.5)
    fair.load_state_dict({name: value for name, value in model.state_dict().items() if name != "method.padding"})
    short = Batch(**_parts(step.batch)).select(step.batch.lengths.argsort()[:3])
    assert int(short.lengths.max()) < 8
    before, without = levels_of(model, short), levels_of(fair, short)
    inside = short.valid
    assert differs(before.sequence[inside], without.sequence[inside])
    assert torch.equal(before.item[inside], without.item[inside]), "it enters the norm by its statistics"
    model.method.padding.data += 1  # type: ignore[union-attr, operator]
    assert differs(levels_of(model, short).sequence[inside], before.sequence[inside])
    for each in (model, fair):
        train_step(each, step)  # in evaluation mode: no statistic moves
        each.train()
        levels = method_of(each)
        levels.item_level(levels.read(each.table(step.batch.items), step.batch), torch.zeros(16, 1, 8))
    norms = [method_of(each).item_level.norm for each in (model, fair)]
    assert all(isinstance(norm, PositionNorm) for norm in norms)
    assert differs(norms[0].mean, norms[1].mean)  # type: ignore[arg-type]


def test_all_defects_together_train_and_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run has the counter of steps and the temperature of one that was never killed."""
    monkeypatch.setattr(hierarchical_defects, "_PERIOD", 2)
    options = load_method(CONFIG, "hsd_released").options
    assert set(options["defects"]) == set(DEFECTS) == set(get_args(HSDDefect))
    assert CHECKS["resumed equals never killed"](Case("hsd", "gru4rec", "last", options)) is None
    cell = small_cell("gru4rec", "hsd", "last", options)
    model = build_recommender(cell, inputs_of())
    outcome = train(model, feed_of(small_sequences()), cell)
    assert model.method.asks_for == {"following"}
    assert float(model.method.steps) == 3 * outcome.best_epoch > 0  # type: ignore[arg-type]


def test_without_a_mask_the_losses_remain() -> None:
    case = Case("hsd", "gru4rec", "last", {"mask": "none"})
    for name in ("a gradient reaches every parameter", "switched off, it is the backbone"):
        assert CHECKS[name](case) is None
    cell = case.cell()
    curve = train(build_recommender(cell, inputs_of()), feed_of(small_sequences()), cell).curve
    assert {"loss_bpr", "loss_reconstruction", "rows_kept"} <= curve[0].figures.keys()
    assert "keep_rate" not in curve[0].figures


@pytest.mark.parametrize(
    ("options", "objective", "words"),
    [
        ({"defects": ["target_query"]}, "all", "target_query belong to scope 'sequence'"),
        ({"defects": "padding", "scope": "causal"}, "last", "padding belong"),
        ({"scope": "sequence"}, "all", "would see its target"),
        ({"norm": "layer", "defects": ["batch_statistics"]}, "last", "has no batch_statistics"),
        ({"mask": "none", "defects": ["annealing"]}, "last", "no annealing"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], objective: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        small_cell("gru4rec", "hsd", objective, options)
    with pytest.raises(ConfigError, match="needs `networks: ours`"):
        small_cell("gru4rec", "hsd", "last", networks="released")


def test_a_search_leaves_out_what_has_no_effect() -> None:
    plain, unmasked = (HSDOptions(mask=mask).model_dump() for mask in ("hard", "none"))
    for name in ("logits", "temperature", "reconstruction", "bpr"):
        assert HSDOptions.is_active(name, plain)
        assert HSDOptions.is_active(name, unmasked) == (name in ("reconstruction", "bpr"))
