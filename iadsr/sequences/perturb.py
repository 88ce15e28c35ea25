"""Perturbs data for sensitivity checks: reordered ties, injected random items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from iadsr.core.errors import DataError
from iadsr.core.seeding import generator
from iadsr.sequences.split import Sequences


def shuffle_ties(sequences: Sequences, number: int) -> Sequences:
    """Put interactions of one user and one time into the `number`-th random order; 0 keeps the source's.

    Raises:
        DataError: the sequences have no times.
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
    """Inject random items into every user's inputs, flagged as injected and as noise.

    They are inputs alone: training, validation and test targets stay the same (see `samples`). Behind every genuine
    item but the test target, each further position is injected with probability `share`, independently of the others.
    So inputs in training, validation and test are alike: `share` of them is injected, and `share` of the last ones
    before a target. A history begins with a genuine item, which is no target with or without injected ones. (Planted
    noise of a generated dataset differs: it is an interaction like any other, and in training a target as well.)

    Injected items are drawn uniformly from the items that the user does not have: a target that was also injected
    would be excluded from its own ranking. They belong to the history that is excluded from a ranking, since a
    recommender could not tell them from the rest, but to no item's training count. The draw depends on the sequences
    and the share alone.

    Raises:
        DataError: a user has the whole catalogue.
    """
    if not share:
        return sequences
    rng = generator(0, f"injected/{share}")
    lengths = sequences.lengths
    behind = rng.geometric(1 - share, len(sequences.items)) - 1  # injected items behind each interaction
    behind[sequences.target_positions("test")] = 0
    positions = np.repeat(np.arange(1, len(behind) + 1), behind)
    user = np.repeat(np.repeat(np.arange(len(lengths)), lengths), behind)
    genuine = np.zeros(len(sequences.items), bool)
    return replace(
        sequences,
        items=np.insert(sequences.items, positions, _unseen(sequences, user, rng)),
        noise=np.insert(genuine if sequences.noise is None else sequences.noise, positions, True),
        injected=np.insert(genuine, positions, True),
        times=None,
        offsets=np.concatenate(([0], np.cumsum(lengths + np.bincount(user, minlength=len(lengths))))),
    )


def _unseen(sequences: Sequences, user: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw an item for each entry of `user` that this user does not have; owned ones are drawn again."""
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
