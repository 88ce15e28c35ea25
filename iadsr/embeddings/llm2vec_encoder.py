"""LLM2Vec checkpoints (BehnamGhader et al., COLM 2024) through the llm2vec package, in an environment of its own.

The package applies `revision` to the weights alone and takes tokenizer and adapter as the hub holds them today, so
every hub name is first resolved to a local snapshot of one commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from iadsr.core.errors import ConfigError, DataError, IadsrError
from iadsr.core.files import file_digest, read_json, value_digest
from iadsr.embeddings.llm2vec_options import Llm2vecSpec
from iadsr.embeddings.vectors import batches_by_length, one_thread, unit_rows
from iadsr.formats.embeddings import Vectors
from iadsr.machine.devices import resolve_device

_SEPARATOR = "!@#$%^&*()"  # llm2vec's own mark between instruction and text
_POOLED_TOKENS = 400  # llm2vec's default bound on a text without its instruction
_UNUSED = ["original/*", "*.pth", "*.gguf", "*.h5", "*.msgpack"]  # other formats of the same weights


def _llm2vec() -> Any:
    """Import the llm2vec package's class, which only its own environment has."""
    try:
        from llm2vec import LLM2Vec
    except ImportError as error:
        raise IadsrError(
            f"The llm2vec package cannot be imported here ({error}); it needs an older transformers and so "
            "an environment of its own: run `make setup-llm2vec`, or run the workflow with --use-conda."
        ) from error
    return LLM2Vec


@dataclass(frozen=True)
class _Checkpoint:
    """A checkpoint on this machine; `name` and `revision` hold no path."""

    folder: Path
    name: str
    revision: str


def _folder_digest(folder: Path) -> str:
    """Digest a checkpoint's files and their names: the first 16 digits."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return value_digest([[path.name, file_digest(path)] for path in files])[:16]


def _hub_error(name: str, error: Exception) -> IadsrError:
    return IadsrError(
        f"'{name}' is neither a folder here nor a model that the hub gives us ({type(error).__name__}: "
        f"{error}). Check the name, the network, and for a gated model your access and HF_TOKEN."
    )


def _checkpoint(name: str, revision: str | None, option: str) -> _Checkpoint:
    """Find a checkpoint: the folder `name`, else the hub's snapshot of that name at `revision`."""
    folder = Path(name)
    if folder.is_dir():
        if revision is not None:
            raise ConfigError(f"encoder.{option}: '{folder.name}' is a folder, and a folder has no revisions")
        return _Checkpoint(folder, folder.resolve().name, f"sha256 {_folder_digest(folder)}")
    from huggingface_hub import snapshot_download

    try:
        snapshot = Path(snapshot_download(name, revision=revision, ignore_patterns=_UNUSED))
    except (OSError, ValueError) as error:
        raise _hub_error(name, error) from error
    return _Checkpoint(snapshot, name, snapshot.name)


def _base_of(checkpoint: _Checkpoint, revision: str | None) -> tuple[str, str] | None:
    """Return name and commit of the base model of an adapter-only checkpoint; None for a whole model.

    The adapter's own file may name a folder; a folder's revision is its digest.
    """
    description = checkpoint.folder / "adapter_config.json"
    if not description.is_file():
        if revision is not None:
            raise ConfigError(f"encoder.base_revision: '{checkpoint.name}' is a whole model, without a base")
        return None
    name = str(read_json(description)["base_model_name_or_path"])
    if Path(name).is_dir():
        base = _checkpoint(name, revision, "base_revision")
        return base.name, base.revision
    from huggingface_hub import hf_hub_download

    try:
        return name, Path(hf_hub_download(name, "config.json", revision=revision)).parent.name
    except (OSError, ValueError) as error:
        raise _hub_error(name, error) from error


class Llm2Vec:
    """A large language model made bidirectional; vectors have unit length only with the option `normalise`."""

    corpus_wide = False

    def __init__(self, spec: Llm2vecSpec, device: str = "auto") -> None:
        _llm2vec()
        self._spec = spec
        self._batch_size = spec.batch_size
        self._device = resolve_device(device)
        self._model = _checkpoint(spec.model, spec.revision, "revision")
        self._adapter = spec.adapter and _checkpoint(spec.adapter, spec.adapter_revision, "adapter_revision")
        self._base = _base_of(self._model, spec.base_revision)

    @property
    def identity(self) -> dict[str, str]:
        """See `Encoder`. A revision is a hub commit, or the start of a SHA-256 over a folder's files."""
        parts = [(self._model.name, self._model.revision)]
        parts += [self._base] if self._base else []
        parts += [(self._adapter.name, self._adapter.revision)] if self._adapter else []
        return {
            "encoder": "llm2vec",
            "model": " + ".join(name for name, _ in parts),
            "revision": " + ".join(revision for _, revision in parts),
            "pooling": self._spec.pooling,
        }

    @cached_property
    def _network(self) -> Any:
        """Load the package's model on the device, in evaluation mode."""
        import torch

        # the base is all that transformers still has to look up, unless it is a folder, which has no commit
        commit = {"revision": self._base[1]} if self._base and not self._base[1].startswith("sha256 ") else {}
        try:
            network = _llm2vec().from_pretrained(
                str(self._model.folder),
                peft_model_name_or_path=str(self._adapter.folder) if self._adapter else None,
                pooling_mode=self._spec.pooling,
                max_length=self._spec.max_length,
                doc_max_length=min(_POOLED_TOKENS, self._spec.max_length),
                torch_dtype=getattr(torch, self._spec.dtype),
                device_map=self._device,
                **commit,
            )
        except (OSError, ValueError) as error:
            raise IadsrError(f"'{self._model.name}' does not load as an LLM2Vec model: {error}") from error
        return network.to(self._device).eval()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (len(texts), d), d being the model's.

        Batches are made here, since the package's `encode` would take every GPU that it sees.

        Raises:
            DataError: a text holds no token, so that its mean would be over the padding.
        """
        import torch

        network = self._network
        vectors = np.zeros((len(texts), network.config.hidden_size), dtype=np.float32)
        marked = [self._marked(text) for text in texts]
        bar = tqdm(total=len(texts), desc="LLM2Vec", unit="text", leave=False, disable=None)
        with torch.inference_mode(), one_thread(), bar:
            for rows in batches_by_length([len(text) for text in marked], self._batch_size):
                features = network.tokenize([marked[row] for row in rows])
                empty = features["embed_mask"].sum(dim=1) == 0
                if network.skip_instruction and empty.any():
                    text = texts[rows[int(empty.int().argmax())]]
                    raise DataError(f"the text {text!r} holds no token for LLM2Vec; give it a placeholder")
                features = {name: value.to(self._device) for name, value in features.items()}
                vectors[rows] = network(features).float().cpu().numpy()
                bar.update(len(rows))
        return unit_rows(vectors) if self._spec.normalise else vectors

    def reads(self, texts: Sequence[str]) -> list[str]:
        """Cut each text as the package does."""
        return [self._marked(text) for text in texts]

    def _marked(self, text: str) -> str:
        """Format a text as the package expects it: cut, behind its instruction, in the model's chat format."""
        # the mark inside a title would end the text there
        clean = text.replace(_SEPARATOR, " ")
        network = self._network
        marked: str = network.prepare_for_tokenization(network._convert_to_str(self._spec.instruction or "", clean))
        return marked
