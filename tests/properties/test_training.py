"""Whole training runs: determinism, resuming, a closed gate, divergence, learning."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
import torch

from iadsr.config.cell import Cell
from iadsr.config.options import known_backbones
from iadsr.machine.termination import Terminated
from iadsr.methods.method import MethodInputs
from iadsr.training import loop
from iadsr.training.loop import evaluation_noise, train
from iadsr.training.recommender import Recommender, build_recommender
from iadsr.training.score import Scorer
from iadsr.training.state import Outcome
from tests.helpers import (
    N_ITEMS,
    accepted,
    diverging,
    feed_of,
    inputs_of,
    objective_of,
    small_cell,
    small_sequences,
)

CPU = torch.device("cpu")


def run(cell: Cell, made_of: MethodInputs | None = None, checkpoint: Path | None = None) -> tuple[Recommender, Outcome]:
    model = build_recommender(cell, made_of or inputs_of())
    return model, train(model, feed_of(small_sequences(), cell), cell, checkpoint)


def ranks(model: Recommender, cell: Cell) -> pd.DataFrame:
    scorer = Scorer(feed_of(small_sequences(), cell), "test", cell)
    return scorer.test(model, evaluation_noise(cell, CPU))[0]


def curve(outcome: Outcome) -> list[tuple[float, float, float | None]]:
    return [(row.loss, row.validation, row.figures.get("keep_rate")) for row in outcome.curve]


def same_weights(left: Recommender, right: Recommender) -> bool:
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", ["none", "iadsr", "random_drop"])
@pytest.mark.parametrize("backbone", list(known_backbones()))
def test_same_seed_same_bytes(backbone: str, kind: str) -> None:
    cell = small_cell(backbone, kind, objective_of(backbone))
    (first, one), (second, two) = run(cell), run(cell)
    assert same_weights(first, second)
    assert curve(one) == curve(two)
    pd.testing.assert_frame_equal(ranks(first, cell), ranks(second, cell))


def test_another_seed_gives_another_run() -> None:
    cell = small_cell("gru4rec", "none", "all")
    assert curve(run(cell)[1]) != curve(run(cell.model_copy(update={"seed": 1}))[1])


@pytest.mark.parametrize(("backbone", "kind", "objective"), accepted(["iadsr"]))
def test_a_closed_gate_is_exactly_the_backbone(backbone: str, kind: str, objective: str) -> None:
    """No cosine exceeds 2: nothing is masked. Without auxiliary losses the runs are equal bit for bit."""
    closed = {"theta": 2.0, "alignment": 0.0, "reconstruction": 0.0}
    plain, masked = small_cell(backbone, "none", objective), small_cell(backbone, kind, objective, closed)
    (bare, one), (gated, two) = run(plain), run(masked)
    assert [row.loss for row in one.curve] == [row.loss for row in two.curve]
    assert [row.validation for row in one.curve] == [row.validation for row in two.curve]
    assert {row.figures["keep_rate"] for row in two.curve} == {1.0}
    assert {row.figures["gate_share"] for row in two.curve} == {0.0}
    pd.testing.assert_frame_equal(ranks(bare, plain), ranks(gated, masked))


def test_an_open_gate_does_mask() -> None:
    """The same options with the gate open must differ, or the test above proves nothing."""
    opened = {"theta": -2.0, "alignment": 0.0, "reconstruction": 0.0}
    outcome = run(small_cell("gru4rec", "iadsr", "all", opened))[1]
    assert "keep_rate" in outcome.curve[0].figures
    assert 0.2 < outcome.curve[0].figures["keep_rate"] < 0.95
    assert curve(outcome)[2][0] != curve(run(small_cell("gru4rec", "none", "all"))[1])[2][0]


@pytest.mark.parametrize(
    ("kind", "objective"), [("none", "all"), ("iadsr", "all"), ("iadsr", "prefix"), ("random_drop", "last")]
)
def test_killed_and_resumed_equals_never_killed(
    kind: str, objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", -1.0)
    cell = small_cell("gru4rec", kind, objective, epochs=5, average=0.9)
    straight, whole = run(cell)
    path = tmp_path / "scratch" / "x.pt"
    calls = 0
    real = loop.run_epoch

    def dies_in_the_third(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "run_epoch", dies_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(cell, checkpoint=path)
    trained = Mock(side_effect=real)
    monkeypatch.setattr(loop, "run_epoch", trained)
    resumed, rest = run(cell, checkpoint=path)
    assert trained.call_count == 3, "it went on after the second epoch"
    assert curve(rest) == curve(whole)
    assert same_weights(resumed, straight)
    if kind == "iadsr":
        assert resumed.method.cutoff and straight.method.cutoff
        assert resumed.method.cutoff.same_between == straight.method.cutoff.same_between
    assert rest.masks is not None
    assert whole.masks is not None
    for name, sums in whole.masks.state().items():
        assert torch.equal(rest.masks.state()[name], sums), name


def test_sigterm_ends_training_after_the_epoch_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = small_cell("gru4rec", "iadsr", "all", epochs=5, average=0.9)
    straight, whole = run(cell)
    path, real, calls = tmp_path / "x.pt", loop.run_epoch, 0

    def preempted_in_the_third(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **named)  # type: ignore[arg-type]

    former = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(loop, "run_epoch", preempted_in_the_third)
    with pytest.raises(Terminated):
        run(cell, checkpoint=path)
    assert signal.getsignal(signal.SIGTERM) == former
    resumed, rest = run(cell, checkpoint=path)
    assert calls == 5, "no epoch is repeated"
    assert curve(rest) == curve(whole)
    assert same_weights(resumed, straight)


def _edit(path: Path, **changes: object) -> None:
    torch.save(torch.load(path, weights_only=True) | changes, path)


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _without_best(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    torch.save({name: value for name, value in state.items() if name != "best"}, path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-2000]),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "garbage": lambda path: path.write_bytes(b"<html>" * 1000),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "one bit": _flip_a_bit,
    "a list": lambda path: torch.save([1, 2], path),
    "code": lambda path: torch.save({"model": Path("x")}, path),
    "a key lacks": _without_best,
    "a key more": lambda path: _edit(path, schedule=1.0),
    "another torch": lambda path: _edit(path, torch="1.0"),
    "another run": lambda path: _edit(path, file="other.pt"),
    "another model": lambda path: _edit(path, model={"weight": torch.ones(2)}),
    "another average": lambda path: _edit(path, scored={"weight": torch.ones(2)}),
    "another optimiser": lambda path: _edit(path, optimiser={"state": {}, "param_groups": []}),
    "another curve": lambda path: _edit(path, curve=[{"epoch": 1, "perplexity": 3.0}]),
    "other generators": lambda path: _edit(path, generators={"noise": torch.zeros(3, dtype=torch.uint8)}),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_training_starts_afresh_from_a_damaged_checkpoint(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", -1.0)
    cell = small_cell("gru4rec", "iadsr", "last", epochs=2, average=0.9)
    fresh, whole = run(cell)
    path = tmp_path / "scratch" / "x.pt"
    run(cell.model_copy(update={"settings": cell.settings.model_copy(update={"epochs": 1})}), checkpoint=path)
    DAMAGE[kind](path)
    damaged = path.read_bytes()
    again, rest = run(cell, checkpoint=path)
    assert curve(rest) == curve(whole)
    assert same_weights(again, fresh)
    aside = path.with_name("x.pt.damaged")
    assert aside.read_bytes() == damaged
    (warning,) = [line for line in caplog.messages if str(path) in line]
    assert aside.name in warning and "\n" not in warning


def test_a_checkpoint_that_cannot_be_read_now_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input error or too little memory says nothing about the file."""
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", -1.0)
    cell = small_cell("gru4rec", "none", "last", epochs=1)
    path = tmp_path / "x.pt"
    run(cell, checkpoint=path)
    for error in (PermissionError("no"), MemoryError(), torch.OutOfMemoryError("no")):
        with monkeypatch.context() as patch:
            patch.setattr(torch, "load", Mock(side_effect=error))
            with pytest.raises(type(error)):
                run(cell, checkpoint=path)
        assert path.is_file()


def test_the_average_of_the_weights_is_what_is_scored_and_kept() -> None:
    """An average that hardly moves stays at the initial weights, while the training loss falls as it does without."""
    slow, plain = (run(small_cell("gru4rec", "none", "all", epochs=3, average=decay)) for decay in (1 - 1e-9, 0.0))
    initial = build_recommender(small_cell("gru4rec", "none", "all"), inputs_of(dimension=16))
    assert [row.loss for row in slow[1].curve] == [row.loss for row in plain[1].curve]
    for name, value in slow[0].state_dict().items():
        torch.testing.assert_close(value, initial.state_dict()[name])
    assert len({row.validation for row in slow[1].curve}) == 1
    assert not same_weights(slow[0], plain[0])


def test_stopping_on_the_training_loss_keeps_the_epoch_of_the_lowest() -> None:
    """R10. The rate is high enough for validation to prefer another epoch."""
    cells = [
        small_cell("gru4rec", "none", "last", epochs=12, learning_rate=0.05, stopping=stopping)
        for stopping in ("training", "validation")
    ]
    (_, by_loss), (_, by_validation) = (run(cell) for cell in cells)
    losses = [row.loss for row in by_loss.curve]
    assert losses == [row.loss for row in by_validation.curve], "it decides which epoch is kept and nothing else"
    assert by_loss.best_epoch == 1 + losses.index(min(losses))
    assert by_loss.best_validation == by_loss.curve[by_loss.best_epoch - 1].validation
    assert by_loss.best_epoch != by_validation.best_epoch


def test_patience_counts_epochs_without_a_better_training_loss() -> None:
    cell = small_cell("gru4rec", "none", "last", epochs=60, patience=2, learning_rate=0.5, stopping="training")
    _, outcome = run(cell)
    assert len(outcome.curve) == outcome.best_epoch + 2 < 60


@pytest.mark.parametrize("optimiser", ["adamw", "adam"])
def test_weight_decay_is_apart_from_the_gradient_or_part_of_it(optimiser: str) -> None:
    """An item that nobody has gets no gradient: what moves its embedding is decay alone, as torch has it."""
    rate, decay, steps = 0.01, 0.5, 3
    cell = small_cell(
        "gru4rec",
        "none",
        "last",
        epochs=1,
        learning_rate=rate,
        weight_decay=decay,
        optimiser=optimiser,
        loss="in_batch",
    )
    larger = replace(small_sequences(), n_items=N_ITEMS + 1)
    before = build_recommender(cell, inputs_of(larger))
    absent = before.table.embedding.weight[-1].detach().clone()  # type: ignore[union-attr,index]
    model = build_recommender(cell, inputs_of(larger))
    train(model, feed_of(larger), cell)
    after = model.table.embedding.weight[-1].detach()  # type: ignore[union-attr,index]
    alone = torch.nn.Parameter(absent)
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    reference = kinds[optimiser]([alone], rate, weight_decay=decay)
    for _ in range(steps):
        alone.grad = torch.zeros_like(alone)
        reference.step()
    torch.testing.assert_close(after, alone.detach())


def test_divergence_is_an_outcome_with_a_reason() -> None:
    _, outcome = run(diverging(small_cell("gru4rec", "none", "all")))
    assert outcome.diverged is not None
    assert "not finite" in outcome.diverged
    assert "lower the learning rate" in outcome.diverged


@pytest.mark.parametrize(("backbone", "kind", "objective"), accepted(["none"], ["prefix", "all"]))
def test_it_learns_the_ring(backbone: str, kind: str, objective: str) -> None:
    """Three steps in four go to the next item of the ring; chance ranks it at 20 of 40."""
    cell = small_cell(
        backbone,
        kind,
        objective,
        epochs=40,
        dropout=0.0,
        dimension=16,
        batch_size=16,
        learning_rate=0.01,
    )
    sequences = small_sequences(users=120)
    model = build_recommender(cell, inputs_of(dimension=16))
    feed = feed_of(sequences)
    train(model, feed, cell)
    table = Scorer(feed, "test", cell).test(model, evaluation_noise(cell, CPU))[0]
    assert (table["rank_kept"] <= 2).mean() > 0.6
