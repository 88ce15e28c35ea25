"""`encoder:` in a configuration: defaults by kind, and refusals that say what to write instead."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from iadsr.config.encoders import ENCODERS, embeddings_name, parse_encoder
from iadsr.core.errors import ConfigError

KINDS = tuple(ENCODERS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_alone_is_enough_and_a_dump_reads_back(kind: str) -> None:
    spec = parse_encoder({"kind": kind})
    assert parse_encoder(spec.model_dump()) == spec
    assert parse_encoder(spec.options()) == spec


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({}, "encoder.kind: this key is missing"),
        ({"kind": "minlm"}, "did you mean 'minilm'"),
        ({"kind": "minilm", "instruction": "x"}, "unknown key 'encoder.instruction'"),
        ({"kind": "minilm", "bath_size": 4}, "did you mean 'batch_size'"),
        ({"kind": "tfidf", "batch_size": 4}, "unknown key 'encoder.batch_size'"),
        ({"kind": "random", "pooling": "mean"}, "unknown key 'encoder.pooling'"),
        ({"kind": "llm2vec", "dimension": 64}, "unknown key 'encoder.dimension'"),
        ({"kind": "minilm", "pooling": "eos_token"}, "should be 'mean'"),
        ({"kind": "minilm", "normalise": True}, "unknown key 'encoder.normalise'"),
        ({"kind": "minilm", "batch_size": 0}, "encoder.batch_size"),
        ({"kind": "minilm", "batch_size": "8"}, "encoder.batch_size"),
        ({"kind": "tfidf", "seed": -1}, "encoder.seed"),
        ({"kind": "llm2vec", "adapter_revision": "main"}, "needs an 'adapter'"),
        ({"kind": ["minilm"]}, "unknown value"),
    ],
)
def test_what_makes_no_sense_is_refused(mapping: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match="encoder") as refusal:
        parse_encoder(mapping)
    assert words in str(refusal.value)


def test_a_spec_is_frozen_and_every_option_is_described() -> None:
    spec = parse_encoder({"kind": "random"})
    with pytest.raises(ValidationError):
        spec.seed = 3  # type: ignore[misc]
    assert all(field.description for model in ENCODERS.values() for field in model.model_fields.values())


def test_settings_leave_out_what_the_identity_says() -> None:
    assert parse_encoder({"kind": "tfidf", "dimension": 8}).settings() == {"dimension": 8, "seed": 0}
    assert "model" not in parse_encoder({"kind": "llm2vec"}).settings()
    assert parse_encoder({"kind": "llm2vec"}).settings()["normalise"] is False


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_named_after_kind_texts_and_changed_options(kind: str) -> None:
    spec = parse_encoder({"kind": kind})
    for defaults in ({"kind": kind}, spec.options(), spec.model_dump()):
        assert embeddings_name(defaults) == kind
        assert embeddings_name(defaults, "shuffled") == f"{kind}-shuffled"
    names = [kind]
    for name in ENCODERS[kind].model_fields:
        other = 7 if isinstance(getattr(spec, name), int) else "x"
        value = {"pooling": "weighted_mean", "dtype": "float16", "normalise": True}.get(name, other)
        needs = {"adapter": "a"} if name == "adapter_revision" else {}
        try:
            changed = parse_encoder({"kind": kind, **needs, name: value})
        except ConfigError:
            continue  # not an option of this kind
        names.append(embeddings_name(changed.options()))
        assert embeddings_name(changed.options(), "empty") == f"{names[-1]}-empty"
    assert len(names) > 2
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(rf"{kind}-[0-9a-f]{{8}}", name) for name in names[1:])
