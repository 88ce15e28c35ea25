"""SSDRec (Zhang et al., ICDE 2024), fair and pruned: HSD on histories that were enlarged, with vectors from graphs.

In training, two items are inserted around the position that fits its history least, one of the three may be taken out
again, which leaves a zero to the sequence level, and HSD drops noise from what that gives. In scoring nothing is
inserted. Graph vectors reach the item level and the choice of what is inserted; the backbone reads plain item
embeddings. Ours: the BPR loss counts the history's own items alone, and what is inserted is chosen with a start and an
end around the history. Graphs are in `ssdrec_graphs`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from iadsr.methods.hierarchical import EncodedRows, HierarchicalDenoiser, Levels, drop_rates, score_of
from iadsr.methods.hierarchical_defects import DEFECTS
from iadsr.methods.masks import encode_packed
from iadsr.methods.method import Batch, Encoded, MethodInputs, TrainingBatch
from iadsr.methods.ssdrec_graphs import build_graphs
from iadsr.methods.ssdrec_layers import GraphEncoder, GraphVectors, Surroundings, choose, consistency
from iadsr.methods.ssdrec_options import SSDRecOptions


class Enlarged(NamedTuple):
    """Histories with inserted items, on T' places.

    Attributes:
        batch: the inputs, inserted ones among them.
        described: (B, T', H) vectors that the item level reads.
        inserted: (B, T') True at inserted items.
        taken_out: (B, T') True at inputs that were taken out again.
        places: (B, T) where each original input stands.
        ends: (B, T) where each one's state stands: behind the two inserted items, where they stand around it or
            before.
    """

    batch: Batch
    described: Tensor
    inserted: Tensor
    taken_out: Tensor
    places: Tensor
    ends: Tensor


class SSDRec(HierarchicalDenoiser):
    """SSDRec."""

    options: SSDRecOptions

    def __init__(self, inputs: MethodInputs, options: SSDRecOptions) -> None:
        super().__init__(inputs, options)
        histories = inputs.input_histories if options.graphs == "inputs" else inputs.histories
        if histories is None:
            raise ValueError("ssdrec needs training histories")
        self.positions = inputs.max_length
        graphs = build_graphs(histories, inputs.n_items, inputs.max_length, options.neighbours, options.together)
        self.graph_encoder = GraphEncoder(graphs, inputs.dimension, options.graph_dropout)
        self.surroundings = Surroundings(inputs.dimension)
        self._vectors: GraphVectors | None = None
        self._age = 0

    def train(self, mode: bool = True) -> SSDRec:
        """Switch to training or to scoring, which either begins with an encoding of the graphs."""
        self._vectors = None
        super().train(mode)
        return self

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """Enlarge histories, draw a mask on them, and encode what it keeps; see `Method`."""
        temperature = self.step_temperature()
        longer = self.enlarge(self.graph_vectors(table), batch, temperature, noise)
        embedded, every = table(batch.items), table(longer.batch.items)
        valid, time = longer.batch.valid, longer.batch.items.shape[1]
        inputs = self.read(every * ~longer.taken_out.unsqueeze(-1), longer.batch)
        decoded = self.sequence_level.decode(inputs)
        described, query = self.read(longer.described, longer.batch), self.query(table, embedded, batch)
        levels = self.judge(decoded, inputs, described, query, time)
        sequence, item = self.sample(levels, temperature, noise)
        newest = torch.minimum(last_of(longer.places, batch.lengths), longer.batch.lengths - 1)
        mask = self.keep_one((1 - sequence * item * valid) * ~longer.taken_out, valid, newest)
        losses, rows = self.losses(table, embedded, inputs, decoded, batch, noise)
        states = encode_packed(backbone, every * mask.unsqueeze(-1), mask.detach(), longer.batch)
        kept = torch.where(batch.valid, (mask.detach() * valid).gather(1, longer.places), 1.0)
        traced = {
            "temperature": temperature,
            **drop_rates(sequence, item, valid),
            "inserted_rows": longer.inserted.any(1).double().mean(),
            "rows_taken_out": longer.taken_out.any(1).double().mean(),
            "inserted_kept": (mask.detach() * longer.inserted).sum() / longer.inserted.sum().clamp(min=1),
        }
        score = score_of(levels).detach().gather(1, longer.places)
        ends = longer.ends.unsqueeze(-1).expand(-1, -1, states.shape[-1])
        return EncodedRows(states.gather(1, ends), losses, kept, None, score, mask, traced, rows)

    def levels(self, table: nn.Module, embedded: Tensor, batch: Batch) -> Levels:
        """Judge inputs for scoring, with vectors from the graphs at the item level."""
        inputs = self.read(embedded, batch)
        decoded = self.sequence_level.decode(inputs)
        described = self.read(self.describe(self.graph_vectors(table), batch), batch)
        return self.judge(decoded, inputs, described, self.query(table, embedded, batch), batch.items.shape[1])

    # Graphs

    def graph_vectors(self, table: nn.Module) -> GraphVectors:
        """Encode the graphs: in training at every `refresh`-th step, which alone trains the encoder; else once."""
        if self._vectors is None or (self.training and self._age >= self.options.refresh):
            users = self.users.weight
            vectors: GraphVectors = self.graph_encoder(
                table(torch.arange(self.n_items + 1, device=users.device)), users
            )
            self._vectors, self._age = GraphVectors(*(part.detach() for part in vectors)), 1
            return vectors
        self._age += 1
        return self._vectors

    def describe(self, vectors: GraphVectors, batch: Batch) -> Tensor:
        """Add to each input's vector a share of its user's: (B, T, H)."""
        share = vectors.users[batch.users] / batch.lengths.unsqueeze(1)
        described: Tensor = vectors.items[batch.items] + share.unsqueeze(1)
        return described

    # Insertion

    def enlarge(self, vectors: GraphVectors, batch: Batch, temperature: Tensor, noise: torch.Generator) -> Enlarged:
        """Insert an item before and one after a position of each row that has room, and take out one of the three."""
        described = self.describe(vectors, batch) * batch.valid.unsqueeze(-1)
        before, behind = self.surroundings(described, batch.lengths)
        position = self.choose_position(
            consistency(described, before, behind, batch.valid), batch.valid, temperature, noise
        )
        place = position.argmax(1)
        room = (batch.lengths <= self.positions - 2) & (place < batch.lengths)
        drawn = torch.where(room.unsqueeze(1), position.gather(1, place.unsqueeze(1)), 1.0)
        states = [last_of(part, place.clamp(max=part.shape[1] - 1) + 1) for part in (before, behind)]
        chosen = [self.choose_item(state, vectors.items, temperature, noise) for state in states]
        time, longest = batch.items.shape[1], min(batch.items.shape[1] + 2, self.positions)
        place = torch.where(room, place, self.positions).unsqueeze(1)
        steps = torch.arange(longest, device=place.device)
        source = torch.where(steps < place, steps, torch.where(steps == place + 1, steps - 1, steps - 2))
        source = source.clamp(0, time - 1)
        items = batch.items.gather(1, source)
        longer = described.gather(1, source.unsqueeze(-1).expand(-1, -1, described.shape[-1]))
        for (new, vector), at in zip(chosen, (place, place + 2), strict=True):
            items = torch.where(steps == at, new.unsqueeze(1), items)
            longer = torch.where((steps == at).unsqueeze(-1), vector.unsqueeze(1), longer)
        lengths = self.grown(batch.lengths, room)
        valid = steps < lengths.unsqueeze(1)
        inserted = ((steps == place) | (steps == place + 2)) & valid
        longer = longer * (drawn * valid).unsqueeze(-1)
        with torch.no_grad():
            before, behind = self.surroundings(longer, lengths)
            fit = consistency(longer, before, behind, valid)
            second = self.choose_position(fit, valid, temperature, noise)[:, :longest] > 0.5
        taken_out = second & (steps >= place) & (steps <= place + 2) & valid
        inside = valid.flatten().nonzero().squeeze(1)
        old = torch.arange(time, device=place.device)
        places, ends = old + (old >= place).long() + (old > place), old + 2 * (old >= place)
        return Enlarged(
            Batch(items * valid, lengths, valid, inside, batch.users),
            longer,
            inserted,
            taken_out,
            places.clamp(max=longest - 1),
            ends.clamp(max=longest - 1),
        )

    def choose_position(self, fit: Tensor, valid: Tensor, temperature: Tensor, noise: torch.Generator) -> Tensor:
        """Draw the input that fits least of each row, 0 or 1 (B, T), by how it fits (B, T)."""
        return choose(1 - fit, valid, temperature, noise)

    def choose_item(
        self, state: Tensor, items: Tensor, temperature: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw an item for each state (B, H) by inner product: its number (B,) and its vector (B, H)."""
        count, device = self.options.candidates, state.device
        if count:
            offered = torch.randint(1, self.n_items + 1, (count,), generator=noise, device=device)
        else:
            offered = torch.arange(1, self.n_items + 1, device=device)
        logits = state @ items[offered].t()
        drawn = choose(logits, torch.ones_like(logits, dtype=torch.bool), temperature, noise)
        return offered[drawn.argmax(1)], drawn @ items[offered]

    def grown(self, lengths: Tensor, room: Tensor) -> Tensor:
        """Count the inputs of each row (B,) with the inserted ones."""
        return lengths + 2 * room


class PaddedPositions(SSDRec):
    """`padded_positions`."""

    def choose_position(self, fit: Tensor, valid: Tensor, temperature: Tensor, noise: torch.Generator) -> Tensor:
        """Draw one of all L positions, 0 or 1 (B, L)."""
        padded = nn.functional.pad(fit * valid, (0, self.positions - fit.shape[1]))
        return choose(1 - padded, torch.ones_like(padded, dtype=torch.bool), temperature, noise)


class StaleMask(SSDRec):
    """`stale_mask`."""

    def grown(self, lengths: Tensor, room: Tensor) -> Tensor:
        """Return the lengths before the insertion."""
        return lengths


class NoUserAtTest(SSDRec):
    """`no_user_at_test`."""

    def describe(self, vectors: GraphVectors, batch: Batch) -> Tensor:
        """Leave out the user in scoring."""
        return super().describe(vectors, batch) if isinstance(batch, TrainingBatch) else vectors.items[batch.items]


class ZeroMaps(SSDRec):
    """`zero_maps`."""

    def __init__(self, inputs: MethodInputs, options: SSDRecOptions) -> None:
        super().__init__(inputs, options)
        for merge in (self.graph_encoder.merge_items, self.graph_encoder.merge_users):
            nn.init.zeros_(merge.map.weight)


OWN_DEFECTS: dict[str, type[SSDRec]] = {
    "padded_positions": PaddedPositions,
    "stale_mask": StaleMask,
    "no_user_at_test": NoUserAtTest,
    "zero_maps": ZeroMaps,
}


def build(inputs: MethodInputs, options: SSDRecOptions) -> SSDRec:
    """Build SSDRec with the defects of `options`."""
    parts = [{**DEFECTS, **OWN_DEFECTS}[name] for name in options.defects]
    asked = frozenset(name for part in parts for name in part.asks_for)
    kind: type[SSDRec] = type("SSDRec", (*parts, SSDRec), {"asks_for": asked})
    return kind(inputs, options)


def last_of(x: Tensor, lengths: Tensor) -> Tensor:
    """Select the entry at each row's last position: (B, ...) of (B, T, ...)."""
    return x[torch.arange(len(x), device=x.device), lengths - 1]
