"""Item graphs of DCRec, from histories, as sparse matrices; no loop over users or items.

Matrices are (N, N) for N = items + 1: row and column 0, of padding, meet no other item. A node receives along its row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from iadsr.methods.method import Histories

Ints = npt.NDArray[np.int64]
Sparse = sparse.csr_array  # of float64, with sorted indices

_ROWS = 1024  # similarities of so many items are held at once


class Steps(NamedTuple):
    """Steps from one item of a history to the next, of a user: three arrays (P,). A repeated item is no step."""

    users: Ints
    before: Ints
    after: Ints


def find_steps(histories: Histories) -> Steps:
    """List every step of every user."""
    users = np.repeat(np.arange(len(histories.offsets) - 1), np.diff(histories.offsets))
    items = histories.items.astype(np.int64)
    kept = (users[1:] == users[:-1]) & (items[1:] != items[:-1])
    return Steps(users[1:][kept], items[:-1][kept], items[1:][kept])


def build_adjacency(steps: Steps, n_items: int, doubled: bool = False) -> Sparse:
    """Count how often two items are next to each other, in either order; 1 on the diagonal. Symmetric.

    Args:
        doubled: count each step twice, as released.
    """
    size = n_items + 1
    count = np.full(2 * len(steps.users), 2.0 if doubled else 1.0)
    rows = np.concatenate((steps.before, steps.after))
    columns = np.concatenate((steps.after, steps.before))
    return _sorted(sparse.coo_array((count, (rows, columns)), shape=(size, size)) + sparse.eye_array(size))


def normalise_by_degree(adjacency: Sparse) -> Sparse:
    """Scale a symmetric matrix A without empty rows to D^-1/2 A D^-1/2, where D are the sums of its rows."""
    sums, (rows, columns) = adjacency.sum(axis=1), adjacency.tocoo().coords
    scaled = adjacency.data / np.sqrt(sums[rows] * sums[columns])  # one root, so that both halves are equal
    return sparse.csr_array((scaled, adjacency.indices, adjacency.indptr), shape=adjacency.shape)


def build_similarity(histories: Histories, n_items: int, neighbours: int) -> Sparse:
    """Join each item to the `neighbours` others whose users are most similar, and to itself; rows sum to 1.

    Similarity is the cosine of two items' counts by user. Items without similar users get fewer neighbours, those that
    nobody has an empty row. Among equals the lower index wins.
    """
    size, users = n_items + 1, len(histories.offsets) - 1
    owner = np.repeat(np.arange(users), np.diff(histories.offsets))
    ones = np.ones(len(histories.items))
    counts = _sorted(sparse.coo_array((ones, (histories.items, owner)), shape=(size, users)))
    squares = np.asarray(counts.power(2).sum(axis=1), dtype=np.float64)
    parts = [_nearest(counts, squares, low, min(low + _ROWS, size), neighbours + 1) for low in range(0, size, _ROWS)]
    return _sorted(sparse.vstack(parts))


def _nearest(counts: Sparse, squares: npt.NDArray[np.float64], low: int, high: int, most: int) -> Sparse:
    """Compute rows low..high of `build_similarity`, with at most `most` entries each."""
    products = sparse.coo_array(counts[low:high] @ counts.T)
    rows, columns = products.coords
    # one root of a product of whole numbers: equal columns have similarity 1 exactly, as an item has to itself
    similarity = products.data / np.sqrt(squares[low + rows] * squares[columns])
    order = np.lexsort((columns, columns != low + rows, -similarity, rows))
    rows, columns, similarity = rows[order], columns[order], similarity[order]
    begin = np.searchsorted(rows, np.arange(high - low))
    chosen = np.arange(len(rows)) - begin[rows] < most
    shape = (high - low, counts.shape[0])
    nearest = _sorted(sparse.coo_array((similarity[chosen], (rows[chosen], columns[chosen])), shape=shape))
    sums = nearest.sum(axis=1)
    return _sorted(sparse.diags_array(1 / np.where(sums > 0, sums, 1.0)) @ nearest)


def misplace_rows(similarity: Sparse, block: int = 256) -> Sparse:
    """Give each node the row that the release gives it: its own among the first two blocks, then another's or none.

    The release cuts its matrix in blocks, but cuts what is left of it, by the whole distance covered so far.
    """
    size, low, covered = similarity.shape[0], 0, 0
    taken = []
    while covered < size - low:
        low += covered
        taken.append(np.arange(low, min(low + block, size)))
        covered += block
    taken.append(np.arange(min(low + block, size), size))
    rows = np.concatenate(taken)
    empty = sparse.csr_array((size - len(rows), size))
    return _sorted(sparse.vstack([similarity[rows], empty]))


def reverse(graph: Sparse) -> Sparse:
    """Turn every edge around."""
    return _sorted(graph.T)


def normalise_again(graph: Sparse) -> Sparse:
    """Add an edge of weight 1 from each node to itself, then divide by the roots of both ends' numbers of edges.

    As released: the graph convolution's own normalisation on top of normalised weights.
    """
    edges = sparse.csr_array((np.ones(graph.nnz), graph.indices, graph.indptr), shape=graph.shape)
    received, sent = (sparse.diags_array(1 / np.sqrt(edges.sum(axis=axis) + 1)) for axis in (1, 0))
    return _sorted(received @ (graph + sparse.eye_array(graph.shape[0])) @ sent)


def find_entries(graph: Sparse, rows: Ints, columns: Ints) -> Ints:
    """Find the place in `graph.data` of each of the entries at (rows, columns), which must exist."""
    size = graph.shape[0]
    keys = np.repeat(np.arange(size), np.diff(graph.indptr)) * size + graph.indices
    return np.searchsorted(keys, rows * size + columns)


def transpose_order(graph: Sparse) -> Sparse:
    """Transpose the matrix; its data then say where in `graph.data` each entry stands."""
    places = np.arange(graph.nnz, dtype=np.int64)
    return _sorted(sparse.csr_array((places, graph.indices, graph.indptr), shape=graph.shape).T)


def _sorted(matrix: Any) -> Sparse:
    """Convert a sparse matrix to CSR with equal entries added up and columns in order."""
    found: Sparse = sparse.csr_array(matrix)
    found.sum_duplicates()
    found.sort_indices()
    return found
