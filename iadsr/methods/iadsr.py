"""IADSR (arXiv 2510.04239): drop inputs on which text and behaviour disagree.

Interests (B, T, W). Semantic: the projected embedding of the item's name at t (short) and its mean over the input
(long); with `interest_text: prefixes`, as in a script recovered from a third party, that of the names up to t joined
(short) and of all names up to the last input joined (long; the history before a cut input counts too). Collaborative:
the backbone's state at t (short) and its maximum over the input (long). The paper leaves their construction open and
the release lacks the step that made the semantic ones: these are assumptions, each with an option that tries another.

A sequence whose long interests agree, cos > theta, passes the gate; each of its positions is then kept with
probability sigmoid of the sum of three cosines (section 3.4). What one epoch drops is zeroed in the next epoch's
input (progressive denoising, which the release never reaches: R1); at test time a position is dropped where its score
is negative, and the sequence is encoded again without the dropped ones. `defects` brings back, one by one, what the
release does instead: each stands in the code under its number.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.config.fields import Remove
from iadsr.methods.masks import (
    bernoulli,
    encode_kept,
    encode_packed,
    gumbel_noise,
    harden,
    info_nce,
    logistic_noise,
    soft_sample,
)
from iadsr.methods.method import Batch, Context, Encoded, Method, Untrainable
from iadsr.models.backbone import last_states

_NEVER = -1e9  # below every state: a padded position never wins a maximum
_RECENT = 5  # items in a short interest that is a window


@runtime_checkable
class OwnInterests(Protocol):
    """A backbone whose interests are not its states: the release's Caser."""

    def interests(self, embedded: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Short (B, T, W) and long (B, 1, W) interests."""
        ...


class Interests(NamedTuple):
    """Short ones are (B, T, W); long ones too under scope `causal`, else (B, 1, W). None without text.

    `semantic_paired` is (N, W), what is aligned with each valid position where that is not its own short interest (R5).
    """

    semantic_short: Tensor | None
    semantic_long: Tensor | None
    collaborative_short: Tensor
    collaborative_long: Tensor
    semantic_paired: Tensor | None = None


class ChanceMask(nn.Module):
    """As many inputs dropped as a mask that chooses would drop, by chance.

    In training at the rate of the whole epoch before, so that no input's mask depends on what stands behind it: the
    method's own, or one `copied` from another run, which comes with a rate in scoring. In scoring, without a copied
    rate, each row loses as many inputs as the method itself would drop of it.
    """

    seen: Tensor
    rate: Tensor

    def __init__(self, copied: tuple[Any, float] | None = None) -> None:
        super().__init__()
        self.copied = copied
        self.register_buffer("seen", torch.zeros(2, dtype=torch.float64))  # kept inputs of this epoch, and all
        self.register_buffer("rate", torch.ones((), dtype=torch.float64))  # share kept in the epoch before

    def begin_epoch(self, epoch: int) -> None:
        """What was counted becomes the rate, unless that is copied."""
        if self.copied is None:
            self.rate.copy_(torch.where(self.seen[1] > 0, self.seen[0] / self.seen[1].clamp(min=1), self.rate))
        else:
            rates, _ = self.copied
            self.rate.fill_(1.0 if epoch == 1 else float(rates[min(epoch - 2, len(rates) - 1)]))
        self.seen.zero_()

    def count(self, mask: Tensor, valid: Tensor) -> None:
        """Add a (B, T) mask that the method would have drawn."""
        inside = valid.double()
        self.seen += torch.stack(((mask.detach().double() * inside).sum(), inside.sum()))

    def draw(self, valid: Tensor, noise: torch.Generator) -> Tensor:
        """(B, T) 1 or 0 for training; padding stays."""
        return bernoulli(self.rate, valid, noise)

    def draw_for_scoring(self, wanted: Tensor, valid: Tensor, noise: torch.Generator, causal: bool) -> Tensor:
        """(B, T) 1 or 0, unless a rate is copied at the rate of `wanted` (B, T): of its row, or of its row so far."""
        if self.copied is not None:
            return bernoulli(torch.as_tensor(self.copied[1], device=valid.device), valid, noise)
        kept, inputs = wanted * valid, valid.to(wanted.dtype)
        if causal:
            kept, inputs = kept.cumsum(1), inputs.cumsum(1)
        else:
            kept, inputs = kept.sum(1, keepdim=True), inputs.sum(1, keepdim=True)
        return bernoulli(kept / inputs.clamp(min=1), valid, noise)


class IADSR(Method):
    """See the module's text."""

    text: Tensor

    def __init__(
        self,
        context: Context,
        defects: Collection[str],
        theta: float,
        temperature: float,
        alignment: float,
        alignment_temperature: float,
        alignment_rows: int,
        long_rows: Literal["sequence", "position"],
        equal_negatives: bool,
        reconstruction: float,
        reconstruction_error: Literal["relative", "squared"],
        mask: Literal["hard", "soft", "random", "none"],
        match: str | None,
        remove: Remove,
        semantic: bool,
        interest_text: Literal["items", "prefixes"],
        threshold: Literal["zero", "mean", "quantile", "learned"],
        quantile: float,
        short: Literal["item", "window"],
        long: Literal["mean", "max"],
        shared_projection: bool,
        scope: Literal["sequence", "causal"],
    ) -> None:
        super().__init__()
        if semantic and context.text is None:
            raise ValueError("iadsr needs text embeddings")
        self.defects = frozenset(defects)
        self.theta, self.temperature = theta, temperature
        self.alignment, self.alignment_temperature = alignment if semantic else 0.0, alignment_temperature
        self.alignment_rows, self.reconstruction = alignment_rows, reconstruction
        self.relative = reconstruction_error == "relative"
        self.long_rows, self.equal_negatives = long_rows, equal_negatives
        self.mask, self.remove, self.threshold, self.quantile = mask, remove, threshold, quantile
        self.joined = interest_text == "prefixes"
        self.semantic, self.short, self.long, self.shared_projection = semantic, short, long, shared_projection
        self.causal = scope == "causal"
        self.masks = mask != "none"
        self.remembers = self.masks and mask != "random" and "R1" not in self.defects
        copied = (context.keep_rates, context.test_keep_rate) if match else None
        self.chance = ChanceMask(copied) if mask == "random" else None
        self.mispairs = semantic and "R5" in self.defects
        self.sees_target = semantic and "R11" in self.defects
        width = context.width
        if semantic:
            assert context.text is not None
            self.register_buffer("text", context.text, persistent=False)
            # short and long, side by side
            self.project = nn.Linear(context.text.shape[1], width if shared_projection else 2 * width, bias=False)
        self.decode = None if "R7" in self.defects else nn.Linear(width, context.dimension)
        if threshold == "learned":
            self.bias = nn.Parameter(torch.zeros(()))

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: Batch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """See `Method`."""
        embedded: Tensor = table(batch.items)
        if self.chance is not None:
            keep = self.chance.draw(batch.valid, noise)
        enters = self.masks and "R1" not in self.defects
        entering = embedded * keep.unsqueeze(-1) if enters else embedded
        if enters and self.remove == "pack":
            states = encode_packed(backbone, embedded, keep, batch)
        else:
            states = backbone(entering, batch.lengths, batch.users)
        interests = self.interests(backbone, entering, states, batch)
        gate, score = self.judge(interests, batch)
        mask = self.sample(gate, score, noise)
        if self.chance is not None:
            self.chance.count(mask, batch.valid)
            mask = self.chance.draw(batch.valid, noise)
        losses: dict[str, Tensor] = {}
        traced: dict[str, Tensor] = {}
        if self.alignment > 0:
            aligned, traced = self.align(interests, batch, noise)
            losses["alignment"] = self.alignment * aligned
        if self.reconstruction > 0:
            kept = interests.collaborative_short * mask.unsqueeze(-1)
            losses["reconstruction"] = self.reconstruction * self.reconstruct(kept, embedded, gate & batch.valid)
        if not self.masks:
            return Encoded(states, losses, score=score.detach(), traced=traced)
        if self.chance is not None:
            return Encoded(states, losses, mask, traced=traced)
        return Encoded(states, losses, mask.detach(), gate.expand_as(score), score.detach(), mask, traced)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """See `Method`. Deterministic: a position past the gate is dropped where its score is negative."""
        embedded: Tensor = table(batch.items)
        states = backbone(embedded, batch.lengths, batch.users)
        gate, score = self.judge(self.interests(backbone, embedded, states, batch), batch)
        if not self.masks:
            return Encoded(states, score=score)
        if "R2" in self.defects:
            return Encoded(states, {}, torch.ones_like(score), gate.expand_as(score), score)
        if self.chance is not None:
            keep = self.chance.draw_for_scoring(self.wanted(gate, score, batch.valid), batch.valid, noise, self.causal)
        else:
            keep = self.wanted(gate, score, batch.valid)
        changed = (keep < 1).any(1)
        if bool(changed.any()):
            again = encode_kept(backbone, embedded[changed], keep[changed], batch.select(changed), self.remove)
            states = states.index_put((changed,), again)
        if self.chance is not None:
            return Encoded(states, {}, keep)
        return Encoded(states, {}, keep, gate.expand_as(score), score)

    def begin_epoch(self, epoch: int) -> None:
        """See `Method`."""
        if self.chance is not None:
            self.chance.begin_epoch(epoch)

    def wanted(self, gate: Tensor, score: Tensor, valid: Tensor) -> Tensor:
        """(B, T) what is kept where nothing is drawn: below 1 only past the gate."""
        passed = torch.sigmoid(score / self.temperature) if self.mask == "soft" else (score >= 0).to(score.dtype)
        return torch.where(gate & valid, passed, torch.ones_like(passed))

    def sampled_keep(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Tensor:
        """(B, T) masks drawn as in training, for inputs that nobody trains on."""
        if self.chance is not None:
            return self.chance.draw(batch.valid, noise)
        embedded: Tensor = table(batch.items)
        states = backbone(embedded, batch.lengths, batch.users)
        return self.sample(*self.judge(self.interests(backbone, embedded, states, batch), batch), noise)

    def interests(self, backbone: nn.Module, embedded: Tensor, states: Tensor, batch: Batch) -> Interests:
        """The four interests of each position; padding enters none of them, unless the network takes it for input."""
        if isinstance(backbone, OwnInterests):
            near, far = backbone.interests(embedded, states)
        else:
            steps = torch.arange(states.shape[1], device=states.device)
            reachable = states.masked_fill((steps >= batch.lengths.unsqueeze(1)).unsqueeze(-1), _NEVER)
            near, far = states, reachable.cummax(1).values if self.causal else reachable.amax(1, keepdim=True)
        if not self.semantic:
            return Interests(None, None, near, far)
        wanted = {"own": batch.text_rows.flatten()}
        if batch.judged is not None and batch.paired is not None:
            wanted |= {"judged": batch.judged.flatten(), "paired": batch.paired}
        if batch.target_text is not None:
            wanted["target"] = batch.target_text
        projected = self._projected(torch.cat(list(wanted.values())))  # one product for all
        sizes = [len(rows) for rows in wanted.values()]
        shorts, longs = (dict(zip(wanted, torch.split(part, sizes), strict=True)) for part in projected)
        short, long = shorts.get("judged", shorts["own"]).view_as(near), longs["own"].view_as(near)
        if self.short == "window":
            short = _recent_mean(short * batch.valid.unsqueeze(-1), batch.valid)
        return Interests(short, self._long_text(long, longs.get("target"), batch), near, far, shorts.get("paired"))

    def judge(self, interests: Interests, batch: Batch) -> tuple[Tensor, Tensor]:
        """Gate, (B, T) or (B, 1) bool, and score, (B, T): the sum of three cosines (section 3.4) less a threshold."""
        short, long = (
            F.normalize(interests.collaborative_short, dim=-1),
            F.normalize(interests.collaborative_long, dim=-1),
        )
        if interests.semantic_short is None or interests.semantic_long is None:
            score = (short * long).sum(-1)
            gate = torch.ones_like(score[:, :1], dtype=torch.bool)
            return gate, score - self._threshold(score, batch.valid)
        short_semantic = F.normalize(interests.semantic_short, dim=-1)
        long_semantic = F.normalize(interests.semantic_long, dim=-1)
        agreement = (long_semantic * long).sum(-1)
        gate = torch.ones_like(agreement, dtype=torch.bool) if "R3" in self.defects else agreement > self.theta
        # cos(sl, h) + cos(cl, ss) + cos(h, ss) with unit vectors, in two inner products
        score = ((long_semantic + short_semantic) * short).sum(-1) + (long * short_semantic).sum(-1)
        return gate, score - self._threshold(score, batch.valid)

    def sample(self, gate: Tensor, score: Tensor, noise: torch.Generator) -> Tensor:
        """(B, T) a training step's mask: sampled past the gate, 1 elsewhere."""
        if not self.masks:
            return torch.ones_like(score)
        drawn = (gumbel_noise if "R4" in self.defects else logistic_noise)(score, noise)
        soft = soft_sample(score, drawn, self.temperature)
        return torch.where(gate, soft if self.mask == "soft" else harden(soft), torch.ones_like(soft))

    def reconstruct(self, kept: Tensor, embedded: Tensor, inside: Tensor) -> Tensor:
        """Squared error of decoded masked states against embeddings, averaged within a row, then over rows.

        Relative to the mean square of those embeddings, unless `squared`: they start with a standard deviation of 0.02,
        so that the error itself would be a thousandth of the other losses, and so would be its pull at the mask. Not to
        their variance, which is 0 where one position alone passes the gate.

        Args:
            kept: (B, T, W).
            embedded: (B, T, D).
            inside: (B, T) which positions count.
        """
        if self.decode is None:
            raise Untrainable("as released, Caser has no decoder: its first step ends in an error (R7)")
        error = (self.decode(kept) - embedded).square().mean(-1) * inside
        positions = inside.sum(1)
        if self.relative:
            error = error / mean_square(embedded, inside)
        total: Tensor = (error.sum(1) / positions.clamp(min=1)).sum()
        return total if "R6" in self.defects else total / (positions > 0).sum().clamp(min=1)

    def align(self, interests: Interests, batch: Batch, noise: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """InfoNCE from collaborative to semantic, short and long, over rows drawn from the valid positions.

        Returns:
            The sum of both terms; and mean cosines of matched and of unmatched short pairs.
        """
        assert interests.semantic_short is not None
        assert interests.semantic_long is not None
        chosen = torch.arange(len(batch.inside), device=batch.inside.device)
        if len(chosen) > self.alignment_rows:
            chosen = torch.randperm(len(chosen), generator=noise, device=chosen.device)[: self.alignment_rows]
        rows = batch.inside[chosen]
        if interests.semantic_paired is None or batch.paired is None:
            semantic, texts = interests.semantic_short.flatten(0, 1)[rows], batch.text_rows.flatten()[rows]
        else:
            semantic, texts = interests.semantic_paired[chosen], batch.paired[chosen]
        collaborative = interests.collaborative_short.flatten(0, 1)[rows]
        by_position = self.causal and self.long_rows == "position"
        far, far_semantic = (
            long.flatten(0, 1)[rows] if by_position else last_states(long, batch.lengths.clamp(max=long.shape[1]))
            for long in (interests.collaborative_long, interests.semantic_long)
        )
        users = batch.users[rows // batch.items.shape[1]] if by_position else batch.users
        same = (None, None) if self.equal_negatives else (texts, users)
        loss = info_nce(collaborative, semantic, self.alignment_temperature, same[0])
        loss = loss + info_nce(far, far_semantic, self.alignment_temperature, same[1])
        return loss, _cosines(collaborative, semantic)

    def _threshold(self, score: Tensor, valid: Tensor) -> Tensor:
        """(B, T), (B, 1) or (): what a score must reach; under scope `causal`, from the positions so far.

        A quantile is one of the scores, so that an input with few positions loses none of them.
        """
        if self.threshold == "zero":
            return score.new_zeros(())
        if self.threshold == "learned":
            return self.bias
        if self.threshold == "mean":
            summed = score * valid
            if self.causal:
                return summed.cumsum(1) / valid.cumsum(1).clamp(min=1)
            return summed.sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp(min=1)
        hidden = score.masked_fill(~valid, torch.nan)
        if not self.causal:
            return torch.nanquantile(hidden, self.quantile, dim=1, keepdim=True, interpolation="lower")
        time = score.shape[1]
        later = torch.ones(time, time, dtype=torch.bool, device=score.device).triu(1)
        so_far = hidden.unsqueeze(1).expand(-1, time, -1).masked_fill(later, torch.nan)
        return torch.nanquantile(so_far, self.quantile, dim=2, interpolation="lower").nan_to_num()

    def _long_text(self, long: Tensor, target: Tensor | None, batch: Batch) -> Tensor:
        """The long semantic interest, (B, T, W) under scope `causal`, else (B, 1, W).

        Args:
            long: (B, T, W) projected text of each position.
            target: (B, W) that of each sample's target, which belongs to the long text under R11; else None.
        """
        if self.joined:  # a position's text holds all names up to it, so nothing is left to pool
            if self.causal:
                return long
            return (last_states(long, batch.lengths) if target is None else target).unsqueeze(1)
        inside = batch.valid.unsqueeze(-1)
        if target is not None:
            long = torch.cat((long, target.unsqueeze(1)), dim=1)
            inside = F.pad(inside, (0, 0, 0, 1), value=True)
        if self.long == "max":
            reachable = long.masked_fill(~inside, _NEVER)
            return reachable.cummax(1).values if self.causal else reachable.amax(1, keepdim=True)
        summed = long * inside
        if self.causal:
            return summed.cumsum(1) / inside.cumsum(1).clamp(min=1)
        return summed.sum(1, keepdim=True) / inside.sum(1, keepdim=True)

    def _projected(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(…, W) projected rows of the text table, for short and for long interests."""
        projected = project_texts(self.project, self.text, rows, waits=rows.device.type != "cpu")
        if self.shared_projection:
            return projected, projected
        short, long = projected.chunk(2, dim=-1)
        return short, long


def project_texts(project: nn.Module, text: Tensor, rows: Tensor, waits: bool) -> Tensor:
    """(…) rows of the text table to their projections, each distinct row once.

    Where finding the distinct rows makes the host wait for the device, through the whole table or position by position,
    whichever is the smaller product.
    """
    if not waits:
        distinct, place = torch.unique(rows, return_inverse=True)
        return F.embedding(place, project(text[distinct]))
    if len(text) < rows.numel():
        return F.embedding(rows, project(text))
    projected: Tensor = project(text[rows])
    return projected


@torch.no_grad()
def mean_square(embedded: Tensor, inside: Tensor) -> Tensor:
    """() mean square of (B, T, D) embeddings over the (B, T) positions that count, above 0 whatever their number."""
    weight = inside.unsqueeze(-1).to(embedded.dtype)
    total = (embedded.square() * weight).sum()
    return (total / (weight.sum() * embedded.shape[-1]).clamp(min=1)).clamp(min=1e-12)


def _recent_mean(x: Tensor, valid: Tensor) -> Tensor:
    """(B, T, W) zero where not valid: the mean of each position's `_RECENT` latest valid ones, itself among them."""
    count = valid.unsqueeze(-1).cumsum(1).to(x.dtype)
    summed = x.cumsum(1)
    past = F.pad(summed, (0, 0, _RECENT, 0))[:, : x.shape[1]]
    counted = F.pad(count, (0, 0, _RECENT, 0))[:, : x.shape[1]]
    return (summed - past) / (count - counted).clamp(min=1)


def _cosines(left: Tensor, right: Tensor) -> dict[str, Tensor]:
    """Mean cosine of rows that match, and of all other pairs of rows."""
    left, right = F.normalize(left.detach(), dim=-1), F.normalize(right.detach(), dim=-1)
    rows = len(left)
    matched = (left * right).sum(-1).mean()
    every = left.mean(0) @ right.mean(0)
    return {"cosine_matched": matched, "cosine_unmatched": (rows * every - matched) / max(rows - 1, 1)}


build = IADSR  # its options are `iadsr.methods.iadsr_options.IADSROptions`, less what the run itself sees to
