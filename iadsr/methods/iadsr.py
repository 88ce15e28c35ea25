"""IADSR (arXiv 2510.04239), sections 3.2 to 3.5: drop inputs on which text and behaviour disagree.

Shapes: B rows, T positions, D item embedding, W state, E text embedding. The paper leaves the construction of interests
open; here the short semantic interest is the projected embedding of the item's name, the long one its mean over the
input, the short collaborative interest is the backbone's state, the long one its maximum over the input. Other choices
are in `iadsr_choices`, the departures of the authors' release in `defects`; each is a subclass that overrides one step.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.methods.cutoff import Cutoff
from iadsr.methods.iadsr_options import IADSROptions
from iadsr.methods.masks import harden, info_nce, logistic_noise, soft_sample
from iadsr.methods.method import Batch, Encoded, Method, MethodInputs, TrainingBatch
from iadsr.models.backbone import last_states

_NEVER = -1e9  # below every state: a padded position never wins a maximum


@runtime_checkable
class OwnInterests(Protocol):
    """A backbone with interests other than its states: the release's Caser."""

    def interests(self, embedded: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return the collaborative interests: short (B, T, W) and long (B, 1, W)."""
        ...


class Texts(NamedTuple):
    """Text-table rows (M,) and their projections (M, W), each by use: `inputs` (B * T), and those a defect adds."""

    rows: dict[str, Tensor]
    short: dict[str, Tensor]
    long: dict[str, Tensor]


class Interests(NamedTuple):
    """The four interests of each position: short (B, T, W); long (B, 1, W), or (B, T, W) under scope `causal`."""

    semantic_short: Tensor
    semantic_long: Tensor
    collaborative_short: Tensor
    collaborative_long: Tensor
    texts: Texts


class IADSR(Method):
    """The method as the paper tells it, with the choices described at the top of this module."""

    has_mask = True
    remembers = True
    projections = 2  # of the text: for short interests, and for long ones
    text: Tensor
    cutoff: Cutoff  # theta

    def __init__(self, inputs: MethodInputs, options: IADSROptions) -> None:
        super().__init__()
        self.cutoff, self.temperature = Cutoff(options.theta), options.temperature
        self.alignment, self.alignment_temperature = options.alignment, options.alignment_temperature
        self.alignment_rows, self.equal_negatives = options.alignment_rows, options.equal_negatives
        self.reconstruction = options.reconstruction
        self.causal = options.scope == "causal"
        self.prepare_text(inputs)
        self.decode = nn.Linear(inputs.width, inputs.dimension)

    def prepare_text(self, inputs: MethodInputs) -> None:
        """Store the text embeddings (section 3.2) and create their projections, short and long side by side.

        Raises:
            ValueError: there are no text embeddings.
        """
        if inputs.text is None:
            raise ValueError("iadsr needs text embeddings")
        self.register_buffer("text", inputs.text, persistent=False)
        self.project = nn.Linear(inputs.text.shape[1], self.projections * inputs.width, bias=False)

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """Encode inputs under the previous epoch's mask (progressive denoising), and draw the next; see `Method`."""
        embedded: Tensor = table(batch.items)
        incoming = self.incoming_mask(keep, batch, noise)
        entering = embedded * incoming.unsqueeze(-1)
        states = self.encode(backbone, entering, incoming, batch)
        interests = self.interests(backbone, entering, states, batch)
        gate, score = self.judge(interests, batch)
        mask = self.outgoing_mask(self.sample(gate, score, noise), batch, noise)
        losses: dict[str, Tensor] = {}
        traced: dict[str, Tensor] = {}
        if self.alignment > 0:
            aligned, traced = self.align(interests, batch, noise)
            losses["alignment"] = self.alignment * aligned
        if self.reconstruction > 0:
            kept = interests.collaborative_short * mask.unsqueeze(-1)
            losses["reconstruction"] = self.reconstruction * self.reconstruct(kept, embedded, gate & batch.valid)
        return Encoded(states, losses, mask.detach(), gate.expand_as(score), score.detach(), mask, traced)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """Drop inputs past the gate with a negative score, and encode the others again; see `Method`."""
        embedded: Tensor = table(batch.items)
        states = backbone(embedded, batch.lengths, batch.users)
        gate, score = self.judge(self.interests(backbone, embedded, states, batch), batch)
        keep = self.scoring_mask(gate, score, batch, noise)
        changed = (keep < 1).any(1)
        if bool(changed.any()):
            entering = embedded[changed] * keep[changed].unsqueeze(-1)
            again = self.encode(backbone, entering, keep[changed], batch.select(changed))
            states = states.index_put((changed,), again)
        return Encoded(states, {}, keep, gate.expand_as(score), score)

    def sample_mask(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Tensor:
        """See `Method`."""
        embedded: Tensor = table(batch.items)
        states = backbone(embedded, batch.lengths, batch.users)
        return self.sample(*self.judge(self.interests(backbone, embedded, states, batch), batch), noise)

    def encode(self, backbone: nn.Module, entering: Tensor, keep: Tensor, batch: Batch) -> Tensor:
        """Encode embeddings (B, T, D), already zeroed where `keep` (B, T) is 0, as states (B, T, W)."""
        states: Tensor = backbone(entering, batch.lengths, batch.users)
        return states

    # Section 3.3: interests

    def interests(self, backbone: nn.Module, embedded: Tensor, states: Tensor, batch: Batch) -> Interests:
        """Compute the four interests of each position. Padding enters them only where the network encodes it."""
        near, far = self.collaborative(backbone, embedded, states, batch)
        texts = self.project_texts(batch)
        return Interests(self.semantic_short(texts, batch), self.semantic_long(texts, batch), near, far, texts)

    def collaborative(
        self, backbone: nn.Module, embedded: Tensor, states: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Return the short and long collaborative interests: the states, and their maximum over the input."""
        if isinstance(backbone, OwnInterests):
            return backbone.interests(embedded, states)
        encoded = torch.arange(states.shape[1], device=states.device) < batch.lengths.unsqueeze(1)
        return states, max_over(states, encoded, self.causal)

    def semantic_short(self, texts: Texts, batch: Batch) -> Tensor:
        """Return the short semantic interest (B, T, W): each position's own text."""
        return texts.short["inputs"].view(*batch.items.shape, -1)

    def semantic_long(self, texts: Texts, batch: Batch) -> Tensor:
        """Pool the input's texts to the long semantic interest."""
        return self.pool_texts(texts.long["inputs"].view(*batch.items.shape, -1), batch.valid)

    def pool_texts(self, texts: Tensor, inside: Tensor) -> Tensor:
        """Average texts (B, T, W) over the positions `inside` (B, T); shapes as in `mean_over`."""
        return mean_over(texts, inside, self.causal)

    def text_rows(self, batch: Batch) -> dict[str, Tensor]:
        """List the text-table rows (M,) to project, by use; see `Texts`."""
        return {"inputs": batch.text_rows.flatten()}

    def project_texts(self, batch: Batch) -> Texts:
        """Project every text that a batch needs, in one product."""
        rows = self.text_rows(batch)
        every = torch.cat(list(rows.values()))
        projected = project_rows(self.project, self.text, every, waits=every.device.type != "cpu")
        sizes = [len(part) for part in rows.values()]
        short, long = (
            dict(zip(rows, torch.split(part, sizes), strict=True)) for part in self.split_projection(projected)
        )
        return Texts(rows, short, long)

    def split_projection(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Split projections (M, 2 W) into those for short and for long interests, (M, W) each."""
        short, long = projected.chunk(2, dim=-1)
        return short, long

    # Section 3.3.2: alignment

    def align(self, interests: Interests, batch: Batch, noise: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute InfoNCE from collaborative to semantic interests, over rows drawn from the valid positions.

        Returns:
            The sum of the short and the long term; mean cosines of matched and of unmatched short pairs.
        """
        chosen = torch.arange(len(batch.inside), device=batch.inside.device)
        if len(chosen) > self.alignment_rows:
            chosen = torch.randperm(len(chosen), generator=noise, device=chosen.device)[: self.alignment_rows]
        collaborative = interests.collaborative_short.flatten(0, 1)[batch.inside[chosen]]
        semantic, texts = self.short_partners(interests, batch, chosen)
        far, far_semantic, users = self.long_pairs(interests, batch, chosen)
        same = (None, None) if self.equal_negatives else (texts, users)
        loss = info_nce(collaborative, semantic, self.alignment_temperature, same[0])
        loss = loss + info_nce(far, far_semantic, self.alignment_temperature, same[1])
        return loss, _cosines(collaborative, semantic)

    def short_partners(self, interests: Interests, batch: Batch, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Select the short semantic interests (M, W) of the `chosen` (M,) valid positions, and their text rows (M,)."""
        places = batch.inside[chosen]
        return interests.semantic_short.flatten(0, 1)[places], interests.texts.rows["inputs"][places]

    def long_pairs(self, interests: Interests, batch: Batch, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Select each sequence's long interests, collaborative and semantic (B, W), and its user (B,)."""
        far, far_semantic = (
            last_states(long, batch.lengths.clamp(max=long.shape[1]))
            for long in (interests.collaborative_long, interests.semantic_long)
        )
        return far, far_semantic, batch.users

    # Section 3.4: noise detection

    def judge(self, interests: Interests, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute the gate, bool (B, T) or (B, 1), and the score (B, T): the sum of three cosines less a threshold."""
        short, long, short_semantic, long_semantic = (
            F.normalize(part, dim=-1)
            for part in (
                interests.collaborative_short,
                interests.collaborative_long,
                interests.semantic_short,
                interests.semantic_long,
            )
        )
        gate = self.passes((long_semantic * long).sum(-1))
        # cos(sl, h) + cos(cl, ss) + cos(h, ss) with unit vectors, in two inner products
        score = ((long_semantic + short_semantic) * short).sum(-1) + (long * short_semantic).sum(-1)
        return gate, score - self.threshold(score, batch.valid)

    def passes(self, agreement: Tensor) -> Tensor:
        """Open the gate where the long interests agree: their cosine exceeds theta."""
        return self.cutoff.exceeded_by(agreement)

    def threshold(self, score: Tensor, valid: Tensor) -> Tensor:
        """Return what a score must reach: (B, T), (B, 1) or ()."""
        return score.new_zeros(())

    def sample(self, gate: Tensor, score: Tensor, noise: torch.Generator) -> Tensor:
        """Draw a training step's mask (B, T): a Gumbel-sigmoid sample past the gate, 1 elsewhere."""
        soft = soft_sample(score, self.draw_noise(score, noise), self.temperature)
        return torch.where(gate, self.discretise(soft), torch.ones_like(soft))

    def draw_noise(self, score: Tensor, noise: torch.Generator) -> Tensor:
        """Draw the noise that is added to each score: the difference of two Gumbel samples."""
        return logistic_noise(score, noise)

    def discretise(self, soft: Tensor) -> Tensor:
        """Round to 0 and 1, with the gradient of `soft`."""
        return harden(soft)

    def incoming_mask(self, keep: Tensor, batch: Batch, noise: torch.Generator) -> Tensor:
        """Return the mask (B, T) on this epoch's inputs: `keep`, that of the previous epoch."""
        return keep

    def outgoing_mask(self, sampled: Tensor, batch: Batch, noise: torch.Generator) -> Tensor:
        """Return the mask (B, T) that enters the reconstruction and the next epoch."""
        return sampled

    def scoring_mask(self, gate: Tensor, score: Tensor, batch: Batch, noise: torch.Generator) -> Tensor:
        """Decide the mask (B, T) at test time: below 1 only past the gate."""
        likely = self.expected_mask(score)
        return torch.where(gate & batch.valid, likely, torch.ones_like(likely))

    def expected_mask(self, score: Tensor) -> Tensor:
        """Decide the mask (B, T) from scores without sampling."""
        return (score >= 0).to(score.dtype)

    # Section 3.5: reconstruction

    def reconstruct(self, kept: Tensor, embedded: Tensor, inside: Tensor) -> Tensor:
        """Average the error of decoded states against embeddings within each row, then over rows.

        Args:
            kept: (B, T, W) masked states.
            embedded: (B, T, D) what they should decode to.
            inside: (B, T) which positions count.
        """
        error = self.reconstruction_error(self.decode(kept), embedded, inside)
        positions = inside.sum(1)
        total = (error.sum(1) / positions.clamp(min=1)).sum()
        return self.average_rows(total, positions > 0)

    def reconstruction_error(self, decoded: Tensor, embedded: Tensor, inside: Tensor) -> Tensor:
        """Compute the squared error (B, T), a mean over D; 0 where not `inside`."""
        return (decoded - embedded).square().mean(-1) * inside

    def average_rows(self, total: Tensor, counted: Tensor) -> Tensor:
        """Divide the sum over all rows by the number of those that count, `counted` (B,)."""
        return total / counted.sum().clamp(min=1)


def mean_over(x: Tensor, inside: Tensor, causal: bool) -> Tensor:
    """Average x (B, T, W) over the positions `inside` (B, T): (B, 1, W); causal: over those up to each, (B, T, W)."""
    summed, count = x * inside.unsqueeze(-1), inside.unsqueeze(-1)
    if causal:
        return summed.cumsum(1) / count.cumsum(1).clamp(min=1)
    return summed.sum(1, keepdim=True) / count.sum(1, keepdim=True)


def max_over(x: Tensor, inside: Tensor, causal: bool) -> Tensor:
    """Take the maximum, with the arguments and shapes of `mean_over`."""
    reachable = x.masked_fill(~inside.unsqueeze(-1), _NEVER)
    return reachable.cummax(1).values if causal else reachable.amax(1, keepdim=True)


def project_rows(project: nn.Module, text: Tensor, rows: Tensor, waits: bool) -> Tensor:
    """Project (…) rows of the text table, each distinct row once.

    Args:
        waits: finding the distinct rows would make the host wait for the device. Then the whole table is projected, or
            each position, whichever is the smaller product.
    """
    if not waits:
        distinct, place = torch.unique(rows, return_inverse=True)
        return F.embedding(place, project(text[distinct]))
    if len(text) < rows.numel():
        return F.embedding(rows, project(text))
    projected: Tensor = project(text[rows])
    return projected


def _cosines(left: Tensor, right: Tensor) -> dict[str, Tensor]:
    """Average the cosines of matching rows, and of all other pairs of rows."""
    left, right = F.normalize(left.detach(), dim=-1), F.normalize(right.detach(), dim=-1)
    rows = len(left)
    matched = (left * right).sum(-1).mean()
    every = left.mean(0) @ right.mean(0)
    return {"cosine_matched": matched, "cosine_unmatched": (rows * every - matched) / max(rows - 1, 1)}
