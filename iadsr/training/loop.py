"""The training loop, top to bottom: epochs, validation, the epoch that is kept, checkpoints."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from iadsr.config.cell import Cell
from iadsr.core.errors import IadsrError
from iadsr.core.seeding import derive, generator
from iadsr.sequences.samples import Samples, batches, training_samples
from iadsr.training.checkpoint import resume, save_checkpoint
from iadsr.training.feed import Feed
from iadsr.training.recommender import Recommender
from iadsr.training.schedule import epochs_of, rate_factor, validated_epochs
from iadsr.training.score import Scorer
from iadsr.training.tally import Tally

logger = logging.getLogger("iadsr.training")

GUESSING = "guessing_loss"
_CHECKPOINT_SECONDS = 20.0  # at most so much work is lost to a kill


class Diverged(IadsrError):
    """A loss or a validation score stopped being a number."""


@dataclass
class Epoch:
    """One row of curve.csv.

    Attributes:
        epoch: counted from 1.
        loss: mean training loss, all parts added up.
        validation: NDCG@10 of the validation targets, None where the epoch was not validated.
        seconds: training and validation together.
        figures: everything else that was measured, by name: `loss_<name>` for each part of the loss, every traced
            figure of the method, `guessing_loss` (the recommendation loss if every candidate had the same score), and
            where there is a mask `keep_rate` (share of inputs kept), `gate_share` (share of sequences past the gate;
            with a gate per position, the mean over sequences of the share of positions) and `mask_gradient` (norm of
            the gradient with respect to the mask); in validated epochs of a method with losses of its own,
            `gradient_<loss>_<part>` (see `pulls`).
    """

    epoch: int
    loss: float
    validation: float | None
    seconds: float
    figures: dict[str, float]

    def flat(self) -> dict[str, float | None]:
        """The columns of the row in curve.csv."""
        return {"epoch": self.epoch, "loss": self.loss, "validation": self.validation, "seconds": self.seconds} | (
            self.figures
        )


@dataclass
class Outcome:
    """What training leaves behind.

    Attributes:
        curve: one entry an epoch.
        best_epoch: the epoch whose weights the model holds now, 0 if none was finished.
        best_validation: its validation NDCG@10.
        best_score: what made it the best: its validation NDCG@10, or its training loss with the sign turned.
        tally: what its masks did.
        diverged: why training stopped being meaningful, or None.
    """

    curve: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    best_validation: float = -1.0
    best_score: float = -math.inf
    tally: Tally | None = None
    diverged: str | None = None


class AdamW(torch.optim.AdamW):
    """torch's own, less the wrappers that import torch's compiler at first use (1.6 s in each of thousands of jobs).

    Adam too, whose weight decay is part of the gradient, is a setting of it.
    """

    step = torch.no_grad()(torch.optim.AdamW.step.__wrapped__)  # type: ignore[attr-defined]
    add_param_group = torch.optim.AdamW.add_param_group.__wrapped__  # type: ignore[attr-defined]
    zero_grad = torch.optim.AdamW.zero_grad.__wrapped__  # type: ignore[attr-defined]
    state_dict = torch.optim.AdamW.state_dict.__wrapped__  # type: ignore[attr-defined]
    load_state_dict = torch.optim.AdamW.load_state_dict.__wrapped__  # type: ignore[attr-defined]


class Totals:
    """Sums over an epoch, kept on the device until its end."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, float] = {}

    def add(self, name: str, total: Tensor, count: float) -> None:
        """Add a sum over `count` things."""
        self.sums[name] = self.sums.get(name, torch.zeros_like(total, dtype=torch.float64)) + total.detach()
        self.counts[name] = self.counts.get(name, 0.0) + count

    def means(self) -> dict[str, float]:
        """Mean of everything added, by name."""
        return {name: float(total) / self.counts[name] for name, total in self.sums.items()}


def train(
    model: Recommender,
    feed: Feed,
    cell: Cell,
    checkpoint: Path | None = None,
    observe: Callable[[int, float], None] | None = None,
) -> Outcome:
    """Train for the whole budget; the model ends up with the weights of the best validated epoch.

    The best is that of the highest validation NDCG@10, or as released of the lowest training loss (R10). With
    `average`, it is the moving average of the weights that is validated and kept.

    Args:
        checkpoint: where to keep the state between epochs; a state found there is continued. None keeps none.
        observe: told each validated epoch and its score; may end training by raising.

    Returns:
        The outcome. A loss that is not finite ends training with `diverged` set and the weights of the best epoch.
    """
    settings, sequences, device = cell.settings, feed.sequences, feed.device
    model.to(device)
    optimiser = AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    for group in optimiser.param_groups:
        group["decoupled_weight_decay"] = settings.optimiser == "adamw"
    scorer = Scorer(feed, "validation", cell)
    noise = torch.Generator(device).manual_seed(derive(cell.seed, "noise"))
    scored = average_of(model) if settings.average else model
    outcome = Outcome()
    best: dict[str, Tensor] = {}
    keep: Tensor | None = None

    torch.manual_seed(derive(cell.seed, "dropout"))

    def state() -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        return {
            "model": model.state_dict(),
            "scored": scored.state_dict(),
            "optimiser": optimiser.state_dict(),
            "best": best,
            "keep": keep,
            "curve": [asdict(entry) for entry in outcome.curve],
            "best_epoch": outcome.best_epoch,
            "best_validation": outcome.best_validation,
            "best_score": outcome.best_score,
            "tally": outcome.tally.state() if outcome.tally else {},
            "generators": _generators(noise, device),
        }

    def restore(stored: dict[str, Any]) -> None:
        nonlocal best, keep, outcome
        model.load_state_dict(stored["model"])
        scored.load_state_dict(stored["scored"])
        optimiser.load_state_dict(stored["optimiser"])
        best, keep = stored["best"], stored["keep"]
        outcome = Outcome(
            [Epoch(**row) for row in stored["curve"]],
            stored["best_epoch"],
            stored["best_validation"],
            stored["best_score"],
            Tally(sequences.n_items, feed.noise, device) if stored["tally"] else None,
        )
        for name, sums in stored["tally"].items():
            setattr(outcome.tally, name, sums)
        _restore_generators(stored["generators"], noise, device)

    if checkpoint and resume(checkpoint, device, state, restore):
        logger.info("%s: goes on after epoch %d", cell.address, len(outcome.curve))

    epochs = epochs_of(settings, sequences)
    validated = validated_epochs(epochs, settings.validations)
    saved_at = time.monotonic()
    for number in range(len(outcome.curve) + 1, epochs + 1):
        if settings.patience is not None and number - 1 - outcome.best_epoch >= settings.patience:
            break
        started = time.monotonic()
        samples = training_samples(
            sequences, settings.objective, settings.max_length, generator(cell.seed, f"samples/{number}")
        )
        if keep is None:
            keep = torch.ones(samples.slots, device=device)
        tally = Tally(sequences.n_items, feed.noise, device)
        try:
            looked = number in validated
            means = _epoch(model, scored, optimiser, feed, samples, cell, number, epochs, keep, noise, tally, looked)
            validation = scorer.validation(scored, settings.ranking, evaluation_noise(cell, device)) if looked else None
            row = _row(number, means, validation, time.monotonic() - started)
        except Diverged as error:
            outcome.diverged = f"epoch {number}: {error}"
            break
        outcome.curve.append(row)
        if validation is not None:
            score = validation if settings.stopping == "validation" else -row.loss
            if score >= outcome.best_score:  # of equals the later one, which has trained longer
                outcome.best_epoch, outcome.best_validation, outcome.best_score = number, validation, score
                outcome.tally = tally
                best = {name: value.detach().clone() for name, value in scored.state_dict().items()}
            logger.info(_progress(cell, row, epochs, outcome))
            if observe:
                observe(number, validation)
        if checkpoint and time.monotonic() - saved_at > _CHECKPOINT_SECONDS:
            save_checkpoint(checkpoint, state())
            saved_at = time.monotonic()
    if best:
        model.load_state_dict(best)
        model.method.begin_epoch(outcome.best_epoch)
    return outcome


def _epoch(
    model: Recommender,
    scored: Recommender,
    optimiser: torch.optim.Optimizer,
    feed: Feed,
    samples: Samples,
    cell: Cell,
    number: int,
    epochs: int,
    keep: Tensor,
    noise: torch.Generator,
    tally: Tally,
    trace: bool,
) -> dict[str, float]:
    """One pass over the samples, number `number` of `epochs`.

    Updates weights, their average in `scored` if that is another model, `keep` and `tally`. With `trace`, the first
    step measures how hard each loss pulls.

    Returns:
        The mean of everything measured, by name; `mask_gradient` squared.
    """
    settings, method = cell.settings, model.method
    totals = Totals()
    model.train()
    method.begin_epoch(number)
    if scored is not model:
        scored.method.begin_epoch(number)
    by_length = settings.batching == "length"
    ours: list[Tensor] = list(scored.parameters())
    theirs: list[Tensor] = list(model.parameters())
    chosen_ones = list(batches(samples, settings.batch_size, generator(cell.seed, f"order/{number}"), by_length))
    for index, chosen in enumerate(chosen_ones):
        progress = (number - 1 + (index + 0.5) / len(chosen_ones)) / epochs
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * rate_factor(settings, progress)
        step = feed.step(samples, chosen, method.asks_for)
        # padding is never dropped: where the release encodes it, it is an input like any other
        previous = torch.where(step.batch.valid, keep[step.slots], 1.0) if method.remembers else keep[:1]
        losses, encoded = model(step, previous.expand(step.slots.shape), noise)
        _check_names(losses, encoded.traced)
        if trace and index == 0 and encoded.losses:
            for name, norm in pulls(model, losses, encoded.mask).items():
                totals.add(name, norm, 1)
        loss = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad(set_to_none=True)
        if encoded.mask is not None and encoded.mask.requires_grad:
            encoded.mask.retain_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if encoded.mask is not None and encoded.mask.grad is not None:
            totals.add("mask_gradient", encoded.mask.grad.square().sum(), 1)
        optimiser.step()
        if settings.average:
            follow(ours, theirs, settings.average)
        rows, inside = len(step.targets), step.batch.inside
        totals.add("loss", loss * rows, rows)
        totals.add(GUESSING, loss.new_full((), rows * math.log(model.count_candidates(rows))), rows)
        for name, value in losses.items():
            totals.add(f"loss_{name}", value * rows, rows)
        for name, value in encoded.traced.items():
            totals.add(name, value, 1)
        if encoded.keep is not None:
            kept = encoded.keep.flatten()[inside]
            if method.remembers:
                keep[step.slots.flatten()[inside]] = kept
            totals.add("keep_rate", kept.sum(), len(inside))
            tally.add(step.batch.items.flatten()[inside], kept, step.positions.flatten()[inside])
        if encoded.gate is not None:
            past = (encoded.gate & step.batch.valid).sum(1) / step.batch.valid.sum(1)
            totals.add("gate_share", past.sum(), len(past))
    if settings.average:
        copy_buffers(scored, model)
    means = totals.means()
    if not math.isfinite(means.get("loss", 0.0)):
        raise Diverged(f"the training loss is not finite ({means}); lower the learning rate")
    return means


def pulls(model: Recommender, losses: Mapping[str, Tensor], mask: Tensor | None) -> dict[str, Tensor]:
    """How hard each weighted loss pulls at each part of a model: norms of gradients, `gradient_<loss>_<part>`.

    Parts: `mask`, where there is one with a gradient; `table` and `backbone`; every child of the method by its name,
    such as `project`. A part that a loss does not reach is pulled with 0.
    """
    children = {"table": model.table, "backbone": model.backbone, **dict(model.method.named_children())}
    parts: dict[str, list[Tensor]] = {name: list(child.parameters()) for name, child in children.items()}
    parts["mask"] = [mask] if mask is not None and mask.requires_grad else []
    every = [tensor for tensors in parts.values() for tensor in tensors]
    norms: dict[str, Tensor] = {}
    for loss, value in losses.items():
        gradients = torch.autograd.grad(value, every, retain_graph=True, allow_unused=True, materialize_grads=True)
        squares = iter([gradient.square().sum() for gradient in gradients])
        for part, tensors in parts.items():
            if tensors:
                norms[f"gradient_{loss}_{part}"] = torch.stack([next(squares) for _ in tensors]).sum().sqrt()
    return norms


@torch.no_grad()
def follow(average: list[Tensor], weights: list[Tensor], decay: float) -> None:
    """One step of an exponential moving average of weights."""
    torch._foreach_lerp_(average, weights, 1 - decay)


@torch.no_grad()
def copy_buffers(average: nn.Module, model: nn.Module) -> None:
    """Copy every buffer that is part of the state: statistics of a batch norm, step counters."""
    state = average.state_dict()
    for name, buffer in model.named_buffers():
        if name in state:
            state[name].copy_(buffer)


def average_of(model: Recommender) -> Recommender:
    """A copy of the model to hold an average; buffers outside `state_dict`, such as text, are constants and shared."""
    state = model.state_dict()
    constants = {id(buffer): buffer for name, buffer in model.named_buffers() if name not in state}
    return copy.deepcopy(model, constants)


def _check_names(losses: Iterable[str], traced: Iterable[str]) -> None:
    """Raise ValueError if a method calls a figure by the name of a column that the loop itself fills."""
    columns = {*(part.name for part in fields(Epoch)), GUESSING, "keep_rate", "gate_share", "mask_gradient"}
    columns |= {f"loss_{name}" for name in losses}
    if taken := sorted(name for name in traced if name in columns or name.startswith("gradient_")):
        raise ValueError(f"a method's traced figures are named as columns of curve.csv are: {', '.join(taken)}")


def _row(number: int, means: dict[str, float], validation: float | None, seconds: float) -> Epoch:
    if validation is not None and not math.isfinite(validation):
        raise Diverged("the validation score is not finite; lower the learning rate")
    figures = {name: value for name, value in means.items() if name != "loss"}
    if "mask_gradient" in figures:
        figures["mask_gradient"] = math.sqrt(figures["mask_gradient"])
    return Epoch(number, means.get("loss", 0.0), validation, seconds, figures)


def _progress(cell: Cell, row: Epoch, epochs: int, outcome: Outcome) -> str:
    mask = f"  keep {row.figures['keep_rate']:.3f}" if "keep_rate" in row.figures else ""
    return (
        f"{cell.address}: epoch {row.epoch}/{epochs}  loss {row.loss:.4f}  NDCG@10 {row.validation:.4f} "
        f"(best {outcome.best_validation:.4f} at {outcome.best_epoch}){mask}  {row.seconds:.1f} s"
    )


def evaluation_noise(cell: Cell, device: torch.device) -> torch.Generator:
    """A stream of its own for each scoring, so that scoring never shifts training."""
    return torch.Generator(device).manual_seed(derive(cell.seed, "evaluation"))


def _generators(noise: torch.Generator, device: torch.device) -> dict[str, Any]:
    states = {"noise": noise.get_state(), "cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _restore_generators(states: dict[str, Tensor], noise: torch.Generator, device: torch.device) -> None:
    noise.set_state(states["noise"].cpu())
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
