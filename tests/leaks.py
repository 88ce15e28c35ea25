"""What a state, a mask or a score may know, asked of a model through the very data path that training uses.

Each function changes what must not matter and returns what changed with it, as text, or None. They compare two passes
on the same random streams and of the same shapes, so any difference comes from the inputs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from iadsr.core.config import Cell
from iadsr.methods.method import Encoded
from iadsr.sequences.samples import Samples, training_samples
from iadsr.sequences.split import Sequences
from iadsr.training.data import Step, left_padding, texts_on, training_step
from iadsr.training.recommender import Recommender

CPU = torch.device("cpu")
_TOLERANCE = 1e-6


def target_leak(model: Recommender, cell: Cell, sequences: Sequences, mode: str) -> str | None:
    """Change each sample's target and everything after it in the flat history, before the training step is made.

    Under `last` and `prefix` nothing that a sample's row holds may change. Under `all`, where the state at t predicts
    the item at t + 1, that is asked of every t: states, masks and scores up to t may not change.

    Args:
        mode: "train" (dropout, sampled masks) or "score".
    """
    samples = training_samples(sequences, cell.settings.objective, cell.settings.max_length, np.random.default_rng(0))
    for row in range(len(samples)):
        first = 1 if samples.every_position else int(samples.length[row])
        for length in range(first, int(samples.length[row]) + 1):
            target = int(samples.start[row]) + length
            _, before = _row(model, cell, sequences, samples, row, mode)
            step, after = _row(model, cell, _changed(sequences, samples, row, target), samples, row, mode)
            known = step.batch.valid[0].long().cumsum(0) <= length if samples.every_position else step.batch.valid[0]
            if (what := _difference(before, after, known & step.batch.valid[0])) is not None:
                return f"{what} of sample {row} changes with its target at input {length}"
    return None


def padding_leak(model: Recommender, cell: Cell, sequences: Sequences, mode: str) -> str | None:
    """Give padding another embedding; then, when scoring, also more of it. No valid place may change."""
    samples = training_samples(sequences, cell.settings.objective, cell.settings.max_length, np.random.default_rng(0))
    by_length = np.argsort(samples.length, kind="stable")
    chosen = by_length[[0, len(by_length) // 2, -1]]
    step = _step(model, cell, sequences, samples, chosen)
    weight = model.table.embedding.weight.data  # type: ignore[union-attr]
    before = _encode(model, step, mode)
    clean = weight[0].clone()
    weight[0] = 1e3 * torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(8))
    try:
        after = _encode(model, step, mode)
    finally:
        weight[0] = clean
    if (what := _difference(before, after, step.batch.valid)) is not None:
        return f"{what} changes with the embedding of padding"
    if mode == "score":
        for place, sample in enumerate(chosen):
            alone = _encode(model, _step(model, cell, sequences, samples, np.array([sample])), mode)
            length = int(samples.length[sample])
            together = _cut(before, place, length)
            if (what := _difference(together, _cut(alone, 0, length), torch.ones(1, length).bool())) is not None:
                return f"{what} of sample {sample} changes with the width of its batch"
    return None


def _changed(sequences: Sequences, samples: Samples, row: int, target: int) -> Sequences:
    """Other items, and other texts, from `target` to the end of its user's history, held-out items among them."""
    items = sequences.items.copy()
    end = int(sequences.offsets[int(samples.user[row]) + 1])
    items[target:end] = items[target:end] % sequences.n_items + 1
    texts = sequences.texts
    if texts is not None:
        texts = texts.copy()
        texts[target:end] = texts[target:end] % texts.max() + 1
    return replace(sequences, items=items, texts=texts)


def _row(
    model: Recommender, cell: Cell, sequences: Sequences, samples: Samples, row: int, mode: str
) -> tuple[Step, Encoded]:
    step = _step(model, cell, sequences, samples, np.array([row]))
    return step, _encode(model, step, mode)


def _step(model: Recommender, cell: Cell, sequences: Sequences, samples: Samples, chosen: np.ndarray) -> Step:
    method = model.method
    items, texts = torch.as_tensor(sequences.items).long(), texts_on(sequences, CPU)
    return training_step(items, samples, chosen, left_padding(cell), method.mispairs, texts, method.sees_target)


def _encode(model: Recommender, step: Step, mode: str) -> Encoded:
    torch.manual_seed(1)
    noise = torch.Generator().manual_seed(2)
    shape = step.batch.items.shape
    keep = (torch.rand(shape, generator=torch.Generator().manual_seed(3)) > 0.3).float()
    keep = torch.where(step.batch.valid, keep, 1.0)
    with torch.no_grad():
        if mode == "train":
            encoded: Encoded = model.train().method(model.table, model.backbone, step.batch, keep, noise)
            return encoded
        return model.eval().method.denoise(model.table, model.backbone, step.batch, noise)


def _cut(encoded: Encoded, row: int, length: int) -> Encoded:
    """One row's first places."""
    parts = {name: getattr(encoded, name) for name in ("states", "keep", "score")}
    return Encoded(**{name: None if part is None else part[row : row + 1, :length] for name, part in parts.items()})


def _difference(before: Encoded, after: Encoded, places: Tensor) -> str | None:
    """The first of states, mask and score that differs at `places` (B, T)."""
    for name, what in (("states", "the state"), ("keep", "the mask"), ("score", "the score")):
        ours, theirs = getattr(before, name), getattr(after, name)
        if ours is None:
            continue
        known = places.expand(ours.shape[:2])
        if not torch.allclose(ours[known], theirs[known], rtol=0, atol=_TOLERANCE):
            return what
    return None
