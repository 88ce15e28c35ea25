"""Cut-offs: numbers that a method only compares with, and the interval within which no comparison would differ."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor


class Cutoff:
    """A cut-off, and the nearest values on both sides that it was compared with.

    A run with another number between `low` and `high`, and nothing else changed, is the same run bit for bit, provided
    that the number enters through `exceeded_by` alone.

    Attributes:
        nearest: (2,) float64, -inf where there is none: the largest value so far that does not exceed the number, and
            the largest number, negated, that all values so far exceed which exceed this one. None before any
            comparison.
    """

    def __init__(self, number: float) -> None:
        self.number = number
        self.nearest: Tensor | None = None

    def exceeded_by(self, values: Tensor) -> Tensor:
        """Compare: bool, shaped as `values`, whose type is also that in which the number is rounded."""
        above = values > self.number
        with torch.no_grad():
            seen = values.detach()
            nothing = seen.new_full((), -math.inf)
            # NaN is on neither side: it exceeds no number. The value before the next one, because a number between
            # them may be rounded up to the next one.
            below = torch.where(seen <= self.number, seen, nothing)
            beyond = torch.where(above, -torch.nextafter(seen, nothing), nothing)
            nearest = torch.stack((below.amax(), beyond.amax())).double()
            self.nearest = nearest if self.nearest is None else torch.maximum(self.nearest, nearest)
        return above

    @property
    def same_between(self) -> tuple[float | None, float | None]:
        """Return the lowest and the highest number with which no comparison would have changed; None: no limit."""
        low, high = (-math.inf, -math.inf) if self.nearest is None else self.nearest.tolist()
        return (low if math.isfinite(low) else None), (-high if math.isfinite(high) else None)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Return the same object: comparisons of a copied model, such as an average of weights, belong to the run."""
        return self
