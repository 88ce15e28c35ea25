"""Joins the names of every beginning of a history to one text.

A script recovered from a third-party copy of the release makes semantic interests so: the short one at t embeds the
first t names joined by ", ", the long one all names up to the last input. Both are beginnings of a history, so one
vector per interaction serves for both. An encoder cuts long texts; those that it cuts to the same are encoded once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from iadsr.embeddings.encoder import Encoder

SEPARATOR = ", "


def distinct_prefixes(
    names: Sequence[str], items: NDArray[Any], offsets: NDArray[Any], encoder: Encoder
) -> tuple[list[str], NDArray[np.int32]]:
    """Join the names of every beginning of every history.

    Args:
        names: text of each item; item index i has `names[i - 1]`.
        items: (N,) item indices, user by user in time order.
        offsets: (U + 1,) where each user's items begin.

    Returns:
        The distinct texts in order of appearance, the shortest of those that the encoder reads alike; and (N,) the
        index of the text that ends with each interaction.
    """
    row_of: dict[Hashable, int] = {}
    texts: list[str] = []
    rows = np.empty(len(items), dtype=np.int32)
    with tqdm(total=len(items), desc="joining names", unit="text", disable=None) as bar:
        for begin, end in pairwise(offsets.tolist()):
            joined = list(joined_names(names[item - 1] for item in items[begin:end]))
            for position, (text, read) in enumerate(zip(joined, encoder.reads(joined), strict=True), start=begin):
                if read not in row_of:
                    row_of[read] = len(texts)
                    texts.append(text)
                rows[position] = row_of[read]
            bar.update(len(joined))
    return texts, rows


def joined_names(names: Iterable[str]) -> Iterator[str]:
    """Yield each name joined to all before it."""
    text = ""
    for number, name in enumerate(names):
        text = f"{text}{SEPARATOR}{name}" if number else name
        yield text
