"""Full ranking: every user's target against the whole catalogue, under both ranking rules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from iadsr.config.cell import Cell
from iadsr.core import columns as c
from iadsr.methods.method import Batch, Encoded
from iadsr.sequences.samples import batches, evaluation_samples, history_bounds, ranges
from iadsr.sequences.split import Ints, Sequences, Stage
from iadsr.training.drops import describe_history, example_users
from iadsr.training.feed import Feed
from iadsr.training.mask_statistics import MaskStatistics
from iadsr.training.recommender import Recommender

_BLOCK = 512  # users encoded at once
_SCORES = 2**21  # scores held at once


@dataclass(frozen=True)
class Place:
    """Rank of each row's target among the candidates of one ranking rule.

    Attributes:
        better: (B,) candidates with a higher score.
        ties: (B,) other candidates with exactly the target's score.
    """

    better: Tensor
    ties: Tensor

    @property
    def rank(self) -> Tensor:
        """(B,) expected rank with ties in random order."""
        return 1 + self.better + self.ties / 2


class Tested(NamedTuple):
    """What testing a model gives.

    Attributes:
        ranks: ranks.parquet.
        masks: statistics of the method's masks, empty without masks.
        auc: of the method's scores, or else of its masks, against known noise (see `noise_auc`); None without either.
        histories: what was kept of a few users' histories (see `describe_history`), none without masks.
    """

    ranks: pd.DataFrame
    masks: MaskStatistics
    auc: float | None
    histories: list[dict[str, Any]]


def place_targets(scores: Tensor, targets: Tensor, rows: Tensor, seen: Tensor) -> dict[str, Place]:
    """Rank each row's target under both rules, in one pass over the scores.

    A NaN score counts as better than the target, so that a broken model never looks good.

    Args:
        scores: (B, V), V below 2**24.
        targets: (B,) columns of `scores`.
        rows, seen: (H,) rows and columns of the history, no pair twice and no target.
    """
    target = scores.gather(1, targets.unsqueeze(1))
    flags = torch.empty_like(scores)  # 0.0 and 1.0 add up several times faster than booleans
    better = scores.shape[1] - torch.le(scores, target, out=flags).sum(1).long()
    ties = torch.eq(scores, target, out=flags).sum(1).long() - 1
    theirs, ours = scores[rows, seen], target[rows, 0]
    seen_better = torch.zeros_like(better).index_add(0, rows, (~(theirs <= ours)).long())
    seen_ties = torch.zeros_like(ties).index_add(0, rows, (theirs == ours).long())
    return {"kept": Place(better, ties), "excluded": Place(better - seen_better, ties - seen_ties)}


def ndcg(rank: Tensor, k: int) -> Tensor:
    """Compute NDCG@k of one relevant item at each `rank`."""
    return torch.where(rank <= k, 1 / torch.log2(rank + 1), torch.zeros_like(rank))


class Scorer:
    """Scores all users at a stage. Index arrays are made once, for all epochs."""

    def __init__(self, feed: Feed, stage: Stage, cell: Cell) -> None:
        self.feed = feed
        sequences, device = feed.sequences, feed.device
        self.samples = evaluation_samples(sequences, stage, cell.settings.max_length)
        self.targets = feed.items[torch.as_tensor(sequences.target_positions(stage), device=device)]
        begin, end = history_bounds(sequences, stage)
        self.history_length = end - begin
        users, seen = _history(sequences, begin, end, sequences.target_positions(stage))
        self.bounds = np.searchsorted(users, np.arange(len(begin) + 1))
        self.seen_users, self.seen = (torch.as_tensor(array, device=device) for array in (users, seen))

    def validation(self, model: Recommender, ranking: str, noise: torch.Generator) -> float:
        """Average NDCG@10 over users under one ranking rule; NaN if any user vector is not finite."""
        total, model = 0.0, _computed(model)
        for chosen, vectors, _ in self._encoded(model, noise):
            if not bool(vectors.isfinite().all()):
                return math.nan
            for _, _, places in self._placed(model, vectors, chosen):
                total += float(ndcg(places[ranking].rank.double(), 10).sum())
        return total / len(self.targets)

    def test(self, model: Recommender, noise: torch.Generator) -> Tested:
        """Rank every user's target, and see what the method's mask keeps."""
        columns: dict[str, list[npt.NDArray[np.generic]]] = {}
        sequences = self.feed.sequences
        masks = MaskStatistics(sequences.n_items, self.feed.device, self.feed.noise)
        first, model = model.table.first, _computed(model)
        scored: list[npt.NDArray[np.float64]] = []
        noisy: list[npt.NDArray[np.bool_]] = []
        shown, histories = example_users(len(sequences.users)), []
        for chosen, vectors, (batch, positions, encoded) in self._encoded(model, noise):
            for scores, history, places in self._placed(model, vectors, chosen):
                tops = {"kept": _top(scores, first)}
                scores[history] = -torch.inf
                tops["excluded"] = _top(scores, first)
                for ranking, place in places.items():
                    columns.setdefault(c.rank_column(ranking), []).append(place.rank.double().cpu().numpy())
                    columns.setdefault(c.ties_column(ranking), []).append(place.ties.int().cpu().numpy())
                    columns.setdefault(c.top_column(ranking), []).append(tops[ranking])
            if encoded.keep is not None:
                masks.add(*(part[batch.valid] for part in (batch.items, encoded.keep, positions)))
                for row in np.flatnonzero(np.isin(chosen, shown)):
                    valid, user = batch.valid[row], int(chosen[row])
                    items, keep = (part[row][valid].cpu().numpy() for part in (batch.items, encoded.keep))
                    target = int(self.targets[user])
                    histories.append(describe_history(str(sequences.users[user]), items, keep, target))
            evidence = encoded.keep if encoded.score is None else encoded.score
            if evidence is not None and sequences.noise is not None:
                scored.append(evidence[batch.valid].double().cpu().numpy())
                noisy.append(sequences.noise[positions[batch.valid].cpu().numpy()])
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        targets = self.targets.cpu().numpy()
        table = pd.DataFrame(
            {
                c.USER: sequences.users.astype(object),
                c.TARGET: targets.astype(np.int32),
                c.TARGET_TRAIN_COUNT: sequences.train_counts()[targets].astype(np.int32),
                c.HISTORY_LENGTH: self.history_length.astype(np.int32),
                **{name: list(values) if values.ndim == 2 else values for name, values in joined.items()},
            }
        )
        auc = noise_auc(np.concatenate(scored), np.concatenate(noisy)) if scored else None
        return Tested(table, masks, auc, histories)

    def _encoded(
        self, model: Recommender, noise: torch.Generator
    ) -> Iterator[tuple[Ints, Tensor, tuple[Batch, Tensor, Encoded]]]:
        """Yield (users, their vectors, (batch, positions, encoded)) block by block, without gradients."""
        model.eval()
        with torch.inference_mode():
            for chosen in batches(self.samples, _BLOCK, None):
                batch, positions = self.feed.gather(self.samples, chosen, model.method.asks_for)
                vectors, encoded = model.represent(batch, noise)
                yield chosen, vectors, (batch, positions, encoded)

    def _placed(
        self, model: Recommender, vectors: Tensor, chosen: Ints
    ) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor], dict[str, Place]]]:
        """Yield (scores, rows and columns of the history in them, places) of consecutive users, a slice at a time."""
        table = model.table
        height = max(1, _SCORES // table.n_candidates)
        for low in range(0, len(chosen), height):
            first, last = int(chosen[low]), int(chosen[min(low + height, len(chosen)) - 1])
            scores = model.scores(vectors[low : low + height])
            pairs = slice(self.bounds[first], self.bounds[last + 1])
            history = self.seen_users[pairs] - first, self.seen[pairs] - table.first
            yield scores, history, place_targets(scores, self.targets[first : last + 1] - table.first, *history)


@torch.no_grad()
def _computed(model: Recommender) -> Recommender:
    """Compute a model's item vectors once for all users."""
    return model.computed()


def _history(sequences: Sequences, begin: Ints, end: Ints, target_positions: Ints) -> tuple[Ints, Ints]:
    """List users and items (H,) of all histories, sorted by user, without repeated pairs and the users' targets."""
    positions = ranges(begin, end - begin)
    users = np.repeat(np.arange(len(begin)), end - begin)
    items = sequences.items[positions].astype(np.int64)
    other = items != sequences.items[target_positions][users]
    width = sequences.n_items + 1
    pairs = np.unique(users[other] * width + items[other])
    return pairs // width, pairs % width


def _top(scores: Tensor, first: int) -> npt.NDArray[np.generic]:
    """Select the items (B, K) of the best candidates, best first; `first` is the item in column 0."""
    best = scores.topk(min(c.TOP_K, scores.shape[1]), dim=1).indices
    return (best + first).int().cpu().numpy()


def noise_auc(score: npt.NDArray[np.float64], noisy: npt.NDArray[np.bool_]) -> float | None:
    """Estimate the probability that noise scores below a genuine input, ties half; None if either kind is absent."""
    negatives = int(noisy.sum())
    positives = len(noisy) - negatives
    if not negatives or not positives:
        return None
    ranks = pd.Series(score).rank().to_numpy()
    above = ranks[~noisy].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))
