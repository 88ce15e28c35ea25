"""Joined names: every beginning of a history as one text, texts that an encoder cuts to the same once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iadsr.config.encoders import parse_encoder
from iadsr.embeddings.minilm import MiniLM
from iadsr.embeddings.prefixes import distinct_prefixes, joined_names
from iadsr.formats.embeddings import Vectors

NAMES = ["soap", "oil of argan", "brush"]
ITEMS, OFFSETS = np.array([1, 2, 3, 1, 2, 1, 3]), np.array([0, 3, 5, 7])


class CutsAt:
    """Reads a text's first words."""

    corpus_wide = False
    identity: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, words: int) -> None:
        self.words = words

    def reads(self, texts: Sequence[str]) -> list[str]:
        return [" ".join(text.split()[: self.words]) for text in texts]

    def encode(self, texts: Sequence[str]) -> Vectors:
        raise NotImplementedError


def test_names_are_joined_one_by_one() -> None:
    assert list(joined_names(NAMES)) == ["soap", "soap, oil of argan", "soap, oil of argan, brush"]


def test_each_interaction_has_the_text_that_ends_with_it() -> None:
    texts, rows = distinct_prefixes(NAMES, ITEMS, OFFSETS, CutsAt(99))
    assert [texts[row] for row in rows] == [
        *joined_names(["soap", "oil of argan", "brush"]),
        *joined_names(["soap", "oil of argan"]),
        *joined_names(["soap", "brush"]),
    ]
    assert len(texts) == len(set(texts)) == 4
    assert rows.dtype == np.int32


def test_texts_cut_to_the_same_tokens_are_stored_once() -> None:
    texts, rows = distinct_prefixes(NAMES, ITEMS, OFFSETS, CutsAt(3))
    assert texts == ["soap", "soap, oil of argan", "soap, brush"]
    assert rows.tolist() == [0, 1, 1, 0, 1, 0, 2]


def test_minilm_gives_every_prefix_the_vector_of_its_whole_text() -> None:
    """Sharing a vector among texts that it cuts alike changes none of them, up to the order of sums in a batch."""
    encoder = MiniLM(parse_encoder({"kind": "minilm", "max_length": 8}), "cpu")
    longer = [*ITEMS, 2, 2, 2, 2]
    texts, rows = distinct_prefixes(NAMES, np.array(longer), np.array([0, 3, 5, 11]), encoder)
    shared = encoder.encode(texts)[rows]
    whole = [
        text
        for begin, end in ((0, 3), (3, 5), (5, 11))
        for text in joined_names(NAMES[i - 1] for i in longer[begin:end])
    ]
    assert len(texts) < len(set(whole)), "some are cut alike"
    np.testing.assert_allclose(shared, encoder.encode(whole), atol=1e-6)
