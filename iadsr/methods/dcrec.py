"""DCRec (Yang et al., WWW 2023): a Transformer's state fused with two item graphs, and contrasted with them.

Shapes: B rows, T positions, D width, N items and padding, E edges of a graph. One graph joins items that are next to
each other in a training history, the other items with similar users. A row's conformity is the agreement between its
last item's neighbours in the whole first graph and in that graph without the batch's users: where it is high, the state
is drawn to the first graph, elsewhere the graphs to each other.

After the authors' code (HKUDS/DCRec 2338233) with its defects mended, each of which `released` brings back. As there,
the graphs of training hold each user's training inputs. They lack the last training target, under objective `last` the
only one; the other targets that a user has under `prefix` are inputs, too. The graphs of scoring hold all training
items; the release's hold the test inputs, the newest of which no method here is handed.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.methods import dcrec_graphs as graphs
from iadsr.methods.dcrec_options import DCRecOptions
from iadsr.methods.dcrec_transformer import Transformer
from iadsr.methods.method import Batch, Encoded, Histories, Method, MethodInputs, TrainingBatch
from iadsr.models.backbone import INIT_STD
from iadsr.models.dropout import Dropout

# torch says once per process that products of its CSR matrices are new
warnings.filterwarnings("ignore", message="Sparse CSR tensor support")

_LEAST = 1e-8  # the release's guard against log(0)
_SPREAD = 0.1  # standard deviation of the normal distribution of conformity weights, as released
_NEIGHBOURS = 10  # most neighbours whose mean is compared, as released


class _Propagate(torch.autograd.Function):
    """Product of a sparse matrix, given its weights (E,), with x (N, D); only x gets a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, graph: ItemGraph) -> Tensor:
        """Add up what each node receives along its row."""
        ctx.graph = graph
        ctx.save_for_backward(weights)
        return _matrix(graph.begins, graph.columns, weights) @ x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Multiply by the transposed matrix."""
        graph, (weights,) = ctx.graph, ctx.saved_tensors
        back = _matrix(graph.back_begins, graph.back_columns, weights[graph.back_order])
        return back @ gradients[0], None, None


def _matrix(begins: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    """Make a square CSR matrix of weights (E,)."""
    size = len(begins) - 1
    return torch.sparse_csr_tensor(begins, columns, weights, (size, size), check_invariants=False)


class ItemGraph(nn.Module):
    """A constant sparse matrix (N, N) whose edges can be left out of a product.

    Attributes:
        begins: (N + 1,) where each row's edges begin among all edges.
        columns: (E,) node from which an edge is received.
        values: (E,) weights.
        widest: most edges of a row.
        back_begins, back_columns, back_order: rows of the transposed matrix, and the edges (E,) in their order.
    """

    begins: Tensor
    columns: Tensor
    values: Tensor
    back_begins: Tensor
    back_columns: Tensor
    back_order: Tensor

    def __init__(self, matrix: graphs.Sparse) -> None:
        super().__init__()
        back = graphs.transpose_order(matrix)
        self.widest = int(np.diff(matrix.indptr).max())
        for name, array, kind in (
            ("begins", matrix.indptr, torch.int32),
            ("columns", matrix.indices, torch.int32),
            ("values", matrix.data, torch.float32),
            ("back_begins", back.indptr, torch.int32),
            ("back_columns", back.indices, torch.int32),
            ("back_order", back.data, torch.int64),
        ):
            self.register_buffer(name, torch.as_tensor(array, dtype=kind), persistent=False)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Send x (N, D) along edges of the given weights (E,): (N, D)."""
        received: Tensor = _Propagate.apply(x, weights, self)  # type: ignore[no-untyped-call]
        return received

    def edges_of(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """List the edges of nodes (B,): indices (B, widest) among all edges, and which of these are the node's."""
        begin, end = self.begins[nodes].long(), self.begins[nodes + 1].long()
        edges = begin.unsqueeze(1) + torch.arange(self.widest, device=nodes.device)
        return edges.clamp(max=len(self.values) - 1), edges < end.unsqueeze(1)


class Views(NamedTuple):
    """Vectors (N, D) of every item from each graph."""

    adjacent: Tensor
    similar: Tensor


class DCRec(Method):
    """The method; with `graph: false` its Transformer alone. States before a row's last one are zero."""

    items: Tensor
    step_users: Tensor
    step_edges: Tensor

    def __init__(self, inputs: MethodInputs, options: DCRecOptions) -> None:
        super().__init__()
        self.options, self.n_users = options, inputs.n_users
        self.encoder = Transformer(
            inputs.dimension,
            inputs.max_length,
            inputs.dropout,
            options.attention_dropout,
            options.layers,
            options.heads,
            options.inner,
        )
        if options.graph:
            self.build_graphs(inputs)
            self.register_buffer("items", torch.arange(inputs.n_items + 1), persistent=False)
            self.dropout = Dropout(inputs.dropout)
            self.graph_norm = nn.LayerNorm(inputs.dimension)
            self.fusion = nn.Linear(inputs.dimension, inputs.dimension, bias=False)
            self.importance = nn.Parameter(torch.randn(inputs.dimension) * INIT_STD)
            nn.init.normal_(self.fusion.weight, std=INIT_STD)

    def build_graphs(self, inputs: MethodInputs) -> None:
        """Build both graphs of training and of scoring, and users' steps, by which edges of training are found.

        Raises:
            ValueError: there are no training histories.
        """
        if inputs.histories is None or inputs.input_histories is None:
            raise ValueError("dcrec needs training histories")
        adjacency, similarity = make_graphs(inputs.input_histories, inputs.n_items, self.options)
        steps = graphs.find_steps(inputs.input_histories)
        both = (np.concatenate(pair) for pair in ((steps.before, steps.after), (steps.after, steps.before)))
        edges = graphs.find_entries(adjacency, *both)
        self.adjacency, self.similarity = ItemGraph(adjacency), ItemGraph(similarity)
        scored = make_graphs(inputs.histories, inputs.n_items, self.options)
        self.scored_adjacency, self.scored_similarity = (ItemGraph(matrix) for matrix in scored)
        self.register_buffer("step_users", torch.as_tensor(np.tile(steps.users, 2)), persistent=False)
        self.register_buffer("step_edges", torch.as_tensor(edges), persistent=False)

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """See `Method`."""
        embedded = table(batch.items)
        state = self.encoder(embedded, batch.lengths)
        if not self.options.graph:
            return Encoded(place_last(state, batch))
        every = table(self.items)
        last = last_items(batch)
        views = self.look(every, noise)
        fused, shares = self.fuse(state, views, last)
        traced = dict(zip(("share_sequence", "share_adjacent", "share_similar"), shares.detach().mean(1), strict=True))
        losses: dict[str, Tensor] = {}
        if self.options.contrastive or self.options.divergence:
            conformity = self.measure_conformity(every, views.adjacent, batch, last, noise)
            traced["conformity_std"] = conformity.detach().std(unbiased=False)
            if self.options.contrastive:
                again = self.encoder(embedded, batch.lengths)
                terms = self.contrast(again, views.adjacent[last], views.similar[last], conformity)
                losses["contrastive"] = self.options.contrastive * terms
            if self.options.divergence:
                losses["divergence"] = self.options.divergence * self.diverge(conformity, noise)
        return Encoded(place_last(fused, batch), losses, traced=traced)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """See `Method`."""
        state = self.encoder(table(batch.items), batch.lengths)
        if self.options.graph:
            state, _ = self.fuse(state, self.look(table(self.items), noise), last_items(batch))
        return Encoded(place_last(state, batch))

    # Graphs

    def look(self, every: Tensor, noise: torch.Generator) -> Views:
        """Compute every item's vector in both graphs, those of training or of scoring, from embeddings (N, D)."""
        scored = self.scored_adjacency, self.scored_similarity
        both = (self.adjacency, self.similarity) if self.training else scored
        return Views(*(self.convolve(graph, every, self.thin(graph, noise)) for graph in both))

    def thin(self, graph: ItemGraph, noise: torch.Generator) -> Tensor:
        """Return a graph's weights (E,), in training with some at random set to 0."""
        edges = len(graph.values)
        draws = int(self.options.edge_dropout * edges)
        if not draws or not (self.training or "random_scoring" in self.options.released):
            return graph.values
        return graph.values.index_fill(0, torch.randint(edges, (draws,), generator=noise, device=noise.device), 0.0)

    def convolve(self, graph: ItemGraph, every: Tensor, weights: Tensor) -> Tensor:
        """Average embeddings (N, D) with what one and two steps along edges bring; add that to them and norm."""
        first = self.dropout(every)
        second = graph(first, weights)
        mean = (first + second + graph(second, weights)) / 3
        normed: Tensor = self.graph_norm(mean + first)
        return normed

    def fuse(self, state: Tensor, views: Views, last: Tensor) -> tuple[Tensor, Tensor]:
        """Mix states (B, D) with both graphs' vectors of the last items (B,).

        Returns:
            The mixture (B, D); the shares (3, B) of state, first graph and second graph in it.
        """
        parts = torch.stack((state, views.adjacent[last], views.similar[last]))
        shares = (self.fusion(parts) @ self.importance).softmax(0)
        return (parts * shares.unsqueeze(-1)).sum(0), shares

    # Conformity

    def measure_conformity(
        self, every: Tensor, adjacent: Tensor, batch: Batch, last: Tensor, noise: torch.Generator
    ) -> Tensor:
        """Weigh rows (B,) by how far the last item's neighbours agree without the batch's users; mean `conformity`.

        Args:
            every: (N, D) embeddings.
            adjacent: (N, D) vectors of the whole graph.
            last: (B,) last items.
        """
        removed = self.edges_of_users(batch.users)
        weights = self.thin(self.adjacency, noise).masked_fill(removed, 0.0)
        outside = self.convolve(self.adjacency, every, weights)
        others, own = self.neighbour_means(adjacent, last, removed, noise)
        here = adjacent[last]
        pairs = ((here, outside[last]), (here, others), (own, others))
        agreement = torch.stack([F.cosine_similarity(*pair, dim=-1, eps=1e-12) for pair in pairs]).mean(0)
        return scale_weights(agreement.sigmoid(), batch.lengths, self.options.conformity)

    def edges_of_users(self, users: Tensor) -> Tensor:
        """Mark the edges (E,) along which any of the users (B,) goes, in either direction, whoever else does."""
        present = torch.zeros(self.n_users, dtype=torch.bool, device=users.device).index_fill(0, users, True)
        edges = len(self.adjacency.values)
        taken = torch.where(present[self.step_users], self.step_edges, edges)  # one place more, for all others
        return torch.zeros(edges + 1, dtype=torch.bool, device=users.device).index_fill(0, taken, True)[:-1]

    def neighbour_means(
        self, adjacent: Tensor, last: Tensor, removed: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Average up to ten neighbours at random of each last item: of those that remain, and of those removed.

        An item is its own neighbour, which remains. Without any the mean is zero.

        Returns:
            Two (B, D).
        """
        edges, inside = self.adjacency.edges_of(last)
        gone = removed[edges]
        places, found = draw_up_to(inside & ~gone, _NEIGHBOURS, noise)
        if "mixed_neighbours" in self.options.released:
            gone = torch.ones_like(gone).scatter(1, places, ~found)
        neighbours = self.adjacency.columns[edges].long()
        others = mean_of(adjacent, neighbours.gather(1, places), found)
        places, found = draw_up_to(inside & gone, _NEIGHBOURS, noise)
        return others, mean_of(adjacent, neighbours.gather(1, places), found)

    # Losses

    def contrast(self, state: Tensor, adjacent: Tensor, similar: Tensor, conformity: Tensor) -> Tensor:
        """Contrast states with the first graph, weighted by conformity (B,), and that with the second by the rest.

        Args:
            state, adjacent, similar: (B, D).
        """
        temperature = self.options.contrastive_temperature
        to_graph = conformity * contrastive_terms(state, adjacent, temperature)
        between = (conformity.max() - conformity) * contrastive_terms(adjacent, similar, temperature)
        return (to_graph + between).mean()

    def diverge(self, conformity: Tensor, noise: torch.Generator) -> Tensor:
        """Compute the divergence of sorted weights (B,), soft-maxed, from as many sorted normal draws."""
        drawn = torch.randn(len(conformity), generator=noise, device=conformity.device)
        return divergence_of(conformity, self.options.conformity + _SPREAD * drawn)


def make_graphs(histories: Histories, n_items: int, options: DCRecOptions) -> tuple[graphs.Sparse, graphs.Sparse]:
    """Build the graph of adjacent items and that of similar items, with the defects that the options name."""
    steps = graphs.find_steps(histories)
    adjacency = graphs.build_adjacency(steps, n_items, "double_counts" in options.released)
    made = [graphs.normalise_by_degree(adjacency), graphs.build_similarity(histories, n_items, options.neighbours)]
    if "missing_rows" in options.released:
        made[1] = graphs.misplace_rows(made[1])
    if "reversed_edges" in options.released:
        made[1] = graphs.reverse(made[1])
    if "degrees_twice" in options.released:
        made = [graphs.normalise_again(graph) for graph in made]
    return made[0], made[1]


def last_items(batch: Batch) -> Tensor:
    """Return the last item (B,) of each row."""
    return batch.items.gather(1, batch.lengths.unsqueeze(1) - 1).squeeze(1)


def place_last(state: Tensor, batch: Batch) -> Tensor:
    """Put states (B, D) at each row's last valid position of (B, T, D), zeros elsewhere."""
    steps = torch.arange(batch.items.shape[1], device=state.device)
    is_last = steps == batch.lengths.unsqueeze(1) - 1
    return state.unsqueeze(1) * is_last.unsqueeze(-1)


def draw_up_to(wanted: Tensor, most: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw at most so many of the True places of each row (B, W), without replacement.

    Returns:
        Places (B, most), and which of them were drawn: where a row has fewer, the others are none.
    """
    chances = torch.rand(wanted.shape, generator=noise, device=wanted.device).masked_fill(~wanted, -1.0)
    highest = chances.topk(min(most, wanted.shape[1]), dim=1)
    return highest.indices, highest.values >= 0


def mean_of(vectors: Tensor, nodes: Tensor, found: Tensor) -> Tensor:
    """Average vectors (N, D) of each row's nodes (B, W) where `found` (B, W): (B, D), zero where nothing is."""
    weights = found.to(vectors.dtype)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
    return (F.embedding(nodes, vectors) * weights.unsqueeze(-1)).sum(1)


def scale_weights(agreement: Tensor, lengths: Tensor, mean: float) -> Tensor:
    """Stretch agreements (B,) from 0 to their maximum and scale them to a mean; 0.5 for inputs of one item."""
    stretched = (agreement - agreement.min()) / (agreement.max() - agreement.min()).clamp(min=1e-12)
    weights = stretched * (mean / stretched.mean().clamp(min=1e-12))
    return torch.where(lengths == 1, 0.5, weights)


def contrastive_terms(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """Compute -log of the softmax of each row's own cosine among those with all rows (B, D): (B,)."""
    cosines = F.normalize(left, dim=-1) @ F.normalize(right, dim=-1).t()
    return -(_LEAST + (cosines / temperature).softmax(1).diagonal()).log()


def divergence_of(weights: Tensor, drawn: Tensor) -> Tensor:
    """Compute sum q (log q - log p) / B for p the softmax of sorted weights (B,) and q sorted draws (B,).

    As released q is cut off at 0 and not a distribution: that it does not sum to 1 scales the gradient.
    """
    wanted = drawn.sort().values.clamp(min=_LEAST)
    predicted = weights.sort().values.log_softmax(0)
    return (wanted * (wanted.log() - predicted)).mean()
