"""LLM2Vec on a tiny Llama made on the spot; runs in the environment of `envs/llm2vec.lock`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("llm2vec")

import torch
from transformers import LlamaModel

from iadsr.config.encoders import embeddings_name
from iadsr.core.errors import ConfigError, DataError, IadsrError
from iadsr.embeddings import store
from iadsr.embeddings.llm2vec_encoder import Llm2Vec
from iadsr.embeddings.llm2vec_options import Llm2vecSpec
from iadsr.formats.embeddings import Vectors, describe_source, load_vectors, read_metadata
from tests.tiny_llama import HIDDEN, TEXTS, make_tiny_llama

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer Llama and its tokenizer."""
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


def _spec(checkpoint: Path, **options: object) -> Llm2vecSpec:
    return Llm2vecSpec(model=str(checkpoint), dtype="float32", **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> Llm2Vec:
    return Llm2Vec(_spec(checkpoint), "cpu")


@pytest.fixture(scope="module")
def vectors(encoder: Llm2Vec) -> Vectors:
    return encoder.encode(TEXTS)


def test_shape_follows_the_model(vectors: Vectors) -> None:
    assert vectors.shape == (100, HIDDEN)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert vectors.std(axis=0).min() > 1e-3


def test_repeated_bit_for_bit(checkpoint: Path, encoder: Llm2Vec, vectors: Vectors) -> None:
    np.testing.assert_array_equal(vectors, encoder.encode(TEXTS))
    np.testing.assert_array_equal(vectors, Llm2Vec(_spec(checkpoint), "cpu").encode(TEXTS))


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_the_batch_size_does_not_matter(checkpoint: Path, vectors: Vectors, batch_size: int) -> None:
    other = Llm2Vec(_spec(checkpoint, batch_size=batch_size), "cpu").encode(TEXTS)
    np.testing.assert_allclose(other, vectors, atol=1e-5)


def test_order_is_restored(encoder: Llm2Vec, vectors: Vectors) -> None:
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1])[::-1], vectors, atol=1e-5)


def test_equal_to_the_package_s_own_encode(encoder: Llm2Vec, vectors: Vectors) -> None:
    theirs = encoder._network.encode(TEXTS, batch_size=8, show_progress_bar=False, device="cpu")
    np.testing.assert_allclose(vectors, theirs.numpy(), atol=1e-5)


def test_equal_to_a_plain_mean_over_the_text_s_states(encoder: Llm2Vec, vectors: Vectors) -> None:
    network = encoder._network
    for text, vector in zip(TEXTS[:10], vectors, strict=False):
        tokens = network.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = network.model(**tokens).last_hidden_state[0]
        np.testing.assert_allclose(vector, states.mean(dim=0).numpy(), atol=1e-5)


def test_attention_is_bidirectional(checkpoint: Path, encoder: Llm2Vec) -> None:
    tokens = torch.tensor([[11, 12, 13, 14, 15]])
    changed = tokens.clone()
    changed[0, -1] = 99
    causal = LlamaModel.from_pretrained(checkpoint).eval()
    mask = torch.ones_like(tokens)

    def first(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model(input_ids=ids, attention_mask=mask).last_hidden_state[0, 0]

    both = encoder._network.model
    assert (first(both, tokens) - first(both, changed)).abs().max() > 1e-3
    assert torch.equal(first(causal, tokens), first(causal, changed))


def test_an_instruction_shapes_the_vectors_but_is_not_pooled(checkpoint: Path, vectors: Vectors) -> None:
    told = Llm2Vec(_spec(checkpoint, instruction="Describe the product:"), "cpu")
    other = told.encode(TEXTS)
    assert np.abs(other - vectors).max() > 1e-3
    network = told._network
    text, head = TEXTS[0], "Describe the product: "
    tokens = network.tokenizer(head + text, return_tensors="pt")
    count = len(network.tokenizer(text, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        states = network.model(**tokens).last_hidden_state[0]
    np.testing.assert_allclose(other[0], states[-count:].mean(dim=0).numpy(), atol=1e-5)


def test_normalised_vectors_have_length_one_and_their_direction(checkpoint: Path, vectors: Vectors) -> None:
    spec = _spec(checkpoint, normalise=True)
    unit = Llm2Vec(spec, "cpu").encode(TEXTS)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 0.1, "the default keeps the lengths"
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit * lengths, vectors, atol=1e-5)
    assert spec.settings()["normalise"] is True
    assert embeddings_name(spec.options()) != embeddings_name(_spec(checkpoint).options())


def test_a_title_may_hold_the_package_s_separator(encoder: Llm2Vec) -> None:
    marked, clean = encoder.encode(["soap !@#$%^&*() oil", "soap   oil"])
    np.testing.assert_allclose(marked, clean, atol=1e-5)


def test_a_text_without_a_token_is_refused(encoder: Llm2Vec) -> None:
    with pytest.raises(DataError, match="placeholder"):
        encoder.encode(["soap", ""])


def test_the_identity_follows_content_and_names_no_folder(checkpoint: Path, encoder: Llm2Vec, tmp_path: Path) -> None:
    identity = encoder.identity
    assert identity["model"] == "tiny-llama"
    assert identity["revision"].startswith("sha256 ")
    assert str(checkpoint.parent) not in json.dumps(identity)
    moved = tmp_path / "tiny-llama"
    moved.mkdir()
    for path in checkpoint.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    assert Llm2Vec(_spec(moved), "cpu").identity == identity
    (moved / "tokenizer_config.json").write_text("{}")
    assert Llm2Vec(_spec(moved), "cpu").identity != identity


def _adapter(checkpoint: Path, folder: Path, seed: int) -> Path:
    """A LoRA adapter with weights that do something, for the model in `checkpoint`."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = get_peft_model(
        LlamaModel.from_pretrained(checkpoint),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    )
    model.save_pretrained(folder)
    return folder


def test_an_adapter_changes_the_vectors_and_the_identity(
    checkpoint: Path, encoder: Llm2Vec, vectors: Vectors, tmp_path: Path
) -> None:
    adapted = Llm2Vec(_spec(checkpoint, adapter=str(_adapter(checkpoint, tmp_path / "lora", seed=1))), "cpu")
    assert adapted.identity["model"] == "tiny-llama + lora"
    assert adapted.identity["revision"] != encoder.identity["revision"]
    other = adapted.encode(TEXTS)
    assert other.shape == (100, HIDDEN)
    assert np.abs(other - vectors).max() > 1e-3


def test_an_adapter_only_checkpoint_names_its_base(checkpoint: Path, vectors: Vectors, tmp_path: Path) -> None:
    """The layout of the published checkpoints: configuration, tokenizer and adapter, the base elsewhere."""
    folder = _adapter(checkpoint, tmp_path / "mntp", seed=2)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_bytes((checkpoint / name).read_bytes())
    alone = Llm2Vec(_spec(folder), "cpu")
    assert alone.identity["model"] == "mntp + tiny-llama"
    first = alone.encode(TEXTS)
    assert np.abs(first - vectors).max() > 1e-3
    # transformers and then peft load the same adapter: it must count once
    once = Llm2Vec(_spec(checkpoint, adapter=str(folder)), "cpu").encode(TEXTS)
    np.testing.assert_allclose(first, once, atol=1e-4)
    second = _adapter(checkpoint, tmp_path / "supervised", seed=3)
    with_second = Llm2Vec(_spec(folder, adapter=str(second)), "cpu")
    assert with_second.identity["model"] == "mntp + tiny-llama + supervised"
    assert np.abs(with_second.encode(TEXTS) - first).max() > 1e-3


def test_a_folder_has_no_revision(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.revision"):
        Llm2Vec(_spec(checkpoint, revision="main"), "cpu")
    with pytest.raises(ConfigError, match=r"encoder\.base_revision"):
        Llm2Vec(_spec(checkpoint, base_revision="main"), "cpu")


def test_a_missing_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(IadsrError, match="neither a folder"):
        Llm2Vec(_spec(tmp_path / "nothing"), "cpu")


class _Stops(Llm2Vec):
    """Dies when its second chunk comes."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        if TEXTS[0] not in texts:
            raise KeyboardInterrupt
        return super().encode(texts)


def test_killed_and_resumed_equals_never_killed(checkpoint: Path, encoder: Llm2Vec, tmp_path: Path) -> None:
    spec = _spec(checkpoint)
    source = describe_source(spec, TEXTS, "names")
    whole, path = tmp_path / "whole.safetensors", tmp_path / "v.safetensors"
    store.embed_with(TEXTS, encoder, whole, source, chunk=40)
    with pytest.raises(KeyboardInterrupt):
        store.embed_with(TEXTS, _Stops(spec, "cpu"), path, source, chunk=40)
    assert not path.exists()
    assert [part.name for part in next(tmp_path.glob(".v.*")).iterdir()] == ["000000.safetensors"]
    metadata = store.embed_with(TEXTS, encoder, path, source, chunk=40)
    assert path.read_bytes() == whole.read_bytes()
    assert metadata["dimension"] == str(HIDDEN)
    assert load_vectors(path, 100).shape == (100, HIDDEN)


# runs a command of `iadsr` and then names every distribution that it imported from
_COMMAND = """
import json, runpy, sys
from importlib.metadata import packages_distributions
try:
    runpy.run_module("iadsr", run_name="__main__", alter_sys=True)
except SystemExit as stop:
    assert not stop.code, stop.code
owners = packages_distributions()
print(json.dumps(sorted({owner for name in sys.modules for owner in owners.get(name.partition(".")[0], ())})))
"""


@pytest.fixture(scope="module")
def planted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run file with this encoder, and its results with planted data."""
    folder = tmp_path_factory.mktemp("planted")
    run = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    encoder = {"kind": "llm2vec", "model": str(checkpoint), "dtype": "float32", "batch_size": 64}
    methods = ["none", "iadsr", "iadsr_prefixes"]
    run |= {"name": "tiny", "results": str(folder / "results"), "encoder": encoder, "methods": methods, "device": "cpu"}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(run))
    command(folder / "tiny.yaml", "datasets")
    return folder / "tiny.yaml", folder / "results"


def command(run: Path, name: str) -> list[str]:
    """Run `python -m iadsr <name>` on the planted data; the distributions that it imported from."""
    arguments = [name, "--config", str(run), "--dataset", "planted"]
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    imported: list[str] = json.loads(done.stdout.splitlines()[-1])
    return imported


def test_the_command_runs_with_what_the_lock_pins(planted: tuple[Path, Path]) -> None:
    run, results = planted
    imported = command(run, "embeddings")
    pins = [line.partition("==")[0] for line in (ROOT / "envs/llm2vec.lock").read_text().splitlines()]
    canonical = {re.sub(r"[-_.]+", "-", pin).lower() for pin in pins}
    assert {"typer", "torch", "llm2vec"} <= set(imported)
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in imported} <= {*canonical, "iadsr", "pip", "setuptools"}
    (path,) = (results / "embeddings/planted").glob("llm2vec*.safetensors")
    assert load_vectors(path, 300).shape == (300, HIDDEN)
    assert read_metadata(path)["encoder"] == "llm2vec"


def test_joined_names_are_encoded_by_the_command(planted: tuple[Path, Path]) -> None:
    run, results = planted
    command(run, "sequences")
    command(run, "prefixes")
    (rows_path,) = (results / "prefixes/planted").glob("llm2vec*.npz")
    rows = np.load(rows_path)["rows"]
    vectors = load_vectors(rows_path.with_suffix(".safetensors"), int(rows.max()) + 1)
    assert vectors.shape[1] == HIDDEN
