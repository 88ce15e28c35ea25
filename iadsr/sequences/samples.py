"""Training and evaluation samples as index arrays: start, length and supervised positions of each.

A sample's input is `items[start : start + length]`. Its state at input position t predicts `items[start + t + 1]`: at
every position under objective `all`, otherwise at the last one.

An injected item is an input and never a target, in any objective or stage. The position before it supervises nothing:
with the next genuine item as its target, that item would be predicted twice. The training targets are therefore those
of the data without injected items, each as often as there. The last input before a target may be injected, as in
scoring.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from iadsr.config.fields import Objective
from iadsr.sequences.split import HELD_OUT, LAST_TRAINED, Ints, Sequences, Stage


@dataclass(frozen=True)
class Samples:
    """Index arrays of S samples.

    Attributes:
        start: (S,) flat position of the first input.
        length: (S,) number of inputs, at least 1.
        slot: (S,) first index of a sample's masks in an array of `slots` remembered masks. Samples that share a
            position share its mask only where the same items precede it: under `prefix`, a mask that saw a longer
            prefix would reveal the target of a shorter one.
        slots: size of that array.
        user: (S,) user index.
        first: (S,) flat position where the user's history begins.
        every_position: every input position is supervised, not only the last.
        supervising: (N,) whether a state at each interaction predicts the next one; None: all do. Read only with
            `every_position`.
    """

    start: Ints
    length: Ints
    slot: Ints
    slots: int
    user: Ints
    first: Ints
    every_position: bool
    supervising: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.start)


def training_samples(sequences: Sequences, objective: Objective, max_length: int, rng: np.random.Generator) -> Samples:
    """Make one epoch's samples, without validation and test targets.

    `last`: one target per user, as released. `prefix`: one sample per target. `all`: windows of at most `max_length`
    inputs, cut at random positions in each epoch, that supervise every target exactly once.
    """
    begin = sequences.offsets[:-1]
    inputs = sequences.from_end(LAST_TRAINED) - begin  # everything before the last training target
    users = np.arange(len(begin))
    if objective == "last":
        user = users[inputs > 0]
        ends = (begin + inputs)[user]
    else:
        user = np.repeat(users, inputs)
        ends = ranges(begin, inputs) + 1
    supervising = None
    if sequences.injected is not None:
        supervising = np.append(~sequences.injected[1:], False)
    if objective == "all":
        return _windows(begin, inputs, max_length, len(sequences.items), supervising, rng)
    if supervising is not None:
        user, ends = user[supervising[ends - 1]], ends[supervising[ends - 1]]
    first = begin[user]
    start = np.maximum(first, ends - max_length)
    length = ends - start
    slot = np.concatenate(([0], np.cumsum(length)[:-1])) if len(length) else length
    return Samples(start, length, slot, int(length.sum()), user, first, every_position=False)


def evaluation_samples(sequences: Sequences, stage: Stage, max_length: int) -> Samples:
    """Make one sample per user, in user order: the most recent items before the stage's target."""
    ends = sequences.target_positions(stage)
    first = sequences.offsets[:-1]
    start = np.maximum(first, ends - max_length)
    return Samples(start, ends - start, start, len(sequences.items), np.arange(len(ends)), first, every_position=False)


def whole_samples(sequences: Sequences, max_length: int) -> Samples:
    """Make one sample per user, in user order: the most recent items, held-out ones included. Not for training."""
    first, ends = sequences.offsets[:-1], sequences.offsets[1:]
    start = np.maximum(first, ends - max_length)
    return Samples(start, ends - start, start, len(sequences.items), np.arange(len(ends)), first, every_position=False)


def training_histories(
    sequences: Sequences, held_out: int = HELD_OUT["validation"]
) -> tuple[npt.NDArray[np.int32], Ints]:
    """Collect users' items, one user after another, and the offsets (U + 1,) of users.

    Args:
        held_out: which genuine item of a user, counted from the end, is the first that is left out, with all behind it.
    """
    begin = sequences.offsets[:-1]
    count = sequences.from_end(held_out) - begin
    return sequences.items[ranges(begin, count)], np.concatenate(([0], np.cumsum(count)))


def history_bounds(sequences: Sequences, stage: Stage) -> tuple[Ints, Ints]:
    """Return begin and end (U,) of each user's whole history before the stage's target."""
    return sequences.offsets[:-1], sequences.target_positions(stage)


def batches(
    samples: Samples, batch_size: int, rng: np.random.Generator | None, by_length: bool = True
) -> Iterator[Ints]:
    """Yield index arrays of at most `batch_size` samples, each sample once.

    Without a generator, in order. With a generator, shuffled; with `by_length` the samples are then sorted by length in
    chunks of 50 batches, so that a batch holds little padding, and the batches are shuffled.
    """
    order = np.arange(len(samples)) if rng is None else rng.permutation(len(samples))
    if rng is None or not by_length:
        cuts = np.arange(0, len(order), batch_size)
        yield from (order[cut : cut + batch_size] for cut in cuts)
        return
    chunk = 50 * batch_size
    pieces = []
    for begin in range(0, len(order), chunk):
        part = order[begin : begin + chunk]
        part = part[np.argsort(samples.length[part], kind="stable")]
        pieces += [part[cut : cut + batch_size] for cut in range(0, len(part), batch_size)]
    for piece in rng.permutation(len(pieces)):
        yield pieces[piece]


def ranges(begin: Ints, count: Ints) -> Ints:
    """Concatenate `begin[u] + arange(count[u])` over u."""
    before = np.concatenate(([0], np.cumsum(count)[:-1]))
    return np.repeat(begin - before, count) + np.arange(count.sum())


def _windows(
    begin: Ints,
    inputs: Ints,
    max_length: int,
    slots: int,
    supervising: npt.NDArray[np.bool_] | None,
    rng: np.random.Generator,
) -> Samples:
    """Cut each user's inputs where (position + a random shift) is a multiple of `max_length`.

    Inputs that fit into one window are not cut, which would only shorten contexts. Windows without supervised
    positions are left out.
    """
    shift = np.where(inputs > max_length, rng.integers(0, max_length, len(inputs)), 0)
    position = ranges(begin, inputs)
    user = np.repeat(np.arange(len(inputs)), inputs)
    window = (position - begin[user] + shift[user]) // max_length
    is_first: npt.NDArray[np.bool_] = np.ones(len(position), dtype=bool)
    is_first[1:] = (user[1:] != user[:-1]) | (window[1:] != window[:-1])
    heads = np.flatnonzero(is_first)
    start = position[heads]
    length = np.diff(np.concatenate((heads, [len(position)])))
    owner = user[heads]
    if supervising is not None and len(heads):
        useful = np.logical_or.reduceat(supervising[position], heads)
        start, length, owner = start[useful], length[useful], owner[useful]
    return Samples(start, length, start, slots, owner, begin[owner], every_position=True, supervising=supervising)
