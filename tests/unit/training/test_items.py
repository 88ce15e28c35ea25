"""Item vectors from text in whole models: the same backbone as without, exact sums, one computation per step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from iadsr.conformance.suite import CHECKS, Case
from iadsr.methods.none_options import NoneOptions
from iadsr.models.text_tables import TextTable
from iadsr.sequences.samples import training_samples
from iadsr.training.loop import evaluation_noise, train, train_alone
from iadsr.training.recommender import Recommender, build_recommender
from iadsr.training.score import Scorer
from tests.helpers import feed_of, inputs_of, small_cell, small_sequences

KINDS = ["text_init", "text_sum", "text_frozen"]


def made(items: str, kind: str = "none", **settings: Any) -> tuple[Recommender, Any]:
    cell = small_cell("gru4rec", kind, "all", {"items": items}, **settings)
    return build_recommender(cell, inputs_of()), cell


def result(model: Recommender, cell: Any, checkpoint: Path | None = None) -> list[Any]:
    feed = feed_of(small_sequences())
    outcome = train(model, feed, cell, checkpoint)
    ranks = Scorer(feed, "test", cell).test(model.eval(), evaluation_noise(cell, feed.device))[0]
    return [[(row.loss, row.validation) for row in outcome.curve], ranks["rank_kept"].tolist()]


@pytest.mark.parametrize("items", KINDS)
def test_backbone_and_method_start_as_without_text(items: str) -> None:
    for kind in ("none", "iadsr"):
        (ours, _), (plain, _) = made(items, kind), made("id", kind)
        for part in ("backbone", "method"):
            pairs = zip(getattr(ours, part).parameters(), getattr(plain, part).parameters(), strict=True)
            assert all(torch.equal(*pair) for pair in pairs)
        assert not torch.allclose(ours.table.candidates, plain.table.candidates, atol=1e-3)


@pytest.mark.parametrize("items", ["text_sum", "text_frozen"])
def test_a_map_of_the_text_starts_the_same_with_every_backbone(items: str) -> None:
    cells = [small_cell(backbone, "none", "all", {"items": items}) for backbone in ("gru4rec", "sasrec")]
    maps = [dict(build_recommender(cell, inputs_of()).table.named_parameters()) for cell in cells]
    assert all(torch.equal(maps[0][name], maps[1][name]) for name in maps[0] if not name.startswith("embedding"))


def test_a_sum_whose_map_stays_zero_is_a_table_without_text() -> None:
    """Bit for bit: losses, validation and ranks."""
    (summed, cell), (plain, other) = made("text_sum", average=0.9), made("id", average=0.9)
    for weight in summed.table.project.parameters():  # type: ignore[union-attr]
        torch.nn.init.zeros_(weight).requires_grad_(False)
    before = result(plain, other)
    assert result(summed, cell) == before
    assert result(*made("text_sum", average=0.9)) != before, "a map that is trained does something"


@pytest.mark.parametrize("items", KINDS)
def test_scores_are_inner_products_with_the_vectors_of_inputs(items: str) -> None:
    model, _ = made(items)
    state = torch.randn(8)
    expected = [float(state @ model.table(torch.tensor(item)).detach()) for item in range(1, 41)]
    np.testing.assert_allclose(model.scores(state.unsqueeze(0))[0].detach(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("items", ["text_sum", "text_frozen"])
def test_vectors_are_computed_once_per_step_and_once_per_scoring(items: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, cell = made(items, epochs=2, batch_size=4)
    steps: list[int] = []
    calls: list[int] = []
    compute = type(model.table).vectors  # type: ignore[union-attr]
    model.register_forward_pre_hook(lambda *_: steps.append(1))

    def counted(table: TextTable) -> torch.Tensor:
        calls.append(1)
        vectors: torch.Tensor = compute(table)
        return vectors

    monkeypatch.setattr(type(model.table), "vectors", counted)
    monkeypatch.setattr("iadsr.training.score._BLOCK", 5)
    monkeypatch.setattr("iadsr.training.score._SCORES", 80)
    train(model, feed_of(small_sequences()), cell)
    assert len(steps) > 10
    assert len(calls) == len(steps) + 2


@pytest.mark.parametrize("items", KINDS)
def test_a_backbone_trained_alone_is_one_on_the_same_vectors(items: str) -> None:
    """The first of two stages is `none` with these item vectors."""
    (first, cell), (second, _) = made(items, "iadsr"), made(items)
    train_alone(first, feed_of(small_sequences()), cell)
    train(second, feed_of(small_sequences()), cell)
    for ours, theirs in zip(first.table.parameters(), second.table.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("check", [name for name in CHECKS if name != "its scores find planted noise"])
@pytest.mark.parametrize("items", KINDS)
def test_tables_pass_the_checks_of_methods(items: str, check: str) -> None:
    for kind, backbone, objective in (("none", "sasrec", "last"), ("iadsr", "gru4rec", "all")):
        assert CHECKS[check](Case(kind, backbone, objective, {"items": items})) is None


@pytest.mark.parametrize("items", KINDS)
def test_a_step_with_item_vectors_from_text_runs_on_the_meta_device(items: str) -> None:
    model, cell = made(items)
    samples = training_samples(small_sequences(), "all", 8, np.random.default_rng(0))
    step = feed_of(small_sequences()).step(samples, np.arange(6))
    model.to("meta")
    vectors = model.computed().table
    assert vectors.candidates.is_meta and vectors(step.batch.items.to("meta")).is_meta
    assert cell.items is not None and set(cell.items) < set(NoneOptions.model_fields)
