"""Full ranking: every user's target against the whole catalogue, under both ranking rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from iadsr.core import columns as c
from iadsr.methods.method import Batch, Encoded
from iadsr.sequences.samples import batches, evaluation_samples, history_bounds
from iadsr.sequences.split import Ints, Sequences, Stage
from iadsr.training.data import gather
from iadsr.training.recommender import Recommender

_BLOCK = 512  # users scored at once


@dataclass(frozen=True)
class Ranked:
    """Ranks of one block of users under one rule.

    Attributes:
        rank: (B,) expected rank of the target with ties in random order: 1 + better + tied / 2.
        ties: (B,) other candidates with exactly the target's score.
        top: (B, K) best candidates (rows of the score matrix), best first.
    """

    rank: Tensor
    ties: Tensor
    top: Tensor


def rank_targets(scores: Tensor, targets: Tensor, top_k: int) -> Ranked:
    """Rank each row's target among all candidates; a score of -inf takes a candidate out.

    Args:
        scores: (B, V).
        targets: (B,) columns of `scores`.
    """
    target = scores.gather(1, targets.unsqueeze(1))
    better = (scores > target).sum(1)
    ties = (scores == target).sum(1) - 1
    top = scores.topk(min(top_k, scores.shape[1]), dim=1).indices
    return Ranked(1 + better + ties / 2, ties, top)


def ndcg(rank: Tensor, k: int) -> Tensor:
    """NDCG@k of one relevant item at `rank`, for the choice of the best epoch."""
    return torch.where(rank <= k, 1 / torch.log2(rank + 1), torch.zeros_like(rank))


class Scorer:
    """Scores users at a stage; index arrays are made once and serve every epoch."""

    def __init__(self, sequences: Sequences, stage: Stage, max_length: int, device: torch.device) -> None:
        self.items = torch.as_tensor(sequences.items, device=device).long()
        self.samples = evaluation_samples(sequences, stage, max_length)
        self.targets = self.items[torch.as_tensor(sequences.target_positions(stage), device=device)]
        self.begin, self.end = history_bounds(sequences, stage)
        self.sequences = sequences

    def validation(self, model: Recommender, ranking: str, noise: torch.Generator) -> float:
        """Mean NDCG@10 over users under one ranking rule."""
        total = 0.0
        for chosen, scores, _ in self._blocks(model, noise):
            ranked = self._rank(scores, chosen, ranking, 1)
            total += float(ndcg(ranked.rank.double(), 10).sum())
        return total / len(self.targets)

    def ranks(self, model: Recommender, noise: torch.Generator) -> tuple[pd.DataFrame, dict[str, float | None]]:
        """The rows of ranks.parquet, and what the method's mask did at this stage.

        Returns:
            The table; and `test_keep_rate` (share of inputs kept, None if the method drops nothing), `noise_auc`
            (probability that a planted noise item scores below a genuine one, None without planted noise).
        """
        columns: dict[str, list[npt.NDArray[np.generic]]] = {}
        kept = inputs = 0.0
        has_mask = False
        scored: list[npt.NDArray[np.float64]] = []
        noisy: list[npt.NDArray[np.bool_]] = []
        for chosen, scores, (batch, positions, encoded) in self._blocks(model, noise):
            for ranking in c.RANKINGS:
                ranked = self._rank(scores, chosen, ranking, c.TOP_K)
                columns.setdefault(c.rank_column(ranking), []).append(ranked.rank.double().cpu().numpy())
                columns.setdefault(c.ties_column(ranking), []).append(ranked.ties.int().cpu().numpy())
                columns.setdefault(c.top_column(ranking), []).append((ranked.top + 1).int().cpu().numpy())
            if encoded.keep is not None:
                has_mask = True
                kept += float(encoded.keep[batch.valid].sum())
                inputs += float(batch.valid.sum())
            if encoded.score is not None and self.sequences.noise is not None:
                scored.append(encoded.score[batch.valid].double().cpu().numpy())
                noisy.append(self.sequences.noise[positions[batch.valid].cpu().numpy()])
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        targets = self.targets.cpu().numpy()
        table = pd.DataFrame(
            {
                c.USER: self.sequences.users.astype(object),
                c.TARGET: targets.astype(np.int32),
                c.TARGET_TRAIN_COUNT: self.sequences.train_counts()[targets].astype(np.int32),
                c.HISTORY_LENGTH: (self.end - self.begin).astype(np.int32),
                **{name: list(values) if values.ndim == 2 else values for name, values in joined.items()},
            }
        )
        auc = noise_auc(np.concatenate(scored), np.concatenate(noisy)) if scored else None
        return table, {"test_keep_rate": kept / inputs if has_mask else None, "noise_auc": auc}

    def _blocks(
        self, model: Recommender, noise: torch.Generator
    ) -> Iterator[tuple[Ints, Tensor, tuple[Batch, Tensor, Encoded]]]:
        """Yield (users, scores, (batch, positions, encoded)) block by block, without gradients."""
        model.eval()
        with torch.inference_mode():
            for chosen in batches(self.samples, _BLOCK, None):
                batch, positions = gather(self.items, self.samples, chosen)
                vectors, encoded = model.represent(batch, noise)
                yield chosen, vectors @ model.table.candidates.T, (batch, positions, encoded)

    def _rank(self, scores: Tensor, chosen: Ints, ranking: str, top_k: int) -> Ranked:
        targets = self.targets[torch.as_tensor(chosen, device=scores.device)] - 1
        if ranking == "excluded":
            scores = self._exclude(scores, chosen, targets)
        return rank_targets(scores, targets, top_k)

    def _exclude(self, scores: Tensor, chosen: Ints, targets: Tensor) -> Tensor:
        """Scores with every history item at -inf; the target stays a candidate even if it is a repeat."""
        counts = self.end[chosen] - self.begin[chosen]
        before = np.concatenate(([0], np.cumsum(counts)[:-1]))
        flat = np.repeat(self.begin[chosen] - before, counts) + np.arange(counts.sum())
        rows = torch.as_tensor(np.repeat(np.arange(len(chosen)), counts), device=scores.device)
        seen = self.items[torch.as_tensor(flat, device=scores.device)] - 1
        masked = scores.index_put((rows, seen), scores.new_tensor(-torch.inf))
        return masked.scatter(1, targets.unsqueeze(1), scores.gather(1, targets.unsqueeze(1)))


def noise_auc(score: npt.NDArray[np.float64], noisy: npt.NDArray[np.bool_]) -> float | None:
    """Probability that a noise item scores below a genuine one, ties half; None if either kind is absent."""
    negatives = int(noisy.sum())
    positives = len(noisy) - negatives
    if not negatives or not positives:
        return None
    ranks = pd.Series(score).rank().to_numpy()
    above = ranks[~noisy].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))
