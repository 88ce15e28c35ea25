"""Checks of a method: it leaks nothing, trains every parameter, resumes exactly, and can be switched off."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from iadsr.config.cell import Cell
from iadsr.config.fields import dotted
from iadsr.config.options import OwnBackboneOptions, find_method, known_methods
from iadsr.conformance.examples import (
    feed_of,
    inputs_of,
    joined_sequences,
    planted_sequences,
    small_cell,
    small_sequences,
)
from iadsr.conformance.leaks import memory_leak, padding_leak, target_leak
from iadsr.core.errors import ConfigError, one_line
from iadsr.methods.method import Method
from iadsr.sequences.samples import training_samples
from iadsr.training.feed import Step
from iadsr.training.loop import evaluation_noise, train
from iadsr.training.recommender import Recommender, build_recommender
from iadsr.training.score import Scorer
from iadsr.training.state import Outcome

BACKBONES = ("gru4rec", "sasrec")
OBJECTIVES = ("last", "prefix", "all")
_LEAST_AUC = 0.55  # three standard errors above chance


@dataclass(frozen=True)
class Case:
    """A method with options, a backbone and an objective."""

    kind: str
    backbone: str
    objective: str
    options: dict[str, Any] = field(default_factory=dict)

    def cell(self, **settings: Any) -> Cell:
        """Make a small cell of the case.

        Raises:
            ConfigError: the method refuses the objective.
        """
        return small_cell(self.backbone, self.kind, self.objective, self.options, **settings)

    def model(self, cell: Cell, **inputs: Any) -> Recommender:
        """Build a fresh model, in its second epoch, so that the first one's keep rates count."""
        told = {"dropout": cell.settings.dropout, "max_length": cell.settings.max_length, **inputs}
        model = build_recommender(cell, inputs_of(**told))
        model.method.begin_epoch(2)
        return model

    def step(self, model: Recommender, cell: Cell) -> Step:
        """Make a training step of 16 samples."""
        samples = training_samples(small_sequences(), cell.settings.objective, 8, np.random.default_rng(0))
        return feed_of(small_sequences(), cell).step(samples, np.arange(16), model.method.asks_for)

    def train(self, cell: Cell, checkpoint: Path | None = None, **named: Any) -> tuple[Recommender, Outcome]:
        """Train a fresh model; `named` goes to `train`, its `inputs` to `inputs_of`."""
        inputs = {"dropout": cell.settings.dropout, **named.pop("inputs", {})}
        model = build_recommender(cell, inputs_of(**inputs))
        return model, train(model, feed_of(small_sequences(), cell), cell, checkpoint, **named)


def target_stays_unseen(case: Case) -> str | None:
    """Check that no state, mask, score, gate or loss depends on a target before it is predicted."""
    cell, sequences = case.cell(max_length=4), small_sequences(users=4, longest=9)
    if cell.method_options.get("interest_text") == "prefixes":
        sequences = joined_sequences(sequences)
    for mode in ("train", "score"):
        # A network of the method's own may have shapes that depend on other rows, and with them dropout's draws.
        if (leak := target_leak(case.model(cell, dropout=0.0), cell, sequences, mode)) is not None:
            return f"{leak} ({'in training' if mode == 'train' else 'in scoring'})"
    if case.model(cell).method.remembers:
        return memory_leak(case.model(cell), cell, sequences)
    return None


def padding_stays_unseen(case: Case) -> str | None:
    """Check that nothing depends on padding, its embedding or its amount."""
    cell, sequences = case.cell(max_length=4), small_sequences(users=4, longest=9)
    leaks = (padding_leak(case.model(cell), cell, sequences, mode) for mode in ("train", "score"))
    return next((leak for leak in leaks if leak is not None), None)


def kept_inputs_are_encoded_in_order(case: Case) -> str | None:
    """Check that with `remove: pack` the backbone gets the kept inputs, all of them, in order."""
    if "remove" not in find_method(case.kind, case.kind).model_fields:
        return None
    packed = Case(case.kind, case.backbone, case.objective, {**case.options, "remove": "pack"})
    try:
        cell = packed.cell(max_length=8, dropout=0.0)
    except ConfigError:
        return None  # with these options nothing is packed
    model = packed.model(cell)
    seen = Recorder(model.backbone)
    model.backbone = seen
    batch = packed.step(model, cell).batch
    encoded = model.eval().method.denoise(model.table, seen, batch, torch.Generator().manual_seed(0))
    if encoded.keep is None:
        return "`remove: pack` comes without a mask"
    for row, kept in enumerate(encoded.keep.bool() & batch.valid):
        wanted = model.table(batch.items[row, kept])
        given = [x[:n] for x, n in seen.rows if len(wanted) == n and torch.equal(x[:n], wanted)]
        if len(wanted) and not given:
            return f"the kept inputs of row {row}, {int(kept.sum())} of {int(batch.valid[row].sum())}, are not encoded"
    return None


class Recorder(nn.Module):
    """Wraps a backbone and records its inputs."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.rows: list[tuple[Tensor, int]] = []

    def forward(self, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """Encode and record."""
        self.rows += zip(embedded.detach(), lengths.tolist(), strict=True)
        states: Tensor = self.backbone(embedded, lengths, users)
        return states


def switched_off_is_the_backbone(case: Case) -> str | None:
    """Check that with its `neutral` options training and ranks equal those of `none`, bit for bit."""
    neutral = find_method(case.kind, case.kind).neutral
    if neutral is None:
        return None
    off = Case(case.kind, case.backbone, case.objective, {**case.options, **neutral})
    items = {name: value for name, value in case.options.items() if name.startswith("items")}
    rates = {"keep_rates": np.ones(1), "test_keep_rate": 1.0}
    plain, ours = (
        _result(*other.train(cell, inputs=rates), cell)
        for other in (Case("none", case.backbone, case.objective, items), off)
        for cell in (other.cell(),)
    )
    for name, value in plain.items():
        if value != ours[name]:
            return f"with {neutral or 'keep rates of 1'} its {name} are not the backbone's"
    return None


def _result(model: Recommender, outcome: Outcome, cell: Cell) -> dict[str, Any]:
    scorer = Scorer(feed_of(small_sequences(), cell), "test", cell)
    ranks = scorer.test(model, evaluation_noise(cell, torch.device("cpu")))[0]
    return {
        "recommendation losses": [row.figures["loss_recommendation"] for row in outcome.curve],
        "validation scores": [row.validation for row in outcome.curve],
        "ranks": ranks["rank_kept"].tolist(),
    }


def gradient_reaches_every_parameter(case: Case) -> str | None:
    """Check that one step gives each parameter a gradient; only the method's, if it brings its own network."""
    cell = case.cell(dropout=0.0)
    model = case.model(cell).train()
    step = case.step(model, cell)
    losses, encoded = model(step, torch.ones(step.slots.shape), torch.Generator().manual_seed(0))
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    parameters = model.method.named_parameters() if encoded.states is None else model.named_parameters()
    missed = [name for name, weight in parameters if weight.grad is None or not bool(weight.grad.any())]
    return f"no gradient reaches {', '.join(missed)}" if missed else None


def nothing_kept_is_finite(case: Case) -> str | None:
    """Check that losses, gradients and states are finite where every input is dropped."""
    cell = case.cell(dropout=0.0)
    model = case.model(cell, keep_rates=np.zeros(1), test_keep_rate=0.0).train()
    step = case.step(model, cell)
    losses, _ = model(step, (~step.batch.valid).float(), torch.Generator().manual_seed(0))
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    for name, loss in losses.items():
        if not bool(loss.isfinite()):
            return f"the loss '{name}' is {float(loss.detach())} where nothing is kept"
    for name, weight in model.named_parameters():
        if weight.grad is not None and not bool(weight.grad.isfinite().all()):
            return f"the gradient of {name} is not finite where nothing is kept"
    with torch.no_grad():
        vectors, _ = model.eval().represent(step.batch, torch.Generator().manual_seed(0))
    return None if bool(vectors.isfinite().all()) else "a state is not finite where nothing is kept"


class Killed(Exception):
    """Raised between two epochs, to end a run there."""


def resumed_equals_never_killed(case: Case) -> str | None:
    """Check that a run killed between two epochs and resumed has the curve and weights of one that never was."""
    cell = case.cell(epochs=4, average=0.9)
    straight, whole = case.train(cell)

    def kill(epoch: int, validation: float) -> None:
        if epoch == 3:
            raise Killed

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        with contextlib.suppress(Killed):
            case.train(cell, path, observe=kill, save_every=-1.0)
        resumed, rest = case.train(cell, path, save_every=-1.0)
    figures = [[(row.loss, row.validation, row.figures) for row in outcome.curve] for outcome in (whole, rest)]
    if figures[0] != figures[1]:
        return "a resumed run has another curve than one that was never killed"
    ours, theirs = straight.state_dict(), resumed.state_dict()
    changed = [name for name, value in ours.items() if not torch.equal(value, theirs[name])]
    return f"a resumed run ends with another {', '.join(changed)}" if changed else None


def scores_find_noise(case: Case) -> str | None:
    """Check that scores trained on planted noise tell it from genuine items better than chance.

    Tried on one backbone and objective; passed by a method without scores, and by one of which its options say that it
    learns too slowly.
    """
    slow = not find_method(case.kind, case.kind).finds_noise
    if slow or case.objective != "last" or case.backbone == "sasrec" or not _has_scores(case):
        return None
    cell, (sequences, text) = case.cell(epochs=5, max_length=16, dimension=16), planted_sequences()
    inputs, feed = inputs_of(sequences, dimension=16, max_length=16, text=text), feed_of(sequences, cell)
    model = build_recommender(cell, inputs)
    train(model, feed, cell)
    auc = Scorer(feed, "test", cell).test(model, evaluation_noise(cell, feed.device))[2]
    if auc is None or auc > _LEAST_AUC:
        return None
    return f"a noise item scores below a genuine one with probability {auc:.2f}, by chance .50"


def _has_scores(case: Case) -> bool:
    cell = case.cell()
    model = case.model(cell).eval()
    step, noise = case.step(model, cell), torch.Generator().manual_seed(0)
    with torch.no_grad():
        return model.method.denoise(model.table, model.backbone, step.batch, noise).score is not None


CHECKS: dict[str, Callable[[Case], str | None]] = {
    "no state sees its target": target_stays_unseen,
    "padding is never seen": padding_stays_unseen,
    "the kept inputs are encoded in order": kept_inputs_are_encoded_in_order,
    "switched off, it is the backbone": switched_off_is_the_backbone,
    "a gradient reaches every parameter": gradient_reaches_every_parameter,
    "numbers are finite where nothing is kept": nothing_kept_is_finite,
    "resumed equals never killed": resumed_equals_never_killed,
    "its scores find planted noise": scores_find_noise,
}


def check_method(kind: str, options: dict[str, Any] | None = None) -> Iterator[tuple[Case, str, str | None]]:
    """Run every check on a method under every backbone and objective that it accepts.

    Yields:
        The case, the check, and what failed in words, or None.
    """
    for backbone in (OwnBackboneOptions.name,) if find_method(kind, kind).own_backbone else BACKBONES:
        for objective in OBJECTIVES:
            case = Case(kind, backbone, objective, options or {})
            try:
                case.cell()
            except ConfigError as refusal:
                if objective != "all":
                    yield case, "it accepts the objective", one_line(refusal)
                continue
            for name, check in CHECKS.items():
                try:
                    failure = check(case)
                except Exception as error:  # of the method's code, which can raise anything
                    failure = f"it raised {one_line(error)} ({_raised_at(error)})"
                yield case, name, failure


def _raised_at(error: Exception) -> str:
    """Name the innermost line outside of installed libraries."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if "site-packages" not in frame.filename), frames[-1])
    return f"{Path(frame.filename).name}, line {frame.lineno}"


def find_kinds(name: str) -> list[str]:
    """Find the kinds of method that `name` stands for: a kind, `module:Class`, or every method in a module.

    Raises:
        ConfigError: there is none.
    """
    if name in known_methods() or ":" in name:
        find_method(dotted(name), "check-method")
        return [dotted(name)]
    try:
        module = importlib.import_module(name)
    except Exception as error:  # of the user's module, which can raise anything
        raise ConfigError(f"module {name} cannot be imported: {one_line(error)}") from error
    own = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == name]
    kinds = [f"{name}.{value.__name__}" for value in own if issubclass(value, Method) and hasattr(value, "Options")]
    if not kinds:
        raise ConfigError(f"module {name} has no class with `Options`, a subclass of MethodOptions, that is a Method")
    return kinds
