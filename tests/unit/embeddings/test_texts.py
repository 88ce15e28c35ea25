"""Text controls."""

import pytest

from iadsr.core.errors import DataError
from iadsr.embeddings.texts import vary_texts

NAMES = ["red lamp", "blue lamp shade", "toy", "green chair of oak"]


def test_names_are_unchanged() -> None:
    assert vary_texts(NAMES, "names") == NAMES


def test_shuffled_gives_every_item_another_ones_name() -> None:
    moved = vary_texts(NAMES, "shuffled")
    assert sorted(moved) == sorted(NAMES)
    assert all(new != old for new, old in zip(moved, NAMES, strict=True))
    assert moved == vary_texts(NAMES, "shuffled")


def test_random_keeps_the_number_of_words_and_the_vocabulary() -> None:
    drawn = vary_texts(NAMES, "random")
    assert [len(text.split()) for text in drawn] == [2, 3, 1, 4]
    assert set(" ".join(drawn).split()) <= set(" ".join(NAMES).split())
    assert drawn != NAMES
    with pytest.raises(DataError, match="no item has a word"):
        vary_texts(["", ""], "random")


def test_empty() -> None:
    assert vary_texts(NAMES, "empty") == [""] * 4
