"""Stored vectors: killed and resumed equals never killed, and nothing damaged is stored or read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from iadsr.config.encoders import parse_encoder
from iadsr.core.errors import DataError, IadsrError
from iadsr.embeddings import store
from iadsr.embeddings.random_options import RandomSpec
from iadsr.formats.embeddings import Vectors, describe_source, load_vectors, read_metadata

TEXTS = [f"item {number}" for number in range(25)]
SOURCE = describe_source(RandomSpec(), TEXTS, "names") | {"encoder": "fake"}


class Fake:
    """Vectors from text lengths and numbers; counts its calls and fails when told to."""

    def __init__(
        self,
        revision: str = "1",
        fail_at: int | None = None,
        corpus_wide: bool = False,
        bad: str | None = None,
    ) -> None:
        self.revision = revision
        self.fail_at = fail_at
        self.corpus_wide = corpus_wide
        self.bad = bad
        self.calls: list[list[str]] = []

    @property
    def identity(self) -> dict[str, str]:
        return {"encoder": "fake", "model": "fake", "revision": self.revision, "pooling": "none"}

    def encode(self, texts: Sequence[str]) -> Vectors:
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(list(texts))
        rows = [[float(text.split()[1]), 0.1, np.nan if text == self.bad else 1] for text in texts]
        return np.array(rows, dtype=np.float32)


def _leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "v.safetensors")


def test_stored_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "v.safetensors"
    returned = store.embed_with(TEXTS, Fake(), path, SOURCE, chunk=10)
    vectors, metadata = load_vectors(path, len(TEXTS)), read_metadata(path)
    np.testing.assert_array_equal(vectors, Fake().encode(TEXTS))
    assert vectors.dtype == np.float32
    assert metadata == returned
    assert metadata["encoder"] == "fake"
    assert metadata["dimension"] == "3"
    assert metadata | SOURCE == metadata
    assert _leftovers(path.parent) == []


def test_killed_and_resumed_equals_never_killed(tmp_path: Path) -> None:
    whole, path = tmp_path / "a" / "v.safetensors", tmp_path / "b" / "v.safetensors"
    store.embed_with(TEXTS, Fake(), whole, SOURCE, chunk=10)
    with pytest.raises(KeyboardInterrupt):
        store.embed_with(TEXTS, Fake(fail_at=1), path, SOURCE, chunk=10)
    assert not path.exists()
    second = Fake()
    store.embed_with(TEXTS, second, path, SOURCE, chunk=10)
    assert [call[0] for call in second.calls] == ["item 10", "item 20"]
    assert path.read_bytes() == whole.read_bytes()
    assert _leftovers(path.parent) == []


def test_a_damaged_chunk_is_encoded_again(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    with pytest.raises(KeyboardInterrupt):
        store.embed_with(TEXTS, Fake(fail_at=2), path, SOURCE, chunk=10)
    first = min(next(tmp_path.glob(".v.safetensors.parts-*")).iterdir())
    first.write_bytes(b"")
    second = Fake()
    store.embed_with(TEXTS, second, path, SOURCE, chunk=10)
    assert [call[0] for call in second.calls] == ["item 0", "item 20"]


@pytest.mark.parametrize("change", ["texts", "revision", "settings", "device"])
def test_another_key_encodes_everything_again(tmp_path: Path, change: str) -> None:
    path = tmp_path / "v.safetensors"
    with pytest.raises(KeyboardInterrupt):
        store.embed_with(TEXTS, Fake(fail_at=1), path, SOURCE, chunk=10)
    encoder = Fake(revision="2" if change == "revision" else "1")
    store.embed_with(
        TEXTS[::-1] if change == "texts" else TEXTS,
        encoder,
        path,
        SOURCE | ({"settings": "{}"} if change == "settings" else {}),
        device="cuda" if change == "device" else "cpu",
        chunk=10,
    )
    assert sum(len(call) for call in encoder.calls) == len(TEXTS)


def test_a_corpus_wide_encoder_sees_all_texts_at_once(tmp_path: Path) -> None:
    encoder = Fake(corpus_wide=True)
    store.embed_with(TEXTS, encoder, tmp_path / "v.safetensors", SOURCE, chunk=10)
    assert encoder.calls == [TEXTS]


def test_nan_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    with pytest.raises(DataError, match=r"text 13 \('item 13'\)"):
        store.embed_with(TEXTS, Fake(bad="item 13"), path, SOURCE, chunk=10)
    assert not path.exists()
    good = Fake()
    store.embed_with(TEXTS, good, path, SOURCE, chunk=10)
    assert good.calls[0][0] == "item 10"


def test_an_encoder_that_loses_rows_is_refused(tmp_path: Path) -> None:
    class Short(Fake):
        def encode(self, texts: Sequence[str]) -> Vectors:
            return super().encode(texts)[1:]

    with pytest.raises(IadsrError, match="for 10 texts"):
        store.embed_with(TEXTS, Short(), tmp_path / "v.safetensors", SOURCE, chunk=10)


def test_no_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no texts"):
        store.embed_with([], Fake(), tmp_path / "v.safetensors", SOURCE)


@pytest.mark.parametrize("kind", ["random", "tfidf"])
def test_embed_from_a_spec(tmp_path: Path, kind: str) -> None:
    spec = parse_encoder({"kind": kind, "dimension": 4})
    metadata = store.embed(TEXTS, spec, tmp_path / "v.safetensors")
    vectors = load_vectors(tmp_path / "v.safetensors", len(TEXTS))
    assert vectors.shape == (len(TEXTS), 4)
    assert metadata["encoder"] == kind
    assert '"dimension": 4' in metadata["settings"]


def test_importing_the_store_loads_no_heavy_package() -> None:
    check = (
        "import sys, iadsr.embeddings.store\n"
        "print([name for name in ('torch', 'transformers', 'sklearn', 'llm2vec') if name in sys.modules])"
    )
    root = Path(store.__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_varied_texts_are_encoded_and_named(tmp_path: Path) -> None:
    spec = RandomSpec(dimension=4)
    plain = store.embed(TEXTS, spec, tmp_path / "plain.safetensors")
    varied = store.embed(TEXTS, spec, tmp_path / "v.safetensors", variant="shuffled")
    assert varied["texts"] == "shuffled"
    assert varied["catalogue_digest"] == plain["catalogue_digest"] == plain["text_digest"] != varied["text_digest"]
    vectors = [load_vectors(tmp_path / f"{name}.safetensors", len(TEXTS)) for name in ("plain", "v")]
    assert sorted(map(tuple, vectors[0])) == sorted(map(tuple, vectors[1]))
    assert not (vectors[0] == vectors[1]).all(axis=1).any()
