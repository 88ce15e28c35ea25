"""Options of the encoder `llm2vec`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from iadsr.config.encoder_spec import BatchSize, EncoderSpec, Text


class Llm2vecSpec(EncoderSpec):
    """Any LLM2Vec checkpoint, in an environment of its own."""

    implementation: ClassVar[str] = "iadsr.embeddings.llm2vec_encoder:Llm2Vec"
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
