"""IADSR, variant `paper` (arXiv 2510.04239): drop inputs on which text and behaviour disagree.

Interests (B, T, D). Semantic: the projected text embedding at t (short) and its mean over the input (long).
Collaborative: the backbone's state at t (short) and its maximum over the input (long). The paper leaves their
construction open and the release lacks the step that made the semantic ones: these are this project's assumptions.

A sequence whose long interests agree, cos > theta, passes the gate; each of its positions is then kept with
probability sigmoid of the sum of three cosines (section 3.4). What one epoch drops is zeroed in the next epoch's
input (progressive denoising, which the release never reaches: R1); at test time a position is kept where its score is
positive, and the sequence is encoded again without the dropped ones.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.methods.masks import gumbel_sigmoid, info_nce
from iadsr.methods.method import Batch, Context, Encoded, Method

_NEVER = -1e9  # below every state: a padded position never wins a maximum


class Interests(NamedTuple):
    """Short ones are (B, T, D); long ones too under scope `causal`, else (B, 1, D)."""

    semantic_short: Tensor
    semantic_long: Tensor
    collaborative_short: Tensor
    collaborative_long: Tensor


class IADSR(Method):
    """See the module's text."""

    remembers = True
    text: Tensor

    def __init__(
        self,
        context: Context,
        theta: float,
        temperature: float,
        alignment: float,
        alignment_temperature: float,
        alignment_rows: int,
        reconstruction: float,
        scope: Literal["sequence", "causal"],
    ) -> None:
        super().__init__()
        if context.text is None:
            raise ValueError("iadsr needs text embeddings")
        self.theta, self.temperature = theta, temperature
        self.alignment, self.alignment_temperature = alignment, alignment_temperature
        self.alignment_rows, self.reconstruction = alignment_rows, reconstruction
        self.causal = scope == "causal"
        width = context.dimension
        self.register_buffer("text", context.text, persistent=False)
        self.project = nn.Linear(context.text.shape[1], 2 * width, bias=False)  # short and long, side by side
        self.decode = nn.Linear(width, width)

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: Batch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """See `Method`."""
        embedded: Tensor = table(batch.items)
        states = backbone(embedded * keep.unsqueeze(-1), batch.lengths)
        interests = self.interests(states, batch)
        gate, score = self.judge(interests)
        valid = batch.valid.to(states.dtype)
        sampled = gumbel_sigmoid(score, self.temperature, noise)
        mask = torch.where(gate, sampled, torch.ones_like(sampled))
        losses = {}
        if self.alignment > 0:
            losses["alignment"] = self.alignment * self.align(interests, batch, noise)
        if self.reconstruction > 0:
            decoded = self.decode(states * mask.unsqueeze(-1))
            error = (decoded - embedded).square().mean(-1) * valid * gate
            losses["reconstruction"] = self.reconstruction * error.sum() / (valid * gate).sum().clamp(min=1)
        return Encoded(states, losses, mask.detach(), gate.expand_as(score), score.detach())

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """See `Method`. Deterministic: a position past the gate is kept where its score is positive."""
        embedded: Tensor = table(batch.items)
        states = backbone(embedded, batch.lengths)
        gate, score = self.judge(self.interests(states, batch))
        keep = torch.where(gate, score > 0, torch.ones_like(score, dtype=torch.bool))
        changed = (batch.valid & ~keep).any(1)
        if bool(changed.any()):
            denoised = embedded[changed] * keep[changed].unsqueeze(-1)
            states = states.index_put((changed,), backbone(denoised, batch.lengths[changed]))
        return Encoded(states, {}, keep.to(states.dtype), gate.expand_as(score), score)

    def interests(self, states: Tensor, batch: Batch) -> Interests:
        """The four interests of each position; padding enters none of them."""
        short, long = self._projected(batch.items, waits=batch.items.device.type != "cpu").chunk(2, dim=-1)
        valid = batch.valid.unsqueeze(-1)
        summed = long * valid
        reachable = states.masked_fill(~valid, _NEVER)
        if self.causal:
            steps = torch.arange(1, states.shape[1] + 1, device=states.device, dtype=states.dtype)
            return Interests(short, summed.cumsum(1) / steps.view(1, -1, 1), states, reachable.cummax(1).values)
        mean = summed.sum(1, keepdim=True) / batch.lengths.view(-1, 1, 1)
        return Interests(short, mean, states, reachable.amax(1, keepdim=True))

    def judge(self, interests: Interests) -> tuple[Tensor, Tensor]:
        """Gate, (B, T) or (B, 1) bool, and noise score, (B, T): the sum of three cosines (section 3.4)."""
        short_semantic, long_semantic, short, long = (F.normalize(interest, dim=-1) for interest in interests)
        gate = (long_semantic * long).sum(-1) > self.theta
        # cos(sl, h) + cos(cl, ss) + cos(h, ss) with unit vectors, in two inner products
        score = ((long_semantic + short_semantic) * short).sum(-1) + (long * short_semantic).sum(-1)
        return gate, score

    def align(self, interests: Interests, batch: Batch, noise: torch.Generator) -> Tensor:
        """InfoNCE between the modalities, long and short, over rows drawn from the valid positions."""
        rows = batch.inside
        if len(rows) > self.alignment_rows:
            rows = rows[torch.randperm(len(rows), generator=noise, device=rows.device)[: self.alignment_rows]]
        semantic, collaborative = (
            (short.flatten(0, 1)[rows], long.flatten(0, 1)[rows] if self.causal else long.squeeze(1))
            for short, long in (interests[:2], interests[2:])
        )
        short_loss, long_loss = (
            info_nce(left, right, self.alignment_temperature)
            for left, right in zip(semantic, collaborative, strict=True)
        )
        return short_loss + long_loss

    def _projected(self, items: Tensor, waits: bool) -> Tensor:
        """(B, T, 2 D) projected text of each position, each distinct item once.

        Where finding the distinct items makes the host wait for the device, through the catalogue or position by
        position, whichever is the smaller product.
        """
        if not waits:
            distinct, place = torch.unique(items, return_inverse=True)
            return F.embedding(place, self.project(self.text[distinct]))
        if len(self.text) < items.numel():
            return F.embedding(items, self.project(self.text))
        projected: Tensor = self.project(self.text[items])
        return projected


def build(
    context: Context,
    theta: float,
    temperature: float,
    alignment: float,
    alignment_temperature: float,
    alignment_rows: int,
    reconstruction: float,
    scope: Literal["sequence", "causal"],
) -> IADSR:
    """See `iadsr.core.config.IADSROptions`."""
    return IADSR(context, theta, temperature, alignment, alignment_temperature, alignment_rows, reconstruction, scope)
