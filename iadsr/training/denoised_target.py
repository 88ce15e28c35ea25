"""R2b: the released evaluation of SASRec, where a user's last *kept* item is the target. Inflated: never a result.

A mask removes items from the test sequences, the test item among them; an easier item is then predicted in its place.
The effect is measured here under the release's ranking rule, history kept, for one paragraph of the report.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from iadsr.config.cell import Cell
from iadsr.methods.masks import pack
from iadsr.methods.method import Batch
from iadsr.models.backbone import last_states
from iadsr.sequences.samples import batches, whole_samples
from iadsr.training.feed import Feed
from iadsr.training.recommender import Recommender
from iadsr.training.score import ndcg, place_targets

_BLOCK = 256


def denoised_target(model: Recommender, feed: Feed, cell: Cell, noise: torch.Generator) -> dict[str, float] | None:
    """Rank each user's last kept item, predicted from the kept ones before it.

    Returns:
        Mean `HR@5` and `NDCG@5`, and `changed`, the share of users with another target; None without a mask, and where
        items were injected: one of them could be the last that is kept.
    """
    if not model.method.has_mask or feed.sequences.injected is not None:
        return None
    samples = whole_samples(feed.sequences, cell.settings.max_length)
    ranks, changed = [], []
    model.eval()
    with torch.inference_mode():
        model = model.computed()
        for chosen in batches(samples, _BLOCK, None):
            batch, _ = feed.gather(samples, chosen)
            keep = model.method.sample_mask(model.table, model.backbone, batch, noise) > 0.5
            inputs, targets, last = split_kept(batch, keep & batch.valid, feed.left)
            states = model.backbone(model.table(inputs.items), inputs.lengths, inputs.users)
            scores = model.scores(last_states(states, inputs.lengths))
            nobody = torch.zeros(0, dtype=torch.long, device=feed.device)
            ranks.append(place_targets(scores, targets - model.table.first, nobody, nobody)["kept"].rank.double())
            changed.append(targets != last)
    rank = torch.cat(ranks)
    return {
        "HR@5": float((rank <= 5).double().mean()),
        "NDCG@5": float(ndcg(rank, 5).mean()),
        "changed": float(torch.cat(changed).double().mean()),
    }


def split_kept(batch: Batch, kept: Tensor, left: int | None) -> tuple[Batch, Tensor, Tensor]:
    """Remove what is not kept; the last item left is the target, those before it are the input.

    A user of whom fewer than two items are left keeps everything.

    Args:
        kept: (B, T).

    Returns:
        The inputs, padded as `batch` is; (B,) targets; (B,) the last items before anything was removed.
    """
    few = kept.sum(1, keepdim=True) < 2
    kept = torch.where(few, batch.valid, kept)
    packed, count = pack(batch.items, kept)
    targets = packed.gather(1, (count - 1).unsqueeze(1)).squeeze(1)
    steps = torch.arange(packed.shape[1], device=packed.device)
    begin = torch.zeros_like(count) if left is None else left - (count - 1)
    place = steps - begin.unsqueeze(1)
    valid = (place >= 0) & (place < (count - 1).unsqueeze(1))
    items = packed.gather(1, place.clamp(0, packed.shape[1] - 1)) * valid
    lengths = count - 1 if left is None else torch.full_like(count, left)
    places = torch.from_numpy(np.flatnonzero(valid.cpu().numpy())).to(packed.device)
    ends = batch.valid.long().mul(steps + 1).argmax(1)
    last = batch.items.gather(1, ends.unsqueeze(1)).squeeze(1)
    return Batch(items, lengths, valid, places, batch.users), targets, last
