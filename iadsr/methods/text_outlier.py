"""`text_outlier`: a control without training that drops the inputs whose texts are least like the others'.

A cheap stand-in for methods that ask a language model which items of a history do not belong, such as LLM4DSR.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from iadsr.methods.masks import count_dropped, keep_all_but
from iadsr.methods.matched_drop import MatchedDrop
from iadsr.methods.method import Batch, MethodInputs
from iadsr.methods.text_outlier_options import TextOutlierOptions

_DECIMALS = 5  # of cosines that are compared, so that rounding breaks no tie


class TextOutlier(MatchedDrop):
    """Drops the inputs with the lowest mean cosine to the other inputs' texts, of equals the older one first.

    Under scope `causal` an input is dropped if it would be dropped from the inputs up to it, so the first one never is.
    Of equals, as any two inputs are, the newer one then goes first for every other user: else the second input would
    never be dropped, or too often. An item without text counts as like all others, so that it is dropped last.
    """

    text: Tensor

    def __init__(self, inputs: MethodInputs, options: TextOutlierOptions) -> None:
        super().__init__(inputs, options)
        if inputs.text is None:
            raise ValueError("text_outlier needs text embeddings")
        self.causal = options.scope == "causal"
        self.register_buffer("text", F.normalize(inputs.text, dim=-1), persistent=False)

    def choose(self, rate: float, batch: Batch, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """Drop the least alike; see `MatchedDrop`. Their mean cosine is the score."""
        texts, valid = self.text[batch.items], batch.valid
        if self.causal:
            cosines = cosines_so_far(texts, valid)
            own = cosines.diagonal(dim1=1, dim2=2)
            older_first = (batch.users % 2 == 1).view(-1, 1, 1)
            less = (cosines < own.unsqueeze(2)) | ((cosines == own.unsqueeze(2)) & older_first)
            place = (less & valid.unsqueeze(1)).tril(-1).sum(2)
            counts = count_dropped(valid.cumsum(1), rate, batch.users)
        else:
            own = cosines_to_others(texts, valid)
            place = own.masked_fill(~valid, torch.inf).argsort(dim=1, stable=True).argsort(dim=1)
            counts = count_dropped(valid.sum(1, keepdim=True), rate, batch.users)
        return keep_all_but((place < counts) & valid), own


def cosines_to_others(texts: Tensor, valid: Tensor) -> Tensor:
    """Average each input's cosine to the other inputs of its row: (B, T); 1 without text, 0 without others.

    Args:
        texts: (B, T, E) of length 1, or 0 for an item without text and for padding.
        valid: (B, T).
    """
    own = texts.square().sum(-1)
    others = (texts * texts.sum(1, keepdim=True)).sum(-1) - own
    return _average(others, valid.sum(1, keepdim=True), own)


def cosines_so_far(texts: Tensor, valid: Tensor) -> Tensor:
    """Compute `cosines_to_others` among the inputs up to each t: (B, T, T), at [b, t, j] that of j."""
    own = texts.square().sum(-1).unsqueeze(1)
    others = texts.cumsum(1) @ texts.transpose(1, 2) - own
    return _average(others, valid.cumsum(1).unsqueeze(2), own)


def _average(others: Tensor, inputs: Tensor, own: Tensor) -> Tensor:
    cosines = (others / (inputs - 1).clamp(min=1)).round(decimals=_DECIMALS)
    return torch.where(own > 0, cosines, 1.0)
