"""`python tests/tiny_llama.py FOLDER`: a checkpoint of a random two-layer Llama and a tokenizer trained on the spot.

Runs in LLM2Vec's environment, whose transformers is older than that of the others.
"""

from __future__ import annotations

import sys
from pathlib import Path

HIDDEN = 64
THINGS = ["soap", "oil", "brush", "lotion for skin", "set of combs", "hand cream, 250 ml", "argan shampoo"]
TEXTS = [f"{THINGS[n % 7]} {THINGS[(n // 7) % 7]} number {n}" + " and more" * (n % 5) for n in range(100)]


def make_tiny_llama(folder: Path) -> Path:
    """Write the checkpoint to `folder`, the same bytes each time."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    # Llama's forward refuses the token types that a plain fast tokenizer adds
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
    )
    config = LlamaConfig(
        vocab_size=len(wrapped),
        hidden_size=HIDDEN,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    LlamaModel(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    make_tiny_llama(Path(sys.argv[1]))
