"""Graphs of SSDRec (Zhang et al., ICDE 2024) from training items, as sparse matrices.

Items 0..V, where 0 pads and has no edge; users 0..U - 1. Published weights; of each row the strongest edges alone are
kept, without which users' graphs have millions of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array, diags_array, vstack

from iadsr.methods.method import Histories

_HOT_ITEMS, _HOT_USERS = 0.2, 0.1  # shares whose pairs can be opposed, as released
_BLOCK = 2048  # users compared with all others at once

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Matrix = csr_array


class Graphs(NamedTuple):
    """Edges into each row: vectors of the columns, weighted, make up the row's neighbourhood.

    Attributes:
        items_before, items_after: (V + 1, V + 1) items that came before each item, and after it; rows sum to 1.
        items_opposed: (V + 1, V + 1) items that never occur with it but have neighbours in common; rows sum to 1.
        users_alike, users_opposed: (U, U) the same for users, each of whom is alike itself; rows sum to 1.
        items_of_user: (U, V + 1) how often a user had an item.
        users_of_item: (V + 1, U) its transpose.
    """

    items_before: Matrix
    items_after: Matrix
    items_opposed: Matrix
    users_alike: Matrix
    users_opposed: Matrix
    items_of_user: Matrix
    users_of_item: Matrix


def build_graphs(histories: Histories, n_items: int, longest: int, neighbours: int, least: int) -> Graphs:
    """Build all graphs.

    Args:
        longest: of each history the last `longest` items count.
        neighbours: edges kept in a row.
        least: how often two items must occur together to be neighbours; released 11.
    """
    recent = last_items(histories, longest)
    counts = item_counts(recent, n_items)
    weights, together = item_transitions(recent, n_items)
    followed = at_least(weights, together, least)
    linked = symmetric(together)
    similar = at_least(linked, linked, least)
    hot_items = most_frequent(np.asarray(counts.sum(0)).ravel(), _HOT_ITEMS, first=1)
    hot_users = most_frequent(np.diff(recent.offsets), _HOT_USERS)
    of_hot = user_similarity(counts, hot_users)
    return Graphs(
        items_before=strongest(followed.T.tocsr(), neighbours),
        items_after=strongest(followed, neighbours),
        items_opposed=strongest(opposed(similar[hot_items], linked[hot_items], hot_items), neighbours),
        users_alike=alike(counts, neighbours),
        users_opposed=strongest(opposed(of_hot, of_hot, hot_users), neighbours),
        items_of_user=counts,
        users_of_item=counts.T.tocsr(),
    )


def csr_of(values: Reals, rows: npt.NDArray[Any], columns: npt.NDArray[Any], shape: tuple[int, int]) -> Matrix:
    """Build a matrix from its entries (N,), adding up those of one place."""
    matrix: Matrix = coo_array((values, (rows, columns)), shape=shape).tocsr()
    return matrix


def last_items(histories: Histories, longest: int) -> Histories:
    """Cut each history to its last items."""
    counts = np.minimum(np.diff(histories.offsets), longest)
    begin = histories.offsets[1:] - counts
    offsets = np.concatenate(([0], np.cumsum(counts)))
    places = np.repeat(begin - offsets[:-1], counts) + np.arange(offsets[-1])
    return Histories(histories.items[places], offsets)


def item_counts(histories: Histories, n_items: int) -> Matrix:
    """Count how often each user had each item: (U, V + 1)."""
    users = np.repeat(np.arange(len(histories.offsets) - 1), np.diff(histories.offsets))
    shape = len(histories.offsets) - 1, n_items + 1
    return csr_of(np.ones(len(users)), users, histories.items, shape)


def item_transitions(histories: Histories, n_items: int) -> tuple[Matrix, Matrix]:
    """Sum over all pairs i before j of a history of n items: (n - distance) / n, and 1, at (i, j): (V + 1, V + 1)."""
    length = np.repeat(np.diff(histories.offsets), np.diff(histories.offsets))
    place = np.arange(len(length)) - np.repeat(histories.offsets[:-1], np.diff(histories.offsets))
    behind = length - 1 - place
    first = np.repeat(np.arange(len(length)), behind)
    begin = np.concatenate(([0], np.cumsum(behind)))
    distance = np.arange(len(first)) - np.repeat(begin[:-1], behind) + 1
    pairs = histories.items[first], histories.items[first + distance]
    shape = n_items + 1, n_items + 1
    near = (length[first] - distance) / length[first]
    return csr_of(near, *pairs, shape), csr_of(np.ones(len(first)), *pairs, shape)


def symmetric(matrix: Matrix) -> Matrix:
    """Add the transpose, and clear the diagonal."""
    both = (matrix + matrix.T).tocoo()
    off = both.row != both.col
    return csr_of(both.data[off], both.row[off], both.col[off], both.shape)


def at_least(weights: Matrix, counts: Matrix, least: int) -> Matrix:
    """Keep the weights of pairs that are counted at least so often."""
    enough = counts.copy()
    enough.data = (enough.data >= least).astype(float)
    kept: Matrix = weights.multiply(enough).tocsr()
    kept.eliminate_zeros()
    return kept


def most_frequent(counts: npt.NDArray[Any], share: float, first: int = 0) -> Ints:
    """List the most frequent of the entries from `first` on, at most the share of them; of equal ones the last."""
    order = first + np.argsort(np.asarray(counts)[first:], kind="stable")
    return np.sort(order[int(np.ceil(len(order) * (1 - share) - 1e-9)) :])


def opposed(similar: Matrix, linked: Matrix, rows: Ints) -> Matrix:
    """Weigh pairs among `rows` that are not linked but have similar neighbours in common.

    The weight is the sum over common neighbours k of similar(a, k) + similar(b, k).

    Args:
        similar, linked: (R, N) of the rows alone.
        rows: (R,) what they are among the N.

    Returns:
        (N, N), symmetric.
    """
    touching = similar.copy()
    touching.data = np.ones_like(touching.data)
    half = similar @ touching.T
    strength = (half + half.T).tocsr()
    known = (linked[:, rows] + diags_array(np.ones(len(rows)))).tocsr()
    known.data = np.ones_like(known.data)
    free = (strength - strength.multiply(known)).tocoo()
    above = free.data > 0
    size = similar.shape[1]
    return csr_of(free.data[above], rows[free.row[above]], rows[free.col[above]], (size, size))


def user_similarity(counts: Matrix, rows: Ints) -> Matrix:
    """Compare users with all others: the share of both histories' items that the other one had, too.

    Args:
        counts: (U, V + 1) items of each user.
        rows: (R,) users to compare.

    Returns:
        (R, U) in [0, 1], 0 between a user and itself.
    """
    had = counts.copy()
    had.data = np.ones_like(had.data)
    shared = (counts[rows] @ had.T + had[rows] @ counts.T).tocoo()
    length = np.asarray(counts.sum(1)).ravel()
    others = rows[shared.row] != shared.col
    row, column = shared.row[others], shared.col[others]
    similarity = shared.data[others] / (length[rows[row]] + length[column])
    return csr_of(similarity, row, column, shared.shape)


def alike(counts: Matrix, neighbours: int) -> Matrix:
    """Build the graph of like users (U, U) block by block: the whole one takes too much memory."""
    users = counts.shape[0]
    blocks = []
    for low in range(0, users, _BLOCK):
        rows = np.arange(low, min(low + _BLOCK, users))
        itself = csr_of(np.ones(len(rows)), np.arange(len(rows)), rows, (len(rows), users))
        blocks.append(strongest((user_similarity(counts, rows) + itself).tocsr(), neighbours))
    graph: Matrix = vstack(blocks, format="csr")
    return graph


def strongest(matrix: Matrix, neighbours: int) -> Matrix:
    """Keep each row's largest weights, of equal ones those of the first columns, and let them sum to 1."""
    matrix.sort_indices()
    entries = matrix.tocoo()
    order = np.lexsort((-entries.data, entries.row))
    row, column, weight = entries.row[order], entries.col[order], entries.data[order]
    begin = np.searchsorted(row, np.arange(matrix.shape[0]))
    kept = np.arange(len(row)) - begin[row] < neighbours
    row, column, weight = row[kept], column[kept], weight[kept]
    total = np.bincount(row, weight, minlength=matrix.shape[0])
    return csr_of(weight / total[row], row, column, matrix.shape)
