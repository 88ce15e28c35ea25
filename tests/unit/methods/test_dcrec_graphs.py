"""DCRec's graphs against slow loops, and what they may not know."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from iadsr.methods.dcrec_graphs import (
    build_adjacency,
    build_similarity,
    find_entries,
    find_steps,
    misplace_rows,
    normalise_again,
    normalise_by_degree,
    reverse,
    transpose_order,
)
from iadsr.methods.method import Histories
from iadsr.sequences.samples import training_histories
from tests.helpers import N_ITEMS, small_sequences

# 7 and 8 are nobody's; 9, 10 and 11 are equally similar
USERS = [[1, 2, 3, 2], [3, 4, 3, 3, 4], [5], [], [2, 1, 6, 6], [5, 2], [9, 10, 11]]
ITEMS = 11


def histories_of(users: list[list[int]]) -> Histories:
    lengths = [len(items) for items in users]
    return Histories(np.concatenate(users).astype(np.int32), np.concatenate(([0], np.cumsum(lengths))))


def listed(histories: Histories) -> list[list[int]]:
    bounds = pairwise(histories.offsets.tolist())
    return [histories.items[begin:end].tolist() for begin, end in bounds]


CASES = pytest.mark.parametrize(
    ("histories", "items"),
    [(histories_of(USERS), ITEMS), (Histories(*training_histories(small_sequences())), N_ITEMS)],
    ids=["by hand", "ring"],
)


def counted_by_hand(users: list[list[int]], size: int, times: int = 1) -> np.ndarray:
    """How often two items are neighbours, in either order, and 1 on the diagonal."""
    found = np.zeros((size, size))
    for items in users:
        for one, other in pairwise(items):
            if one != other:
                found[one, other] += times
                found[other, one] += times
    for item in range(size):
        found[item, item] = 1
    return found


@CASES
@pytest.mark.parametrize("doubled", [False, True])
def test_adjacency_counts_neighbours_in_either_order(histories: Histories, items: int, doubled: bool) -> None:
    found = build_adjacency(find_steps(histories), items, doubled).toarray()
    np.testing.assert_array_equal(found, counted_by_hand(listed(histories), items + 1, 2 if doubled else 1))
    np.testing.assert_array_equal(found, found.T)
    if items == ITEMS:
        assert found[2, 3] == (4 if doubled else 2), "once in each order, of one user"
        assert found[3, 3] == found[7, 7] == 1, "a repeated item is no neighbour of itself; nobody's item has itself"


@CASES
def test_adjacency_is_normalised_by_degree_once(histories: Histories, items: int) -> None:
    counts = counted_by_hand(listed(histories), items + 1)
    found = normalise_by_degree(build_adjacency(find_steps(histories), items)).toarray()
    for row in range(items + 1):
        for column in range(items + 1):
            wanted = counts[row, column] / math.sqrt(counts[row].sum() * counts[column].sum())
            assert found[row, column] == pytest.approx(wanted, abs=1e-12)
    np.testing.assert_array_equal(found, found.T)
    roots = np.sqrt(counts.sum(1))
    np.testing.assert_allclose(found @ roots, roots, err_msg="its largest eigenvalue is 1")


def nearest_by_hand(users: list[list[int]], size: int, neighbours: int) -> np.ndarray:
    """Each item's most similar items, itself among them, by the cosine of counts."""
    found = np.zeros((size, size))
    counts = [[items.count(item) for items in users] for item in range(size)]
    for item in range(size):
        similar = []
        for other in range(size):
            product = sum(a * b for a, b in zip(counts[item], counts[other], strict=True))
            if product:
                squares = sum(a * a for a in counts[item]) * sum(b * b for b in counts[other])
                similar.append((-product / math.sqrt(squares), other != item, other))
        chosen = sorted(similar)[: neighbours + 1]
        for negative, _, other in chosen:
            found[item, other] = negative / sum(value for value, _, _ in chosen)
    return found


@CASES
@pytest.mark.parametrize("neighbours", [1, 3, 100])
def test_similarity_is_that_of_the_nearest_items(histories: Histories, items: int, neighbours: int) -> None:
    graph = build_similarity(histories, items, neighbours)
    np.testing.assert_allclose(graph.toarray(), nearest_by_hand(listed(histories), items + 1, neighbours), atol=1e-12)
    sums, edges = graph.sum(axis=1), np.diff(graph.indptr)
    owned = np.isin(np.arange(items + 1), histories.items)
    np.testing.assert_allclose(sums, owned.astype(float), atol=1e-12)
    assert edges.max() <= neighbours + 1 and (edges[~owned] == 0).all()
    assert (graph.diagonal()[owned] > 0).all(), "an item is among its nearest"


def test_similarity_does_not_depend_on_how_many_rows_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    histories = Histories(*training_histories(small_sequences()))
    whole = build_similarity(histories, N_ITEMS, 3)
    monkeypatch.setattr("iadsr.methods.dcrec_graphs._ROWS", 7)
    np.testing.assert_array_equal(build_similarity(histories, N_ITEMS, 3).toarray(), whole.toarray())


def test_graphs_know_no_held_out_item() -> None:
    """They are unchanged where all users' validation and test items are permuted; with them, they would change."""
    whole = small_sequences()
    items = whole.items.copy()
    places = np.concatenate([whole.target_positions(stage) for stage in ("validation", "test")])  # type: ignore[arg-type]
    items[places] = np.random.default_rng(0).permutation(items[places])
    assert not np.array_equal(items, whole.items)

    def graphs(histories: Histories) -> list[np.ndarray]:
        adjacency = build_adjacency(find_steps(histories), N_ITEMS)
        return [adjacency.toarray(), build_similarity(histories, N_ITEMS, 3).toarray()]

    changed = replace(whole, items=items)
    for ours, theirs in zip(*(graphs(Histories(*training_histories(s))) for s in (whole, changed)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(*(graphs(Histories(s.items, s.offsets)) for s in (whole, changed)), strict=True):
        assert not np.array_equal(ours, theirs)


def test_the_release_misplaces_all_rows_but_those_of_two_blocks() -> None:
    """Its loop, step by step, on 23 rows in blocks of 4."""
    graph = build_similarity(Histories(*training_histories(small_sequences())), N_ITEMS, 3)[:23, :23]
    similarity, pieces, place = graph.toarray(), [], 0
    while place < len(similarity):
        similarity = similarity[place:]
        pieces.append(similarity[:4])
        place += 4
    pieces.append(similarity[4:])
    wanted = np.zeros((23, 23))
    wanted[: sum(map(len, pieces))] = np.concatenate(pieces)
    found = misplace_rows(graph, block=4).toarray()
    np.testing.assert_array_equal(found, wanted)
    right = [row for row in range(1, 23) if np.array_equal(found[row], graph.toarray()[row])]
    assert right == list(range(1, 8))
    np.testing.assert_array_equal(misplace_rows(graph).toarray(), graph.toarray(), err_msg="fewer than two blocks")


def test_degrees_divide_a_second_time_as_released() -> None:
    graph = build_similarity(histories_of(USERS), ITEMS, 2)
    dense = graph.toarray()
    found = normalise_again(graph).toarray()
    for row in range(ITEMS + 1):
        for column in range(ITEMS + 1):
            received, sent = (dense[row] > 0).sum() + 1, (dense[:, column] > 0).sum() + 1
            wanted = (dense[row, column] + (row == column)) / math.sqrt(received * sent)
            assert found[row, column] == pytest.approx(wanted)
    assert not np.array_equal(dense, dense.T)
    np.testing.assert_array_equal(reverse(graph).toarray(), dense.T)


def test_entries_are_found_and_turned_around() -> None:
    graph = build_similarity(Histories(*training_histories(small_sequences())), N_ITEMS, 3)
    rows, columns = graph.tocoo().coords
    order = np.random.default_rng(1).permutation(graph.nnz)
    np.testing.assert_array_equal(find_entries(graph, rows[order], columns[order]), order)
    back = transpose_order(graph)
    turned = np.zeros(graph.shape)
    for row, (begin, end) in enumerate(pairwise(back.indptr)):
        for place in range(begin, end):
            turned[row, back.indices[place]] = graph.data[back.data[place]]
    np.testing.assert_array_equal(turned, graph.toarray().T)
