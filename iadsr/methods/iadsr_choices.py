"""Choices that the paper of IADSR leaves open, and controls: each a subclass of IADSR that overrides one step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.methods.defects import DEFECTS
from iadsr.methods.iadsr import IADSR, Interests, Texts, max_over
from iadsr.methods.iadsr_options import IADSROptions
from iadsr.methods.masks import bernoulli, encode_packed, rate_in_epoch
from iadsr.methods.method import Batch, Encoded, MethodInputs, TrainingBatch
from iadsr.models.backbone import last_states

_RECENT = 5  # items in a window


class SoftMask(IADSR):
    """`mask: soft`: the samples between 0 and 1, not rounded."""

    def discretise(self, soft: Tensor) -> Tensor:
        """Return the samples as they are."""
        return soft

    def expected_mask(self, score: Tensor) -> Tensor:
        """Compute the mask (B, T) without noise: a sigmoid of the scores."""
        return torch.sigmoid(score / self.temperature)


class NoMask(IADSR):
    """`mask: none`: auxiliary losses alone."""

    has_mask = remembers = False

    def incoming_mask(self, keep: Tensor, batch: Batch, noise: torch.Generator) -> Tensor:
        """Keep everything."""
        return torch.ones_like(keep)

    def sample(self, gate: Tensor, score: Tensor, noise: torch.Generator) -> Tensor:
        """Keep everything."""
        return torch.ones_like(score)

    def scoring_mask(self, gate: Tensor, score: Tensor, batch: Batch, noise: torch.Generator) -> Tensor:
        """Keep everything."""
        return torch.ones_like(score)

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """Train on the losses alone; no mask is reported."""
        return replace(super().forward(table, backbone, batch, keep, noise), keep=None, gate=None, mask=None)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """See `Method`."""
        return replace(super().denoise(table, backbone, batch, noise), keep=None, gate=None)


class RandomMask(IADSR):
    """`mask: random`: as many inputs dropped as a mask that chooses would drop, by chance."""

    remembers = False

    def __init__(self, inputs: MethodInputs, options: IADSROptions) -> None:
        super().__init__(inputs, options)
        copied = None
        if options.match:
            assert inputs.keep_rates is not None
            copied = inputs.keep_rates, inputs.test_keep_rate
        self.chance = ChanceMask(copied)

    def begin_epoch(self, epoch: int) -> None:
        """See `Method`."""
        self.chance.begin_epoch(epoch)

    def incoming_mask(self, keep: Tensor, batch: Batch, noise: torch.Generator) -> Tensor:
        """Draw a mask; none is remembered."""
        return super().incoming_mask(self.chance.draw(batch.valid, noise), batch, noise)

    def outgoing_mask(self, sampled: Tensor, batch: Batch, noise: torch.Generator) -> Tensor:
        """Count the mask that the method would have used, and draw another one."""
        self.chance.count(sampled, batch.valid)
        return self.chance.draw(batch.valid, noise)

    def scoring_mask(self, gate: Tensor, score: Tensor, batch: Batch, noise: torch.Generator) -> Tensor:
        """Draw a mask at the rate of the one that the method would use."""
        wanted = super().scoring_mask(gate, score, batch, noise)
        return self.chance.draw_for_scoring(wanted, batch.valid, noise, self.causal)

    def sample_mask(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Tensor:
        """See `Method`."""
        return self.chance.draw(batch.valid, noise)

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """Train under a drawn mask: no gate and no score decided it, and no gradient reaches it."""
        return replace(super().forward(table, backbone, batch, keep, noise), gate=None, score=None, mask=None)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """See `Method`."""
        return replace(super().denoise(table, backbone, batch, noise), gate=None, score=None)


class ChanceMask(nn.Module):
    """Bernoulli masks at the keep rate of a mask that chooses.

    In training, the rate is that of the previous epoch, so that no input's mask depends on the items after it: the
    method's own rate, or one `copied` from another run, which comes with a rate for scoring. In scoring without a
    copied rate, each row has the rate of its own mask.
    """

    seen: Tensor
    rate: Tensor

    def __init__(self, copied: tuple[npt.NDArray[np.float64], float] | None = None) -> None:
        super().__init__()
        self.copied = copied
        self.register_buffer("seen", torch.zeros(2, dtype=torch.float64))  # kept inputs of this epoch, and all
        self.register_buffer("rate", torch.ones((), dtype=torch.float64))  # share kept in the previous epoch

    def begin_epoch(self, epoch: int) -> None:
        """Set the rate of an epoch: the copied one, or the share kept in the previous epoch."""
        if self.copied is None:
            self.rate.copy_(torch.where(self.seen[1] > 0, self.seen[0] / self.seen[1].clamp(min=1), self.rate))
        else:
            self.rate.fill_(rate_in_epoch(self.copied[0], epoch))
        self.seen.zero_()

    def count(self, mask: Tensor, valid: Tensor) -> None:
        """Count how much the method's own mask (B, T) would have kept, for the next epoch's rate."""
        inside = valid.double()
        self.seen += torch.stack(((mask.detach().double() * inside).sum(), inside.sum()))

    def draw(self, valid: Tensor, noise: torch.Generator) -> Tensor:
        """Draw a training mask (B, T) of 1 and 0; padding gets 1."""
        return bernoulli(self.rate, valid, noise)

    def draw_for_scoring(self, wanted: Tensor, valid: Tensor, noise: torch.Generator, causal: bool) -> Tensor:
        """Draw a mask (B, T) at the copied rate, else at the row's rate in `wanted` (B, T); causal: its rate so far."""
        if self.copied is not None:
            return bernoulli(torch.as_tensor(self.copied[1], device=valid.device), valid, noise)
        kept, seen = wanted * valid, valid.to(wanted.dtype)
        if causal:
            kept, seen = kept.cumsum(1), seen.cumsum(1)
        else:
            kept, seen = kept.sum(1, keepdim=True), seen.sum(1, keepdim=True)
        return bernoulli(kept / seen.clamp(min=1), valid, noise)


class Packed(IADSR):
    """`remove: pack`: the inputs after a dropped one move up."""

    def encode(self, backbone: nn.Module, entering: Tensor, keep: Tensor, batch: Batch) -> Tensor:
        """Encode the kept inputs alone."""
        return encode_packed(backbone, entering, keep, batch)


class WithoutText(IADSR):
    """`semantic: false`: the score is the cosine of the two collaborative interests, and nothing is aligned."""

    def prepare_text(self, inputs: MethodInputs) -> None:
        """Switch the alignment off."""
        self.alignment = 0.0

    def interests(self, backbone: nn.Module, embedded: Tensor, states: Tensor, batch: Batch) -> Interests:
        """Put collaborative interests in place of the semantic ones."""
        near, far = self.collaborative(backbone, embedded, states, batch)
        return Interests(near, far, near, far, Texts({}, {}, {}))

    def judge(self, interests: Interests, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return an open gate (B, 1), and the score (B, T)."""
        short, long = (
            F.normalize(part, dim=-1) for part in (interests.collaborative_short, interests.collaborative_long)
        )
        score = (short * long).sum(-1)
        return torch.ones_like(score[:, :1], dtype=torch.bool), score - self.threshold(score, batch.valid)


class MeanThreshold(IADSR):
    """`threshold: mean`: a score must reach the mean of its input; causal: of the positions so far."""

    def threshold(self, score: Tensor, valid: Tensor) -> Tensor:
        """Average the scores: (B, 1), or (B, T) if causal."""
        summed = score * valid
        if self.causal:
            return summed.cumsum(1) / valid.cumsum(1).clamp(min=1)
        return summed.sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp(min=1)


class QuantileThreshold(IADSR):
    """`threshold: quantile`: a score must reach a quantile of its input; causal: of the positions so far.

    The quantile is one of the scores, so that short inputs lose no position.
    """

    def __init__(self, inputs: MethodInputs, options: IADSROptions) -> None:
        super().__init__(inputs, options)
        self.quantile = options.quantile

    def threshold(self, score: Tensor, valid: Tensor) -> Tensor:
        """Take the quantile of the scores: (B, 1), or (B, T) if causal."""
        hidden = score.masked_fill(~valid, torch.nan)
        if not self.causal:
            return torch.nanquantile(hidden, self.quantile, dim=1, keepdim=True, interpolation="lower")
        time = score.shape[1]
        later = torch.ones(time, time, dtype=torch.bool, device=score.device).triu(1)
        so_far = hidden.unsqueeze(1).expand(-1, time, -1).masked_fill(later, torch.nan)
        return torch.nanquantile(so_far, self.quantile, dim=2, interpolation="lower").nan_to_num()


class LearnedThreshold(IADSR):
    """`threshold: learned`: a bias."""

    def __init__(self, inputs: MethodInputs, options: IADSROptions) -> None:
        super().__init__(inputs, options)
        self.bias = nn.Parameter(torch.zeros(()))

    def threshold(self, score: Tensor, valid: Tensor) -> Tensor:
        """Return the bias, ()."""
        return self.bias


class RecentTexts(IADSR):
    """`short: window`: the short semantic interest is the mean of recent texts."""

    def semantic_short(self, texts: Texts, batch: Batch) -> Tensor:
        """Average each position's recent texts: (B, T, W)."""
        short = super().semantic_short(texts, batch)
        return recent_mean(short * batch.valid.unsqueeze(-1), batch.valid)


class LargestTexts(IADSR):
    """`long: max`: the long semantic interest is the maximum of the texts."""

    def pool_texts(self, texts: Tensor, inside: Tensor) -> Tensor:
        """Take the maximum of the texts: (B, 1, W), or (B, T, W) if causal."""
        return max_over(texts, inside, self.causal)


class JoinedTexts(IADSR):
    """`interest_text: prefixes`: a position's text holds all names up to it, so the last one is the long interest."""

    def pool_texts(self, texts: Tensor, inside: Tensor) -> Tensor:
        """Take the last valid text, (B, 1, W), or each position's own if causal, (B, T, W)."""
        if self.causal:
            return texts
        steps = torch.arange(1, inside.shape[1] + 1, device=inside.device)
        return last_states(texts, (inside * steps).amax(1)).unsqueeze(1)


class SharedProjection(IADSR):
    """`shared_projection`: one projection of the text for short and for long interests."""

    projections = 1

    def split_projection(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Use the projections (M, W) twice."""
        return projected, projected


class LongRowsByPosition(IADSR):
    """`long_rows: position`: under scope `causal`, the long interests of every drawn position are aligned."""

    def long_pairs(self, interests: Interests, batch: Batch, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Select the long interests (M, W) of the `chosen` (M,) positions, and their users (M,)."""
        if not self.causal:
            return super().long_pairs(interests, batch, chosen)
        places = batch.inside[chosen]
        far, far_semantic = (
            long.flatten(0, 1)[places] for long in (interests.collaborative_long, interests.semantic_long)
        )
        return far, far_semantic, batch.users[places // batch.items.shape[1]]


class RelativeError(IADSR):
    """`reconstruction_error: relative`: squared error over the mean square of the embeddings.

    These start with a standard deviation of 0.02: the error itself would be a thousandth of the other losses, and so
    would its gradient be. Not over their variance, which is 0 where a single position passes the gate.
    """

    def reconstruction_error(self, decoded: Tensor, embedded: Tensor, inside: Tensor) -> Tensor:
        """Divide the squared error (B, T) by the embeddings' mean square."""
        return super().reconstruction_error(decoded, embedded, inside) / mean_square(embedded, inside)


CHOICES: dict[tuple[str, Any], type[IADSR]] = {
    ("mask", "soft"): SoftMask,
    ("mask", "none"): NoMask,
    ("mask", "random"): RandomMask,
    ("remove", "pack"): Packed,
    ("semantic", False): WithoutText,
    ("threshold", "mean"): MeanThreshold,
    ("threshold", "quantile"): QuantileThreshold,
    ("threshold", "learned"): LearnedThreshold,
    ("short", "window"): RecentTexts,
    ("long", "max"): LargestTexts,
    ("interest_text", "prefixes"): JoinedTexts,
    ("shared_projection", True): SharedProjection,
    ("long_rows", "position"): LongRowsByPosition,
    ("reconstruction_error", "relative"): RelativeError,
}


def build(inputs: MethodInputs, options: IADSROptions) -> IADSR:
    """Build IADSR with the options' choices and defects, where both override a step with the choice's."""
    chosen = [part for (name, value), part in CHOICES.items() if getattr(options, name) == value]
    parts = [*chosen, *(DEFECTS[name] for name in options.defects)]
    asked = frozenset(name for part in parts for name in part.asks_for)
    kind: type[IADSR] = type("IADSR", (*parts, IADSR), {"asks_for": asked})
    return kind(inputs, options)


@torch.no_grad()
def mean_square(embedded: Tensor, inside: Tensor) -> Tensor:
    """Average the squares of embeddings (B, T, D) over the positions `inside` (B, T): (), above 0."""
    weight = inside.unsqueeze(-1).to(embedded.dtype)
    total = (embedded.square() * weight).sum()
    return (total / (weight.sum() * embedded.shape[-1]).clamp(min=1)).clamp(min=1e-12)


def recent_mean(x: Tensor, valid: Tensor) -> Tensor:
    """Average each position's `_RECENT` latest valid rows, itself among them; x (B, T, W) is zero where not valid."""
    count = valid.unsqueeze(-1).cumsum(1).to(x.dtype)
    summed = x.cumsum(1)
    past = F.pad(summed, (0, 0, _RECENT, 0))[:, : x.shape[1]]
    counted = F.pad(count, (0, 0, _RECENT, 0))[:, : x.shape[1]]
    return (summed - past) / (count - counted).clamp(min=1)
