"""Text controls: what the encoder reads in place of item names."""

from __future__ import annotations

from collections.abc import Sequence

from iadsr.config.fields import Texts
from iadsr.core.errors import DataError
from iadsr.core.seeding import generator


def vary_texts(texts: Sequence[str], variant: Texts) -> list[str]:
    """Replace the texts of a catalogue; the same texts always give the same.

    `shuffled`: every item gets another item's text, so that the texts as a whole stay the same. `random`: as many
    words as before, each drawn from all words of the catalogue. `empty`: no text.

    Raises:
        DataError: random words are asked for, and the catalogue has none.
    """
    if variant == "names":
        return list(texts)
    if variant == "empty":
        return [""] * len(texts)
    rng = generator(0, f"texts/{variant}")
    if variant == "shuffled":
        # a cycle through all items in random order: none keeps its own text
        order = rng.permutation(len(texts))
        moved = [""] * len(texts)
        for here, there in zip(order, [*order[1:], order[0]], strict=True):
            moved[here] = texts[there]
        return moved
    words = sorted({word for text in texts for word in text.split()})
    if not words:
        raise DataError("no item has a word in its name: there is nothing to draw random words from")
    return [" ".join(words[index] for index in rng.integers(len(words), size=len(text.split()))) for text in texts]
