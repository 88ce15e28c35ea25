"""Adaptive denoising training: truncated (T-CE) and reweighted (R-CE) cross-entropy of the targets."""

from collections.abc import Callable

import torch
from torch import Tensor

from iadsr.methods.adt_options import ADTOptions
from iadsr.methods.method import Encoded, Method, MethodInputs


class ADT(Method):
    """The backbone, trained on weighted targets. R-CE weights are divided by their mean, unlike the original's."""

    steps: Tensor

    def __init__(self, inputs: MethodInputs, options: ADTOptions) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("steps", torch.zeros(()))

    def weigh_targets(self, encoded: Encoded, losses: Callable[[], Tensor], supervised: Tensor) -> Tensor:
        """Weigh targets (M,). T-CE: 0 for a rising share, those of the largest losses. R-CE: p(target)^power."""
        loss = losses()
        if self.options.weights == "reweighted":
            return torch.exp(-self.options.power * loss)
        self.steps += 1
        share = self.options.rate * (self.steps / self.options.ramp).clamp(max=1)
        kept = loss.argsort(descending=True).argsort() >= (share * len(loss)).floor()
        encoded.traced["targets_kept"] = kept.double().mean()
        return kept.to(loss.dtype)
