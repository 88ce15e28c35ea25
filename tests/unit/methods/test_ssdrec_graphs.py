"""SSDRec's graphs against loops over users, items and pairs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from iadsr.methods.method import Histories
from iadsr.methods.ssdrec_graphs import (
    Graphs,
    alike,
    build_graphs,
    item_counts,
    item_transitions,
    last_items,
    most_frequent,
    opposed,
    strongest,
    symmetric,
    user_similarity,
)
from iadsr.sequences.samples import training_histories
from iadsr.sequences.split import Sequences
from tests.helpers import N_ITEMS, USERS, small_sequences

Dense = NDArray[np.float64]


def histories(sequences: Sequences | None = None) -> Histories:
    return Histories(*training_histories(sequences or small_sequences(longest=14)))


def rows_of(found: Histories) -> list[list[int]]:
    return [found.items[a:b].tolist() for a, b in zip(found.offsets[:-1], found.offsets[1:], strict=True)]


def slow_transitions(rows: list[list[int]]) -> tuple[Dense, Dense]:
    weights, counts = np.zeros((2, N_ITEMS + 1, N_ITEMS + 1))
    for row in rows:
        for i in range(len(row)):
            for j in range(i + 1, len(row)):
                weights[row[i], row[j]] += (len(row) - (j - i)) / len(row)
                counts[row[i], row[j]] += 1
    return weights, counts


def slow_similarity(rows: list[list[int]]) -> Dense:
    found = np.zeros((len(rows), len(rows)))
    for u, ours in enumerate(rows):
        for v, theirs in enumerate(rows):
            if u != v and ours and theirs:
                shared = sum(item in theirs for item in ours) + sum(item in ours for item in theirs)
                found[u, v] = shared / (len(ours) + len(theirs))
    return found


def slow_opposed(similar: Dense, linked: Dense, among: set[int]) -> Dense:
    found = np.zeros_like(similar)
    for a in among:
        for b in among:
            common = [k for k in range(len(similar)) if similar[a, k] > 0 and similar[b, k] > 0]
            if a != b and linked[a, b] == 0:
                found[a, b] = sum(similar[a, k] + similar[b, k] for k in common)
    return found


def slow_strongest(matrix: Dense, neighbours: int) -> Dense:
    found = np.zeros_like(matrix)
    for row, weights in enumerate(matrix):
        best = sorted(np.flatnonzero(weights), key=lambda column: (-weights[column], column))[:neighbours]
        for column in best:
            found[row, column] = weights[column] / weights[best].sum()
    return found


def slow_hot(counts: list[int], share: float) -> set[int]:
    ascending = sorted(range(len(counts)), key=lambda index: counts[index])
    return set(ascending[math.ceil((1 - share) * len(counts)) :])


@pytest.mark.parametrize("longest", [4, 50])
def test_histories_are_cut_to_their_last_items(longest: int) -> None:
    rows = rows_of(histories())
    assert min(map(len, rows)) == 1
    assert rows_of(last_items(histories(), longest)) == [row[-longest:] for row in rows]


@pytest.mark.parametrize(("least", "neighbours"), [(1, 3), (1, 50), (2, 50), (4, 50)])
def test_graphs_equal_loops(least: int, neighbours: int) -> None:
    longest = 9
    rows = [row[-longest:] for row in rows_of(histories())]
    found = build_graphs(histories(), N_ITEMS, longest, neighbours, least)
    weights, counts = slow_transitions(rows)
    followed = np.where(counts >= least, weights, 0)
    linked = counts + counts.T
    similar = np.where(linked >= least, linked, 0)
    np.fill_diagonal(similar, 0)
    popularity = np.bincount(np.concatenate([np.array(row, int) for row in rows]), minlength=N_ITEMS + 1)
    hot_items = {1 + index for index in slow_hot(popularity[1:].tolist(), 0.2)}
    hot_users = slow_hot([len(row) for row in rows], 0.1)
    assert (len(hot_items), len(hot_users)) == (8, 2)
    similarity = slow_similarity(rows)
    expected = {
        "items_before": slow_strongest(followed.T, neighbours),
        "items_after": slow_strongest(followed, neighbours),
        "items_opposed": slow_strongest(slow_opposed(similar, linked, hot_items), neighbours),
        "users_alike": slow_strongest(similarity + np.eye(USERS), neighbours),
        "users_opposed": slow_strongest(slow_opposed(similarity, similarity, hot_users), neighbours),
    }
    for name, wanted in expected.items():
        np.testing.assert_allclose(getattr(found, name).toarray(), wanted, atol=1e-12, err_msg=name)
    for name in ("items_before", "items_after", "users_alike"):
        assert getattr(found, name).nnz > 10, "the case has edges"
    counted = np.zeros((USERS, N_ITEMS + 1))
    for user, row in enumerate(rows):
        np.add.at(counted[user], row, 1)
    np.testing.assert_array_equal(found.items_of_user.toarray(), counted)
    np.testing.assert_array_equal(found.users_of_item.toarray(), counted.T)


def test_opposed_pairs_equal_loops() -> None:
    """On matrices with many of them, and whatever the rows are."""
    rng = np.random.default_rng(0)
    similar = np.triu(rng.random((12, 12)) * (rng.random((12, 12)) < 0.4), 1)
    similar += similar.T
    linked = np.maximum(similar, np.diag(rng.integers(0, 2, 12)))
    for rows in (np.arange(12), np.array([1, 4, 5, 9, 11])):
        matrix = [csr_array(part)[rows] for part in (similar, linked)]
        found = opposed(*matrix, rows).toarray()
        wanted = slow_opposed(similar, linked, set(rows.tolist()))
        assert np.count_nonzero(wanted) >= 8
        np.testing.assert_allclose(found, wanted)
        np.testing.assert_allclose(found, found.T)


def test_rows_sum_to_one_and_what_must_be_symmetric_is() -> None:
    found = build_graphs(histories(), N_ITEMS, 50, 5, 1)
    for name in ("items_before", "items_after", "items_opposed", "users_alike", "users_opposed"):
        matrix = getattr(found, name)
        sums = np.asarray(matrix.sum(1)).ravel()
        np.testing.assert_allclose(sums[sums > 0], 1)
        assert np.diff(matrix.indptr).max() <= 5 and matrix.data.min(initial=1) > 0
    assert (found.users_alike.diagonal() > 0).all(), "a user is alike itself"
    assert found.items_of_user[:, [0]].nnz == found.items_before[[0]].nnz == found.items_after[:, [0]].nnz == 0
    counts = item_counts(histories(), N_ITEMS)
    similarity = user_similarity(counts, np.arange(USERS)).toarray()
    np.testing.assert_allclose(similarity, similarity.T)
    assert similarity.min() >= 0 and similarity.max() <= 1 and not similarity.diagonal().any()
    together = symmetric(item_transitions(histories(), N_ITEMS)[1]).toarray()
    np.testing.assert_array_equal(together, together.T)


def test_blocks_of_users_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = item_counts(histories(), N_ITEMS)
    whole = alike(counts, 4).toarray()
    monkeypatch.setattr("iadsr.methods.ssdrec_graphs._BLOCK", 7)
    np.testing.assert_array_equal(alike(counts, 4).toarray(), whole)


def test_held_out_items_are_in_no_graph() -> None:
    whole = small_sequences()
    items = whole.items.copy()
    for stage in ("validation", "test"):
        places = whole.target_positions(stage)  # type: ignore[arg-type]
        items[places] = items[places] % N_ITEMS + 1
    before, after = (graphs_of(replace(whole, items=changed)) for changed in (whole.items, items))
    for name in Graphs._fields:
        np.testing.assert_array_equal(getattr(before, name).toarray(), getattr(after, name).toarray())
    assert (items != whole.items).sum() == 2 * USERS
    trained = whole.items.copy()
    places = whole.target_positions("validation") - 1
    trained[places] = trained[places] % N_ITEMS + 1
    changed = graphs_of(replace(whole, items=trained))
    assert (changed.items_of_user != before.items_of_user).nnz > 0, "a training item is"


def graphs_of(sequences: Sequences) -> Graphs:
    return build_graphs(histories(sequences), N_ITEMS, 50, 5, 1)


def test_ties_and_shares() -> None:
    assert most_frequent(np.array([3, 1, 2, 5, 4]), 0.4).tolist() == [3, 4]
    assert most_frequent(np.array([9, 1, 1, 1, 1, 1]), 0.2, first=1).tolist() == [5]
    assert most_frequent(np.array([1, 2]), 0.2).tolist() == []
    found = strongest(csr_array(np.array([[1.0, 2.0, 1.0], [0, 0, 0], [5, 5, 5]])), 2).toarray()
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3, 0], [0, 0, 0], [0.5, 0.5, 0]])
