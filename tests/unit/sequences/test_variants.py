"""Ties broken anew and noise put in: what may change, and what must not."""

from dataclasses import replace

import numpy as np
import pytest

from iadsr.core.errors import DataError
from iadsr.sequences.split import Sequences
from iadsr.sequences.variants import inject_noise, shuffle_ties
from tests.helpers import N_ITEMS, small_sequences


def tied() -> Sequences:
    """Every third interaction happens at a time of its own; the others share one with a neighbour."""
    made = small_sequences()
    return replace(made, times=np.arange(len(made.items)) // 3)


def test_only_ties_within_a_user_are_reordered() -> None:
    made = tied()
    shuffled = shuffle_ties(made, 1)
    assert made.times is not None
    user = np.repeat(np.arange(len(made.lengths)), made.lengths)
    for group in set(zip(user, made.times, strict=True)):
        places = (user == group[0]) & (made.times == group[1])
        assert sorted(made.items[places]) == sorted(shuffled.items[places])
    assert not np.array_equal(made.items, shuffled.items)
    assert np.array_equal(shuffled.items, shuffle_ties(made, 1).items), "the same number gives the same order"
    assert not np.array_equal(shuffled.items, shuffle_ties(made, 2).items)
    assert shuffle_ties(made, 0) is made


def test_noise_flags_move_with_their_items() -> None:
    made = tied()
    marked = replace(made, noise=made.items == made.items[0])
    shuffled = shuffle_ties(marked, 3)
    assert shuffled.noise is not None
    assert np.array_equal(shuffled.noise, shuffled.items == made.items[0])


def test_ties_need_times() -> None:
    with pytest.raises(DataError, match="without times"):
        shuffle_ties(small_sequences(), 1)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_injected_items_are_flagged_unseen_and_before_the_targets(share: float) -> None:
    made = replace(small_sequences(users=200), noise=None)
    noisy = inject_noise(made, share)
    assert noisy.noise is not None
    training = made.lengths.sum() - 2 * len(made.lengths)
    assert noisy.noise.sum() / (training + noisy.noise.sum()) == pytest.approx(share, abs=0.02)
    assert np.array_equal(noisy.items[~noisy.noise], made.items), "what was there stays, in its order"
    for user, (old, new) in enumerate(zip(np.split(made.items, made.offsets[1:-1]), parts(noisy), strict=True)):
        items, flags = new
        assert not flags[-2:].any(), "targets stay targets"
        assert items[-2:].tolist() == old[-2:].tolist()
        assert not set(items[flags]) & set(old), user
        assert set(items) <= set(range(1, N_ITEMS + 1))
    first = np.array([flags[0] for _, flags in parts(noisy) if len(flags) > 5])
    assert 0 < first.mean() < 1, "noise may come first"


def parts(sequences: Sequences) -> list[tuple[np.ndarray, np.ndarray]]:
    assert sequences.noise is not None
    cuts = sequences.offsets[1:-1]
    return list(zip(np.split(sequences.items, cuts), np.split(sequences.noise, cuts), strict=True))


def test_injection_is_the_same_each_time_and_none_without_a_share() -> None:
    made = small_sequences()
    assert np.array_equal(inject_noise(made, 0.2).items, inject_noise(made, 0.2).items)
    assert inject_noise(made, 0.0) is made


def test_a_user_with_the_whole_catalogue_is_named() -> None:
    full = Sequences(np.array([1, 2, 3, 1, 2, 3], np.int32), np.array([0, 6]), np.array(["ann"]), 3)
    with pytest.raises(DataError, match="ann"):
        inject_noise(full, 0.2)


def test_an_item_is_as_popular_with_noise_as_without() -> None:
    made = small_sequences()
    assert np.array_equal(inject_noise(made, 0.3).train_counts(), made.train_counts())
