"""curve.csv: one row per epoch, and the means in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import pandas as pd
import torch
from torch import Tensor

from iadsr.core.errors import IadsrError
from iadsr.training.recommender import Recommender

GUESSING = "guessing_loss"


class Diverged(IadsrError):
    """A loss or a validation score is not finite."""


@dataclass
class Epoch:
    """One row of curve.csv.

    Attributes:
        epoch: counted from 1.
        loss: mean training loss, all parts added up.
        validation: NDCG@10 of the validation targets, None where the epoch was not validated.
        seconds: training and validation together.
        figures: everything else, by name: `loss_<name>` for each part of the loss, every traced figure of the method,
            `guessing_loss` (the recommendation loss of equal scores), and where there is a mask `keep_rate` (share of
            inputs kept), `gate_share` (share of sequences past the gate; with a gate per position, the mean over
            sequences of the share of positions) and `mask_gradient` (norm of the gradient with respect to the mask); in
            validated epochs of a method with losses of its own, `gradient_<loss>_<part>` (see `gradient_norms`).
    """

    epoch: int
    loss: float
    validation: float | None
    seconds: float
    figures: dict[str, float]

    def flat(self) -> dict[str, float | None]:
        """Return the row of curve.csv, by column."""
        return {"epoch": self.epoch, "loss": self.loss, "validation": self.validation, "seconds": self.seconds} | (
            self.figures
        )


def make_row(number: int, means: Mapping[str, float], validation: float | None, seconds: float) -> Epoch:
    """Make an epoch's row from the means of `Totals`.

    Raises:
        Diverged: the validation score is not finite.
    """
    if validation is not None and not math.isfinite(validation):
        raise Diverged("the validation score is not finite; lower the learning rate")
    figures = {name: value for name, value in means.items() if name != "loss"}
    if "mask_gradient" in figures:
        figures["mask_gradient"] = math.sqrt(figures["mask_gradient"])
    return Epoch(number, means.get("loss", 0.0), validation, seconds, figures)


def curve_table(curve: Sequence[Epoch]) -> pd.DataFrame:
    """Make curve.csv: a row per epoch, a column for every figure of any epoch, in order of appearance."""
    fixed = Epoch(0, 0.0, None, 0.0, {}).flat()
    names = dict.fromkeys(name for row in (fixed, *(epoch.flat() for epoch in curve)) for name in row)
    return pd.DataFrame([row.flat() for row in curve], columns=list(names))


class Totals:
    """Sums over an epoch, kept on the device until its end."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, float] = {}

    def add(self, name: str, total: Tensor, count: float) -> None:
        """Add a sum over `count` things."""
        self.sums[name] = self.sums.get(name, torch.zeros_like(total, dtype=torch.float64)) + total.detach()
        self.counts[name] = self.counts.get(name, 0.0) + count

    def means(self) -> dict[str, float]:
        """Average everything that was added, by name; of `mask_gradient`, squares are added."""
        return {name: float(total) / self.counts[name] for name, total in self.sums.items()}


def check_names(losses: Iterable[str], traced: Iterable[str]) -> None:
    """Refuse traced figures with the name of a column that the loop fills.

    Raises:
        ValueError: naming them.
    """
    columns = {*(part.name for part in fields(Epoch)), GUESSING, "keep_rate", "gate_share", "mask_gradient"}
    columns |= {f"loss_{name}" for name in losses}
    if taken := sorted(name for name in traced if name in columns or name.startswith("gradient_")):
        raise ValueError(f"a method's traced figures are named as columns of curve.csv are: {', '.join(taken)}")


def gradient_norms(model: Recommender, losses: Mapping[str, Tensor], mask: Tensor | None) -> dict[str, Tensor]:
    """Measure the norm of each weighted loss's gradient in each part of a model, `gradient_<loss>_<part>`.

    Parts: `mask`, where there is one with a gradient; `table` and `backbone`; every child of the method by its name,
    such as `project`. The norm is 0 where a loss does not reach a part.
    """
    children = {"table": model.table, "backbone": model.backbone, **dict(model.method.named_children())}
    parts: dict[str, list[Tensor]] = {name: list(child.parameters()) for name, child in children.items()}
    parts["mask"] = [mask] if mask is not None and mask.requires_grad else []
    every = [tensor for tensors in parts.values() for tensor in tensors]
    norms: dict[str, Tensor] = {}
    for loss, value in losses.items():
        gradients = torch.autograd.grad(value, every, retain_graph=True, allow_unused=True, materialize_grads=True)
        squares = iter([gradient.square().sum() for gradient in gradients])
        for part, tensors in parts.items():
            if tensors:
                norms[f"gradient_{loss}_{part}"] = torch.stack([next(squares) for _ in tensors]).sum().sqrt()
    return norms
