"""Embeddings files: float32 vectors in safetensors, with metadata that names their encoder and texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from iadsr.config.encoder_spec import EncoderSpec
from iadsr.core.errors import DataError
from iadsr.core.files import reading, remake, value_digest

Vectors = NDArray[np.float32]

TENSOR = "embeddings"
DIGEST = "vectors_digest"  # of the tensor's bytes: the format has no checksum
IDENTITY = ("encoder", "model", "revision", "pooling", "settings", "dimension", "text_digest")
# what a reader can check, and how it names a difference
SOURCE = {
    "encoder": "by another encoder",
    "settings": "with other encoder settings",
    "options_digest": "with other encoder options",
    "catalogue_digest": "from other item names",
    "texts": "from other texts than the method reads",
}


def describe_source(spec: EncoderSpec, names: Iterable[str], texts: str) -> dict[str, str]:
    """Describe vectors that `spec` makes from a catalogue's item names, or from `texts` in their place."""
    return {
        "encoder": spec.kind,
        "settings": json.dumps(spec.settings(), sort_keys=True),
        "options_digest": value_digest(spec.options()),
        "catalogue_digest": texts_digest(names),
        "texts": texts,
    }


def read_metadata(path: str | Path) -> dict[str, str]:
    """Read the metadata of an embeddings file.

    Raises:
        DataError: the file is missing or damaged, or lacks some of it.
    """
    with reading(path):
        with safe_open(path, framework="numpy") as stored:
            metadata = dict(stored.metadata() or {})
        if missing := sorted({*IDENTITY, *SOURCE, DIGEST} - set(metadata)):
            raise ValueError(f"its metadata lacks {', '.join(missing)}")
        return metadata


def check_source(path: str | Path, wanted: Mapping[str, str]) -> None:
    """Refuse vectors that were not made from `wanted`, which `describe_source` returned.

    Raises:
        DataError: see `read_metadata`; or the encoder's options, the item names or their variant differ.
    """
    metadata = read_metadata(path)
    for name, difference in SOURCE.items():
        if metadata[name] != wanted[name]:
            readable = f" ({metadata[name]}, not {wanted[name]})" if name in ("encoder", "settings", "texts") else ""
            raise DataError(f"{path} was made {difference}{readable}; {remake(path)}")


def load_vectors(path: str | Path, rows: int) -> Vectors:
    """Read vectors (rows, d).

    Raises:
        DataError: the file is missing or damaged, has another number of rows, or holds NaN or infinity.
    """
    metadata = read_metadata(path)
    with reading(path):
        with safe_open(path, framework="numpy") as stored:
            vectors: Vectors = stored.get_tensor(TENSOR)
        shape = (rows, int(metadata["dimension"]))
        if vectors.dtype != np.float32 or vectors.shape != shape:
            raise ValueError(f"it holds {vectors.dtype} {vectors.shape}, not float32 {shape}: one row per text")
        if bad := int((~np.isfinite(vectors)).any(axis=1).sum()):
            raise ValueError(f"{bad} of {rows} vectors hold NaN or infinity")
        if vectors_digest(vectors) != metadata[DIGEST]:
            raise ValueError("its vectors are not those that were written")
    return vectors


def texts_digest(texts: Iterable[str]) -> str:
    """Digest a list of texts by SHA-256, order and boundaries included."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def vectors_digest(vectors: Vectors) -> str:
    """Digest the vectors' bytes by SHA-256, as they are stored."""
    return hashlib.sha256(np.ascontiguousarray(vectors, dtype="<f4").data).hexdigest()


def encoder_identity(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Select what a run's record says of its vectors: encoder, model, revision, settings, digest of the texts."""
    identity: dict[str, Any] = {name: metadata[name] for name in IDENTITY}
    return identity | {"settings": json.loads(metadata["settings"]), "dimension": int(metadata["dimension"])}
