"""What else the data could have been: tied interactions in another order, histories with random items put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from iadsr.core.errors import DataError
from iadsr.core.seeding import generator
from iadsr.sequences.split import HELD_OUT, Sequences

_HELD_OUT = max(HELD_OUT.values())


def shuffle_ties(sequences: Sequences, number: int) -> Sequences:
    """Interactions of one user at one time in the `number`-th random order; 0 keeps the source's.

    Raises:
        DataError: the sequences do not say when anything happened.
    """
    if not number:
        return sequences
    if sequences.times is None:
        raise DataError("sequences without times cannot break ties anew: run the stage `sequences` again")
    user = np.repeat(np.arange(len(sequences.lengths)), sequences.lengths)
    chance = generator(number, "ties").random(len(user))
    order = np.lexsort((chance, sequences.times, user))
    noise = None if sequences.noise is None else sequences.noise[order]
    return replace(sequences, items=sequences.items[order], times=sequences.times[order], noise=noise)


def inject_noise(sequences: Sequences, share: float) -> Sequences:
    """Random items at random places before each user's held-out targets, flagged as noise.

    A history of n items gets round(n share / (1 - share)) more, so that they make up `share` of it. They are drawn
    evenly from the catalogue, without those that the user has: a target that was also injected would be excluded from
    its own ranking. The draw depends on nothing but the sequences and the share. An item stays as popular as it was:
    whether a target is cold is a matter of the data, not of the noise.

    Raises:
        DataError: a user has the whole catalogue.
    """
    if not share:
        return sequences
    rng = generator(0, f"injected/{share}")
    lengths = sequences.lengths
    added = np.rint((lengths - _HELD_OUT) * share / (1 - share)).astype(np.int64)
    user = np.repeat(np.arange(len(lengths)), added)
    items = _unseen(sequences, user, rng)
    # before which of its user's interactions each one is put; never after the history's end
    place = sequences.offsets[user] + np.floor(rng.random(len(user)) * (lengths[user] - _HELD_OUT + 1)).astype(np.int64)
    order = np.argsort(place, kind="stable")
    noise = np.zeros(len(sequences.items), bool) if sequences.noise is None else sequences.noise
    return replace(
        sequences,
        items=np.insert(sequences.items, place[order], items[order]),
        noise=np.insert(noise, place[order], True),
        times=None,
        counts=sequences.train_counts(),
        offsets=np.concatenate(([0], np.cumsum(lengths + added))),
    )


def _unseen(sequences: Sequences, user: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An item for each entry of `user` that this user does not have: drawn again until it is so."""
    width = sequences.n_items + 1
    owner = np.repeat(np.arange(len(sequences.lengths)), sequences.lengths)
    owned = np.unique(owner * width + sequences.items)
    full = np.bincount(owned // width, minlength=len(sequences.lengths)) >= sequences.n_items
    if full[user].any():
        raise DataError(f"user '{sequences.users[user[full[user]][0]]}' has every item: none is left to inject")
    items = np.zeros(len(user), np.int32)
    open_places = np.arange(len(user))
    while len(open_places):
        items[open_places] = rng.integers(1, width, len(open_places))
        open_places = open_places[np.isin(user[open_places] * width + items[open_places], owned)]
    return items
