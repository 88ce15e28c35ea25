"""Each objective supervises the targets that it says, once an epoch, and never a held-out item."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.sequences.samples import batches, evaluation_samples, training_samples
from iadsr.sequences.split import Sequences


def make(lengths: list[int]) -> Sequences:
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    items = np.arange(1, offsets[-1] + 1, dtype=np.int32)
    return Sequences(items, offsets, np.array([f"u{i}" for i in range(len(lengths))]), int(offsets[-1]))


def supervised(sequences: Sequences, objective: str, max_length: int, seed: int = 0) -> list[int]:
    """Flat positions of all targets in an epoch, by the definition."""
    samples = training_samples(sequences, objective, max_length, np.random.default_rng(seed))  # type: ignore[arg-type]
    targets = []
    for start, length in zip(samples.start, samples.length, strict=True):
        assert 1 <= length <= max_length
        span = range(start, start + length) if samples.every_position else [start + length - 1]
        targets += [position + 1 for position in span]
    return sorted(targets)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(3, 25), min_size=1, max_size=8), st.integers(2, 12), st.integers(0, 5))
def test_prefix_and_all_supervise_every_training_target_once(lengths: list[int], limit: int, seed: int) -> None:
    sequences = make(lengths)
    wanted = [
        position
        for begin, length in zip(sequences.offsets[:-1], lengths, strict=True)
        for position in range(begin + 1, begin + length - 2)
    ]
    assert supervised(sequences, "all", limit, seed) == wanted
    assert supervised(sequences, "prefix", limit, seed) == wanted


def test_last_takes_the_final_training_item_and_the_most_recent_inputs() -> None:
    sequences = make([8, 3, 4])
    samples = training_samples(sequences, "last", 3, np.random.default_rng(0))
    # user 0: items 1..6 train, target 6 from inputs 3 4 5; user 1 has no target; user 2: target 13 from 12
    assert supervised(sequences, "last", 3) == [5, 12]
    assert samples.start.tolist() == [2, 11]
    assert samples.length.tolist() == [3, 1]


def test_samples_of_different_prefixes_share_no_mask_slot() -> None:
    samples = training_samples(make([9, 7]), "prefix", 4, np.random.default_rng(0))
    used = np.concatenate([np.arange(s, s + n) for s, n in zip(samples.slot, samples.length, strict=True)])
    assert len(used) == len(set(used)) == samples.slots


def test_evaluation_ends_right_before_the_target() -> None:
    sequences = make([6, 4])
    test = evaluation_samples(sequences, "test", 3)
    assert (test.start + test.length).tolist() == sequences.target_positions("test").tolist()
    assert test.length.tolist() == [3, 3]
    assert evaluation_samples(sequences, "validation", 10).length.tolist() == [4, 2]


@pytest.mark.parametrize("seed", [None, 1])
def test_batches_hold_every_sample_once(seed: int | None) -> None:
    samples = training_samples(make([20, 5, 9, 30]), "prefix", 8, np.random.default_rng(0))
    rng = None if seed is None else np.random.default_rng(seed)
    seen = [index for batch in batches(samples, 7, rng) for index in batch]
    assert sorted(seen) == list(range(len(samples)))
    if seed is not None:
        widths = [np.ptp(samples.length[batch]) for batch in batches(samples, 7, np.random.default_rng(seed))]
        assert np.mean(widths) < 2, "a batch should hold samples of like length"


def test_batches_are_alike_in_length_or_any_samples() -> None:
    sequences = make([9 + user % 17 for user in range(200)])
    samples = training_samples(sequences, "last", 50, np.random.default_rng(0))
    spread = {}
    for by_length in (True, False):
        cut = list(batches(samples, 8, np.random.default_rng(1), by_length))
        assert sorted(np.concatenate(cut).tolist()) == list(range(len(samples)))
        spread[by_length] = np.mean([np.ptp(samples.length[chosen]) for chosen in cut])
    assert spread[True] < 2 < 10 < spread[False]
