"""Mask statistics: keep rate by item, precision and recall against known noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iadsr.core import columns as c

_TENTHS = len(c.TENTHS)


class MaskStatistics:
    """Sums over masked inputs, on the device.

    Attributes:
        kept, seen: (n_items + 1,) how much of each item's inputs was kept, and how many there were.
        noise: (3,) dropped noise, all that was dropped, all noise; zeros where no noise is known.
    """

    def __init__(self, n_items: int, device: torch.device, noise: Tensor | None = None) -> None:
        self.kept, self.seen = (torch.zeros(n_items + 1, dtype=torch.float64, device=device) for _ in range(2))
        self.flags = noise
        self.noise = torch.zeros(3, dtype=torch.float64, device=device)

    def add(self, items: Tensor, keep: Tensor, positions: Tensor) -> None:
        """Count (M,) inputs: their items, how much of each is kept, and their indices among all interactions."""
        keep = keep.double()
        self.kept.index_add_(0, items, keep)
        self.seen.index_add_(0, items, torch.ones_like(keep))
        if self.flags is not None:
            noisy, dropped = self.flags[positions].double(), 1 - keep
            self.noise += torch.stack((noisy @ dropped, dropped.sum(), noisy.sum()))

    @property
    def inputs(self) -> float:
        """Number of inputs counted."""
        return float(self.seen.sum())

    @property
    def keep_rate(self) -> float:
        """Share of inputs kept."""
        return float(self.kept.sum()) / self.inputs

    @property
    def noise_share(self) -> float | None:
        """Share of inputs that is noise: the precision of drops at random. None without known noise, or inputs."""
        return None if self.flags is None or not self.inputs else float(self.noise[2]) / self.inputs

    def state(self) -> dict[str, Tensor]:
        """Return the sums by attribute, for a checkpoint."""
        return {"kept": self.kept, "seen": self.seen, "noise": self.noise}

    def precision_and_recall(self) -> tuple[float | None, float | None]:
        """Return the share of dropped inputs that is noise, and of noise that was dropped; None if there are none."""
        hit, dropped, noisy = self.noise.tolist()
        known = self.flags is not None
        return (hit / dropped if known and dropped else None), (hit / noisy if known and noisy else None)

    def by_group(self, train_counts: npt.NDArray[np.int64]) -> dict[str, dict[str, float | int | None]]:
        """Compute the share kept and the number of inputs, of cold items and by popularity decile of the inputs.

        Args:
            train_counts: (n_items + 1,) training interactions of each item.
        """
        kept, seen = self.kept.cpu().numpy(), self.seen.cpu().numpy()
        decile = input_deciles(train_counts, seen)
        members = {c.COLD: train_counts <= c.COLD_LIMIT}
        members |= {name: decile == number for number, name in enumerate(c.TENTHS, start=1)}
        groups: dict[str, dict[str, float | int | None]] = {}
        for name, chosen in members.items():
            inputs = float(seen[chosen].sum())
            groups[name] = {"keep": float(kept[chosen].sum()) / inputs if inputs else None, "inputs": int(inputs)}
        return groups


def input_deciles(train_counts: npt.NDArray[np.int64], inputs: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Assign each item's inputs to a decile (1 least popular .. 10); 0 for an item without any.

    As for targets: inputs are ordered by their item's training count, and equal counts share their mean position.
    """
    counts, place = np.unique(train_counts, return_inverse=True)
    mass = np.bincount(place, weights=inputs, minlength=len(counts))
    middle = np.cumsum(mass) - mass / 2  # mean position less a half
    decile = np.floor(_TENTHS * middle / max(mass.sum(), 1.0)).astype(np.int64) + 1
    return np.where(inputs > 0, np.minimum(decile, _TENTHS)[place], 0)


def mask_names() -> list[str]:
    """List the names of `mask_figures`, at test time and in training."""
    return [f"{prefix}{name}" for prefix in ("", "train_") for name in ("drop_precision", "drop_recall", "noise_share")]


def mask_figures(masks: MaskStatistics, prefix: str = "") -> dict[str, float | None]:
    """Return `drop_precision`, `drop_recall` and `noise_share` for a record, their names led by `prefix`."""
    precision, recall = masks.precision_and_recall()
    figures = {"drop_precision": precision, "drop_recall": recall, "noise_share": masks.noise_share}
    return {f"{prefix}{name}": value for name, value in figures.items()}
