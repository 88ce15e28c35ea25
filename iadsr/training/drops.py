"""What a mask dropped, for readers: the items that it kept least and most, and a few users' histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from iadsr.training.mask_statistics import MaskStatistics

_HISTORIES = 5
_LATEST = 12  # inputs that are shown of a history
_ITEMS = 5  # at either end
_OFTEN = 20  # inputs of an item, from which on its keep rate says something


def example_users(n_users: int) -> npt.NDArray[np.int64]:
    """Choose users at equal distances, so that no mask had a say in whose history is shown."""
    return np.unique(np.linspace(0, n_users - 1, _HISTORIES + 2).round().astype(np.int64)[1:-1])


def describe_history(
    user: str, items: npt.NDArray[np.int64], keep: npt.NDArray[np.float64], target: int
) -> dict[str, Any]:
    """Describe the latest inputs of a history, oldest first: their items, and how much of each was kept (both (T,))."""
    shares = [round(share, 3) for share in keep[-_LATEST:].tolist()]
    return {"user": user, "items": items[-_LATEST:].tolist(), "keep": shares, "target": target}


def describe_drops(masks: MaskStatistics, histories: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Describe what a mask dropped, for a record.

    Returns:
        `least` and `most`: items with at least 20 inputs by keep rate, the least and the most kept first, of equal
        ones the more frequent; each with `item`, `keep` and `inputs`. And the `histories`.
    """
    kept, seen = masks.kept.cpu().numpy(), masks.seen.cpu().numpy()
    often = np.flatnonzero(seen >= _OFTEN)
    rates = kept[often] / seen[often]
    ends = {"least": np.lexsort((-seen[often], rates)), "most": np.lexsort((-seen[often], -rates))}
    described = {
        name: [
            {"item": int(often[at]), "keep": round(float(rates[at]), 4), "inputs": int(seen[often[at]])}
            for at in order[:_ITEMS]
        ]
        for name, order in ends.items()
    }
    return {**described, "histories": list(histories)}
