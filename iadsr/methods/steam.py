"""STEAM (Lin et al., WWW 2023): a self-correcting sequential recommender.

A corrector reads the items of a row and chooses for each to keep it, to delete it, or to insert up to five items before
it. It learns that from rows corrupted at random: what was inserted is to be deleted, what was deleted to be inserted. A
recommender on the same encoder learns to fill masked items in, in the row and in the row as corrected; a mask behind
the corrected inputs scores the next item.

From the release (TempSDU/STEAM 3ae6de2) this departs where a figure here would otherwise compare something else: the
newest items are read, not a history's first 50; the last user is trained on; softmaxes are over items, and for the
inserter over items and the end, but neither over padding nor over the mask; gradients are not clipped; optimiser,
stopping and full ranking are the protocol's. Position vectors start as small as item vectors: at the release's scale,
ten times theirs, the plain network had learned nothing of planted data in 1,000 steps. The inserter computes its logits
at the inserted places alone, where the release computes them at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from iadsr.methods.method import Asked, Batch, Encoded, Method, MethodInputs, TrainingBatch
from iadsr.methods.steam_corruption import DELETE, INSERT, KEEP, Rates, corrupt, cut_part, draw_masks
from iadsr.methods.steam_network import (
    Corrected,
    Inserter,
    SteamBlock,
    SteamEncoder,
    Tokens,
    apply_operations,
    places_of,
)
from iadsr.methods.steam_options import STEAMOptions
from iadsr.models.loss import softmax_loss

_MORE = 10  # a corrected or corrupted row has at most so many items more than an input, as released: 60 of 50


class STEAM(Method):
    """Its own network: corrector and recommender, or, without `corrector`, the recommender alone."""

    def __init__(self, inputs: MethodInputs, options: STEAMOptions) -> None:
        super().__init__()
        self.options = options
        self.cloze = options.recommender == "cloze"
        self.asks_for: frozenset[Asked] = frozenset({"following"}) if self.cloze else frozenset()
        self.n_items, self.input_length = inputs.n_items, inputs.max_length
        self.longest = inputs.max_length + _MORE
        self.rates = Rates(options.delete, options.insert, options.longest)
        sizes = inputs.dimension, options.heads, options.inner, inputs.dropout
        self.tokens = Tokens(inputs.n_items, inputs.dimension, 2 if options.corrector else 1)
        self.encoder = SteamEncoder(max(self.longest, options.longest), options.layers, *sizes)
        self.recommender = SteamBlock(*sizes)
        if options.corrector:
            self.operations = nn.Linear(inputs.dimension, 3)
            self.inserter = Inserter(*sizes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """See `Method`."""
        if self.cloze:
            return self._fill_in(table, batch, noise)
        losses = self._corrector_losses(table, batch.items, batch.lengths, noise) if self.options.corrector else {}
        states, correction = self._next_states(table, batch)
        if correction is None:
            return Encoded(states, losses)
        keep = (correction.operations != DELETE).to(states.dtype)
        return Encoded(states, losses, keep, traced=_shares(correction, batch.items))

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """See `Method`. Every position has the same state: that of a mask behind the corrected inputs."""
        states, correction = self._next_states(table, batch, self.options.test_input == "raw")
        if correction is None:
            return Encoded(states)
        return Encoded(states, keep=(correction.operations != DELETE).to(states.dtype), score=correction.score)

    def _fill_in(self, table: nn.Module, batch: TrainingBatch, noise: torch.Generator) -> Encoded:
        """Compute losses of masked items, in inputs and targets together; no state is made that could see a target."""
        assert batch.following is not None
        items, lengths = torch.cat((batch.items[:, :1], batch.following), 1), batch.lengths + 1
        if self.options.rows == "random":
            items, lengths = cut_part(items, lengths, self.input_length, noise)
        losses = {"recommendation": self._cloze_loss(table, items, noise)}
        if not self.options.corrector:
            return Encoded(None, losses)
        losses |= self._corrector_losses(table, items, lengths, noise)
        correction = self.correct(table, items, self.longest)
        losses["corrected"] = self._cloze_loss(table, correction.row.items, noise)
        return Encoded(None, losses, traced=_shares(correction, items))

    def _cloze_loss(self, table: nn.Module, items: Tensor, noise: torch.Generator) -> Tensor:
        """Compute the mean cross-entropy of masked items of rows (B, T); 0 where none is masked."""
        masked = draw_masks(items > 0, self.options.mask_rate, noise, "empty_masks" in self.options.released)
        tokens = torch.where(masked, self.tokens.mask, items)
        tokens[:, 0] = torch.where(tokens[:, 0] > 0, tokens[:, 0], self.tokens.end)  # attention needs something to see
        states = self.recommend(table, tokens)
        if not bool(masked.any()):
            return states.sum() * 0
        return softmax_loss(states[masked], self._vectors(table), items[masked] - 1)

    def _corrector_losses(
        self, table: nn.Module, items: Tensor, lengths: Tensor, noise: torch.Generator
    ) -> dict[str, Tensor]:
        """Compute the mean cross-entropy of the operations and of the insertions that restore corrupted rows (B, T)."""
        corrupted = corrupt(items, lengths, self.rates, self.n_items, self.longest, noise)
        encoded, valid = self.encode(table, corrupted.items), corrupted.items > 0
        operations = nn.functional.cross_entropy(self.operations(encoded)[valid], corrupted.labels[valid])
        if len(corrupted.places):
            places = encoded.flatten(0, 1)[corrupted.places]
            insertions = self.inserter.loss(places, corrupted.deleted - 1, *self._decoding(table))
        else:
            insertions = encoded.sum() * 0
        return {
            "operations": self.options.correction * operations,
            "insertions": self.options.correction * insertions,
        }

    @torch.no_grad()
    def correct(self, table: nn.Module, items: Tensor, longest: int) -> Correction:
        """Correct rows (B, T) as in scoring; the last `longest` items of each remain."""
        with _evaluating(self):
            encoded = self.encode(table, items)
            logits = self.operations(encoded)
            operations = torch.where(items > 0, logits.argmax(-1), KEEP)
            places = places_of(operations, items)
            repeated = "repeated_positions" in self.options.released
            new = 1 + self.inserter.decode(encoded.flatten(0, 1)[places], *self._decoding(table), repeated)
        score = logits[..., [KEEP, INSERT]].logsumexp(-1) - logits[..., DELETE]
        return Correction(apply_operations(items, operations, places, new, longest), operations, score)

    def _next_states(self, table: nn.Module, batch: Batch, raw: bool = False) -> tuple[Tensor, Correction | None]:
        """Compute states (B, T, D), at every position that of a mask behind the row's inputs, and the corrections."""
        correction = None
        items, lengths = batch.items, batch.lengths
        if self.options.corrector and not raw:
            correction = self.correct(table, items, self.longest - 1)
            items, lengths, _ = correction.row
        tokens = nn.functional.pad(items, (0, 1)).scatter(1, lengths.unsqueeze(1), self.tokens.mask)
        states = self.recommend(table, tokens)
        last = states[torch.arange(len(states), device=states.device), lengths]
        return last.unsqueeze(1).expand(-1, batch.items.shape[1], -1), correction

    def encode(self, table: nn.Module, tokens: Tensor) -> Tensor:
        """Encode tokens (B, T), 0 at padding, as (B, T, D)."""
        encoded: Tensor = self.encoder(self.tokens(table, tokens), (tokens > 0).unsqueeze(1))
        return encoded

    def recommend(self, table: nn.Module, tokens: Tensor) -> Tensor:
        """Encode tokens (B, T) as states (B, T, D) that score the item at each position."""
        states: Tensor = self.recommender(self.encode(table, tokens), (tokens > 0).unsqueeze(1))
        return states

    def _vectors(self, table: nn.Module) -> Tensor:
        """Slice the vectors (V, D) of items 1..V."""
        candidates = table.candidates
        assert isinstance(candidates, Tensor)
        return candidates[-self.n_items :]

    def _decoding(self, table: nn.Module) -> tuple[Tensor, Tensor]:
        """Collect position vectors, and the vectors of all items and the end; see `Inserter`."""
        return (
            self.encoder.positions[: self.options.longest],
            torch.cat((self._vectors(table), self.tokens.special[1:])),
        )


class Correction(NamedTuple):
    """What the corrector does to rows.

    Attributes:
        row: the rows as corrected.
        operations: (B, T), KEEP at padding.
        score: (B, T) log-odds against deleting an item.
    """

    row: Corrected
    operations: Tensor
    score: Tensor


def _shares(correction: Correction, items: Tensor) -> dict[str, Tensor]:
    """Compute the operations' shares in the items of rows (B, T), and inserted items' in those of corrected rows."""
    operations = correction.operations[items > 0]
    names = {"keep_share": KEEP, "delete_share": DELETE, "insert_share": INSERT}
    shares = {name: (operations == operation).double().mean() for name, operation in names.items()}
    row = correction.row
    return {**shares, "inserted_share": row.inserted.sum().double() / row.lengths.sum().clamp(min=1)}


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Switch dropout off for a while."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
