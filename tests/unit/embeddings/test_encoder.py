"""From a spec to its encoder."""

from __future__ import annotations

import importlib.util

import pytest

from iadsr.config.encoders import parse_encoder
from iadsr.core.errors import IadsrError
from iadsr.embeddings.encoder import make_encoder
from iadsr.embeddings.llm2vec_options import Llm2vecSpec
from iadsr.embeddings.vectors import one_thread


@pytest.mark.parametrize(("kind", "corpus_wide"), [("tfidf", True), ("random", False)])
def test_each_kind_has_its_encoder(kind: str, corpus_wide: bool) -> None:
    encoder = make_encoder(parse_encoder({"kind": kind}))
    assert encoder.identity["encoder"] == kind
    assert encoder.corpus_wide is corpus_wide


@pytest.mark.skipif(importlib.util.find_spec("llm2vec") is not None, reason="llm2vec is installed here")
def test_llm2vec_outside_its_environment_says_what_to_run() -> None:
    with pytest.raises(IadsrError, match="make setup-llm2vec"):
        make_encoder(Llm2vecSpec())


def test_networks_compute_with_one_thread_and_leave_torch_as_it_was() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
