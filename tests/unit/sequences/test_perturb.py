"""Reordered ties and injected noise: what changes, and what does not."""

from dataclasses import replace

import numpy as np
import pytest

from iadsr.config.fields import Objective
from iadsr.core.errors import DataError
from iadsr.sequences.perturb import inject_noise, shuffle_ties
from iadsr.sequences.samples import evaluation_samples, history_bounds, ranges, training_samples
from iadsr.sequences.split import HELD_OUT, Sequences
from tests.helpers import N_ITEMS, feed_of, small_sequences


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


SHARES = [0.1, 0.2, 0.3]


def genuine_sequences() -> Sequences:
    return replace(small_sequences(users=400), noise=None)


def trained_items(sequences: Sequences, objective: Objective) -> list[int]:
    """Every target of an epoch, as training is handed them, which are never injected ones."""
    samples = training_samples(sequences, objective, 8, np.random.default_rng(0))
    step = feed_of(sequences).step(samples, np.arange(len(samples)))
    positions = step.positions.flatten()[step.supervised] + 1
    assert sequences.injected is None or not sequences.injected[positions].any()
    assert (step.supervised // step.batch.items.shape[1]).unique().tolist() == list(range(len(samples)))
    return sorted(step.targets.tolist())


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("objective", ["last", "prefix", "all"])
def test_injected_items_change_no_training_target(objective: Objective, share: float) -> None:
    made = genuine_sequences()
    noisy = inject_noise(made, share)
    assert trained_items(noisy, objective) == trained_items(made, objective)
    samples = training_samples(noisy, objective, 8, np.random.default_rng(0))
    assert noisy.injected is not None
    if objective != "all":
        last = noisy.injected[samples.start + samples.length - 1]
        assert last.mean() == pytest.approx(share, abs=0.05), "noise may be the last input before a target"


@pytest.mark.parametrize("share", SHARES)
def test_every_input_has_the_share_of_injected_items(share: float) -> None:
    """Those of the last training, the validation and the test target alike, up to the place before the target."""
    made = genuine_sequences()
    noisy = inject_noise(made, share)
    assert noisy.injected is not None and noisy.noise is not None
    assert np.array_equal(noisy.injected, noisy.noise)
    assert np.array_equal(noisy.items[~noisy.injected], made.items), "what was there stays, in its order"
    for back in (3, 2, 1):
        ends = noisy.from_end(back)
        inputs = ranges(noisy.offsets[:-1], ends - noisy.offsets[:-1])
        assert noisy.injected[inputs].mean() == pytest.approx(share, abs=0.01)
        assert noisy.injected[ends - 1].mean() == pytest.approx(share, abs=0.05), "in the last place too"
        assert np.array_equal(noisy.items[ends], made.items[made.from_end(back)])
    for stage in HELD_OUT:
        targets = noisy.target_positions(stage)
        assert not noisy.injected[targets].any()
        assert stage != "test" or np.array_equal(targets, noisy.offsets[1:] - 1), "nothing follows the test target"
        assert np.array_equal(noisy.items[targets], made.items[made.target_positions(stage)]), "targets stay"
        samples = evaluation_samples(noisy, stage, 8)
        assert np.array_equal(samples.start + samples.length, targets)
        assert np.array_equal(history_bounds(noisy, stage)[1], targets)


def test_injected_items_are_new_to_their_user_and_spread_over_the_history() -> None:
    made = genuine_sequences()
    noisy = inject_noise(made, 0.3)
    assert noisy.injected is not None
    cuts = noisy.offsets[1:-1]
    places = []
    for old, items, flags in zip(
        np.split(made.items, made.offsets[1:-1]),
        np.split(noisy.items, cuts),
        np.split(noisy.injected, cuts),
        strict=True,
    ):
        assert not set(items[flags]) & set(old)
        assert set(items) <= set(range(1, N_ITEMS + 1))
        places += (np.flatnonzero(flags) / len(flags)).tolist()
    assert np.histogram(places, 4, (0, 1))[0] / len(places) == pytest.approx(np.full(4, 0.25), abs=0.05)


def test_planted_noise_may_be_a_training_target_and_injected_noise_may_not() -> None:
    made = small_sequences()
    noisy = inject_noise(made, 0.3)
    assert made.noise is not None and noisy.noise is not None and noisy.injected is not None
    assert made.injected is None, "planted noise is an interaction like any other"
    assert np.array_equal(noisy.noise[~noisy.injected], made.noise)
    assert noisy.noise[noisy.injected].all()
    assert trained_items(noisy, "all") == trained_items(made, "all")


def test_injection_is_deterministic() -> None:
    made = small_sequences()
    assert np.array_equal(inject_noise(made, 0.2).items, inject_noise(made, 0.2).items)
    assert inject_noise(made, 0.0) is made


def test_a_user_with_the_whole_catalogue_is_named() -> None:
    full = Sequences(np.array([1, 2, 3, 1, 2, 3], np.int32), np.array([0, 6]), np.array(["ann"]), 3)
    with pytest.raises(DataError, match="ann"):
        inject_noise(full, 0.2)


def test_injected_items_change_no_training_count() -> None:
    made = small_sequences()
    assert np.array_equal(inject_noise(made, 0.3).train_counts(), made.train_counts())
