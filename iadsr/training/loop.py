"""The training loop, top to bottom: epochs, validation, checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

from iadsr.config.cell import Cell
from iadsr.core.seeding import derive, generator
from iadsr.machine.termination import Terminated, postponed_sigterm
from iadsr.methods.method import Method
from iadsr.sequences.samples import Samples, batches, training_samples
from iadsr.training.curve import GUESSING, Diverged, Epoch, Totals, check_names, gradient_norms, make_row
from iadsr.training.feed import Feed
from iadsr.training.mask_statistics import MaskStatistics
from iadsr.training.optimiser import scale_rate
from iadsr.training.recommender import Recommender
from iadsr.training.schedule import epochs_of, rate_factor, validated_epochs
from iadsr.training.score import Scorer
from iadsr.training.state import Outcome, TrainingState

logger = logging.getLogger("iadsr.training")

_CHECKPOINT_SECONDS = 20.0


def train(
    model: Recommender,
    feed: Feed,
    cell: Cell,
    checkpoint: Path | None = None,
    observe: Callable[[int, float], None] | None = None,
    save_every: float | None = None,
) -> Outcome:
    """Train for the whole budget; the model ends up with the weights of the best validated epoch.

    The best epoch has the highest validation NDCG@10, or as released the lowest training loss (R10). With `average`,
    the moving average of the weights is validated and kept.

    Args:
        checkpoint: file for the state between epochs; a state found there is continued. None writes none.
        save_every: seconds between checkpoints, 20 by default: a kill loses at most so much work, and an epoch.
        observe: called with each validated epoch and its score; may end training by raising.

    Returns:
        The outcome. A loss that is not finite ends training with `diverged` set and the weights of the best epoch.

    Raises:
        Terminated: SIGTERM came, and the epoch in which it did is finished and saved. If the machine goes away sooner,
            the state after the epoch before is there, or was less than `save_every` older.
    """
    settings, sequences = cell.settings, feed.sequences
    state, scorer = TrainingState(model, feed, cell), Scorer(feed, "validation", cell)
    if checkpoint and state.resume(checkpoint):
        logger.info("%s: continues after epoch %d", cell.address, len(state.outcome.curve))
    epochs = epochs_of(settings, sequences)
    validated = validated_epochs(epochs, settings.validations)
    saved_at = time.monotonic()
    with postponed_sigterm() if checkpoint else nullcontext(lambda: False) as ending:
        for number in range(len(state.outcome.curve) + 1, epochs + 1):
            if settings.patience is not None and number - 1 - state.outcome.best_epoch >= settings.patience:
                break
            started = time.monotonic()
            draw = generator(cell.seed, f"samples/{number}")
            samples = training_samples(sequences, settings.objective, settings.max_length, draw)
            try:
                means, masks = run_epoch(state, samples, number, epochs, trace=number in validated)
                validation = None
                if number in validated:
                    validation = scorer.validation(state.scored, settings.ranking, evaluation_noise(cell, feed.device))
                row = make_row(number, means, validation, time.monotonic() - started)
            except Diverged as error:
                state.outcome.diverged = f"epoch {number}: {error}"
                break
            state.add(row, masks)
            if validation is not None:
                logger.info(_progress(cell, row, epochs, state.outcome))
                if observe:
                    observe(number, validation)
            due = time.monotonic() - saved_at > (_CHECKPOINT_SECONDS if save_every is None else save_every)
            if checkpoint and (due or ending()):
                state.save(checkpoint)
                saved_at = time.monotonic()
            if ending():
                raise Terminated
    state.restore_best()
    return state.outcome


def train_alone(model: Recommender, feed: Feed, cell: Cell, checkpoint: Path | None = None) -> float:
    """Train the model's table and backbone without its method, as `none` would be: the first of two stages.

    Returns:
        The seconds that it took.

    Raises:
        Diverged: there is nothing for a second stage to start from.
    """
    began = time.monotonic()
    alone = Recommender(model.table, model.backbone, Method(), model.bounded, model.in_batch)
    outcome = train(alone, feed, cell.model_copy(update={"warm_start": False}), checkpoint)
    if outcome.diverged is not None:
        raise Diverged(f"without the method, {outcome.diverged}")
    return time.monotonic() - began


def run_epoch(
    state: TrainingState, samples: Samples, number: int, epochs: int, trace: bool
) -> tuple[dict[str, float], MaskStatistics]:
    """Train on every sample once, in epoch `number` of `epochs`.

    Args:
        trace: measure the gradients of the losses in the first step.

    Returns:
        The mean of every figure, by name; statistics of the masks.

    Raises:
        Diverged: the loss is not finite.
    """
    model, feed, settings = state.model, state.feed, state.cell.settings
    totals, masks = Totals(), MaskStatistics(feed.sequences.n_items, feed.device, feed.noise)
    state.begin_epoch(number, samples.slots)
    shuffle = generator(state.cell.seed, f"order/{number}")
    order = list(batches(samples, settings.batch_size, shuffle, settings.batching == "length"))
    for index, chosen in enumerate(order):
        scale_rate(state.optimiser, rate_factor(settings, (number - 1 + (index + 0.5) / len(order)) / epochs))
        step = feed.step(samples, chosen, model.method.asks_for)
        losses, encoded = model(step, state.previous_masks(step), state.noise)
        check_names(losses, encoded.traced)
        if trace and index == 0 and len(losses) > 1:
            for name, norm in gradient_norms(model, losses, encoded.mask).items():
                totals.add(name, norm, 1)
        loss = torch.stack(list(losses.values())).sum()
        if encoded.mask is not None and encoded.mask.requires_grad:
            encoded.mask.retain_grad()
        state.update(loss)
        if encoded.mask is not None and encoded.mask.grad is not None:
            totals.add("mask_gradient", encoded.mask.grad.square().sum(), 1)
        rows = len(step.targets)
        totals.add("loss", loss * rows, rows)
        totals.add(GUESSING, loss.new_full((), rows * math.log(model.count_candidates(rows))), rows)
        for name, value in losses.items():
            totals.add(f"loss_{name}", value * rows, rows)
        for name, value in encoded.traced.items():
            totals.add(name, value, 1)
        if encoded.keep is not None:
            kept = encoded.keep.flatten()[step.batch.inside]
            state.remember(step, kept)
            totals.add("keep_rate", kept.sum(), len(kept))
            masks.add(step.batch.items.flatten()[step.batch.inside], kept, step.positions.flatten()[step.batch.inside])
        if encoded.gate is not None:
            past = (encoded.gate & step.batch.valid).sum(1) / step.batch.valid.sum(1)
            totals.add("gate_share", past.sum(), len(past))
    state.end_epoch()
    means = totals.means()
    if not math.isfinite(means.get("loss", 0.0)):
        raise Diverged(f"the training loss is not finite ({means}); lower the learning rate")
    return means, masks


def _progress(cell: Cell, row: Epoch, epochs: int, outcome: Outcome) -> str:
    mask = f"  keep {row.figures['keep_rate']:.3f}" if "keep_rate" in row.figures else ""
    return (
        f"{cell.address}: epoch {row.epoch}/{epochs}  loss {row.loss:.4f}  NDCG@10 {row.validation:.4f} "
        f"(best {outcome.best_validation:.4f} at {outcome.best_epoch}){mask}  {row.seconds:.1f} s"
    )


def evaluation_noise(cell: Cell, device: torch.device) -> torch.Generator:
    """Seed a random stream for one scoring, so that scoring never shifts training."""
    return torch.Generator(device).manual_seed(derive(cell.seed, "evaluation"))
