"""Looks for leaks: whether states, masks, scores or losses change with a target or padding that they must not know.

Models get their inputs through the data path of training.

Each function changes what must not matter and returns what changed with it, as text, or None. They compare two passes
on the same random streams and, but for rounding, of the same shapes, so any difference comes from the inputs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from iadsr.config.cell import Cell
from iadsr.conformance.examples import feed_of
from iadsr.methods.method import Encoded
from iadsr.sequences.samples import Samples, training_samples
from iadsr.sequences.split import Sequences
from iadsr.training.feed import Step
from iadsr.training.loop import run_epoch
from iadsr.training.recommender import Recommender
from iadsr.training.state import TrainingState

CPU = torch.device("cpu")
_TOLERANCE = 1e-6
_ROUNDING = 1e-5  # between passes of other shapes, whose sums are rounded otherwise


def target_leak(model: Recommender, cell: Cell, sequences: Sequences, mode: str) -> str | None:
    """Change each sample's target and everything after it in its history, before the training step is made.

    Every sample is in the batch, so other rows may hold the target; the sample's own row may not learn of it. Under
    `last` and `prefix` nothing that this row holds may change, nor, among other users' samples, the method's losses.
    Under `all`, where the state at t predicts the item at t + 1, that is asked of every t: states, masks and scores up
    to t may not change, and when scoring they may not tell how many items follow.

    A method with a recommendation loss of its own makes no state in training, so that its losses may read targets, and
    of its states for scoring only those of a row's last input are ever read.

    Args:
        mode: "train" (dropout, sampled masks) or "score".
    """
    samples = _samples(cell, sequences)
    everybody = np.arange(len(samples))
    step = _step(model, cell, sequences, samples, everybody)
    before = _encode(model, step, mode)
    own_loss = _encode(model, step, "train").states is None
    for row, length, changed in _changes(samples, sequences):
        if own_loss and length < samples.length[row]:
            continue
        where = f"of sample {row} changes with its target at input {length}"
        after = _encode(model, _step(model, cell, changed, samples, everybody), mode)
        if (what := _difference(before, after, _inputs(step, row, length))) is not None:
            return f"{what} {where}"
        if own_loss:
            continue
        if not samples.every_position and mode == "train":
            others = np.append(np.flatnonzero(samples.user != samples.user[row]), row)
            ours, theirs = (_encode(model, _step(model, cell, s, samples, others), mode) for s in (sequences, changed))
            for name, loss in ours.losses.items():
                if name != "recommendation" and not torch.allclose(loss, theirs.losses[name], rtol=0, atol=_TOLERANCE):
                    return f"the loss '{name}' {where}"
        if samples.every_position and mode == "score":
            lengths = samples.length.copy()
            lengths[row] = length
            whole, cut = (
                _cut(_encode(model, _step(model, cell, sequences, s, np.array([row])), mode), 0, length)
                for s in (samples, replace(samples, length=lengths))
            )
            if (what := _difference(whole, cut, torch.ones(1, length).bool(), _ROUNDING)) is not None:
                return f"{what} of sample {row} at input {length} tells how many follow"
    return None


def memory_leak(model: Recommender, cell: Cell, sequences: Sequences) -> str | None:
    """Change each sample's target as `target_leak` does; the masks of its inputs in later epochs may not change."""
    samples = _samples(cell, sequences)
    step = _step(model, cell, sequences, samples, np.arange(len(samples)))
    before = _memory(model, cell, sequences, samples)
    for row, length, changed in _changes(samples, sequences):
        slots = step.slots[_inputs(step, row, length)]
        if not torch.equal(before[:, slots], _memory(model, cell, changed, samples)[:, slots]):
            return f"what is remembered of sample {row} changes with its target at input {length}"
    return None


def padding_leak(model: Recommender, cell: Cell, sequences: Sequences, mode: str) -> str | None:
    """Give padding another embedding; then, when scoring, also more of it. No valid position or loss may change.

    More of it is not tried on a method that scores at random: its draws depend on the width of the batch.
    """
    samples = _samples(cell, sequences)
    by_length = np.argsort(samples.length, kind="stable")
    chosen = by_length[[0, len(by_length) // 2, -1]]
    step = _step(model, cell, sequences, samples, chosen)
    before = _encode(model, step, mode)
    with _another_padding(model.table):
        after = _encode(model, step, mode)
    if (what := _difference(before, after, step.batch.valid)) is not None:
        return f"{what} changes with the embedding of padding"
    for name, loss in before.losses.items():
        if not torch.allclose(loss, after.losses[name], rtol=0, atol=_TOLERANCE):
            return f"the loss '{name}' changes with the embedding of padding"
    if mode == "score" and not scores_at_random(model, cell, sequences):
        for place, sample in enumerate(chosen):
            alone = _encode(model, _step(model, cell, sequences, samples, np.array([sample])), mode)
            length = int(samples.length[sample])
            together = _cut(before, place, length)
            places = torch.ones(1, length).bool()
            if (what := _difference(together, _cut(alone, 0, length), places, _ROUNDING)) is not None:
                return f"{what} of sample {sample} changes with the width of its batch"
    return None


@contextlib.contextmanager
def _another_padding(table: nn.Module) -> Iterator[None]:
    """Give padding another embedding, unless the table has none of its own: vectors made from text alone."""
    embedding = getattr(table, "embedding", None)
    if embedding is None:
        yield
        return
    weight = embedding.weight.data
    clean = weight[0].clone()
    weight[0] = 1e3 * torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(8))
    try:
        yield
    finally:
        weight[0] = clean


def scores_at_random(model: Recommender, cell: Cell, sequences: Sequences) -> bool:
    """Tell whether the states for scoring depend on the method's random stream."""
    samples = _samples(cell, sequences)
    step = _step(model, cell, sequences, samples, np.arange(len(samples)))
    first, second = (_encode(model, step, "score", seed) for seed in (2, 9))
    return _difference(first, second, step.batch.valid) is not None


def _samples(cell: Cell, sequences: Sequences) -> Samples:
    settings = cell.settings
    return training_samples(sequences, settings.objective, settings.max_length, np.random.default_rng(0))


def _changes(samples: Samples, sequences: Sequences) -> Iterator[tuple[int, int, Sequences]]:
    """Yield each target's sample, the number of inputs before it, and the data with all from the target on changed.

    Items and texts change up to the end of the history, held-out ones among them.
    """
    for row in range(len(samples)):
        first = 1 if samples.every_position else int(samples.length[row])
        end = int(sequences.offsets[int(samples.user[row]) + 1])
        for length in range(first, int(samples.length[row]) + 1):
            future = slice(int(samples.start[row]) + length, end)
            items, texts = sequences.items.copy(), sequences.texts
            items[future] = items[future] % sequences.n_items + 1
            if texts is not None:
                texts = texts.copy()
                texts[future] = texts[future] % texts.max() + 1
            yield row, length, replace(sequences, items=items, texts=texts)


def _inputs(step: Step, row: int, length: int) -> Tensor:
    """Mark the first `length` inputs of a row in (B, T)."""
    places = torch.zeros_like(step.batch.valid)
    places[row] = step.batch.valid[row] & (step.batch.valid[row].cumsum(0) <= length)
    return places


def _memory(model: Recommender, cell: Cell, sequences: Sequences, samples: Samples) -> Tensor:
    """Record the masks (3, slots) that each epoch hands the model, by slot, while nothing is learned."""
    state = TrainingState(model, feed_of(sequences, cell), cell)
    state.optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    handed = torch.zeros(3, samples.slots)

    def note(_: nn.Module, given: tuple[Step, Tensor, torch.Generator]) -> None:
        step, previous, _noise = given
        handed[number - 1, step.slots[step.batch.valid]] = previous[step.batch.valid]

    hook = model.register_forward_pre_hook(note)
    for number in (1, 2, 3):
        run_epoch(state, samples, number, 3, trace=False)
    hook.remove()
    return handed


def _step(model: Recommender, cell: Cell, sequences: Sequences, samples: Samples, chosen: np.ndarray) -> Step:
    return feed_of(sequences, cell).step(samples, chosen, model.method.asks_for)


def _encode(model: Recommender, step: Step, mode: str, seed: int = 2) -> Encoded:
    """One pass from the same random streams and buffers: running statistics that it updates are set back."""
    torch.manual_seed(1)
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    noise = torch.Generator().manual_seed(seed)
    shape = step.batch.items.shape
    keep = (torch.rand(shape, generator=torch.Generator().manual_seed(3)) > 0.4).float()
    keep = torch.where(step.batch.valid, keep, 1.0)
    with torch.no_grad():
        if mode == "train":
            encoded: Encoded = model.train().method(model.table, model.backbone, step.batch, keep, noise)
        else:
            encoded = model.eval().method.denoise(model.table, model.backbone, step.batch, noise)
        for buffer, before in buffers:
            buffer.copy_(before)
    return encoded


def _cut(encoded: Encoded, row: int, length: int) -> Encoded:
    """Cut out one row's first places."""
    parts = {name: getattr(encoded, name) for name in ("states", "keep", "score", "gate")}
    cut = {name: None if part is None else part[row : row + 1, :length] for name, part in parts.items()}
    return Encoded(cut.pop("states"), **cut)  # type: ignore[arg-type]


def _difference(before: Encoded, after: Encoded, places: Tensor, tolerance: float = _TOLERANCE) -> str | None:
    """Name the first of states, mask, score and gate that differs at `places` (B, T); None if none does."""
    for name, what in (("states", "the state"), ("keep", "the mask"), ("score", "the score"), ("gate", "the gate")):
        ours, theirs = getattr(before, name), getattr(after, name)
        if ours is None:
            continue
        if not torch.allclose(ours[places].float(), theirs[places].float(), rtol=0, atol=tolerance):
            return what
    return None
