"""`popularity_drop`: a control that drops the rarest items, as many inputs as another method's run."""

import numpy as np
import torch
from torch import Tensor

from iadsr.methods.masks import keep_all_but
from iadsr.methods.matched_drop import MatchedDrop
from iadsr.methods.method import Batch, MethodInputs
from iadsr.methods.popularity_drop_options import PopularityDropOptions


class PopularityDrop(MatchedDrop):
    """Drops the rarest items until they make up the share of training inputs that is to be dropped."""

    share: Tensor

    def __init__(self, inputs: MethodInputs, options: PopularityDropOptions) -> None:
        super().__init__(inputs, options)
        assert inputs.histories is not None
        counts = np.bincount(inputs.histories.items, minlength=inputs.n_items + 1)
        order = np.argsort(counts, kind="stable")
        share = np.empty(len(counts))
        share[order] = (counts[order].cumsum() - counts[order] / 2) / counts.sum()  # middle of its inputs
        self.register_buffer("share", torch.as_tensor(share), persistent=False)

    def choose(self, rate: float, batch: Batch, noise: torch.Generator) -> tuple[Tensor, None]:
        """Drop the rarest items at a keep rate; see `MatchedDrop`."""
        return keep_all_but((self.share[batch.items] < 1 - rate) & batch.valid), None
