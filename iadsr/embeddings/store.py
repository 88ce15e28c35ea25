"""Vectors on disk: encoded in chunks that survive a kill, stored in one safetensors file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file
from tqdm import tqdm

from iadsr.core.encoders import EncoderSpec
from iadsr.core.errors import DataError, IadsrError
from iadsr.core.files import atomic_path, texts_digest, value_digest
from iadsr.embeddings.encoder import Encoder, Vectors, make_encoder

TENSOR = "embeddings"
METADATA = ("encoder", "model", "revision", "pooling", "text_digest", "dimension")
CHUNK = 1024  # texts: seconds of MiniLM, minutes of an 8B model


def embed(texts: Sequence[str], spec: EncoderSpec, out_path: str | Path, device: str = "auto") -> dict[str, str]:
    """Encode `texts` as `spec` says and store the vectors at `out_path`; the metadata stored with them.

    A killed call goes on where it stopped when it is repeated with the same texts, spec and device.

    Raises:
        DataError: if there are no texts, or a vector holds NaN or infinity.
        IadsrError: if a package, a checkpoint or a device is missing.
    """
    encoder = make_encoder(spec, device)
    return embed_with(texts, encoder, out_path, settings=spec.settings(), device=device)


def embed_with(
    texts: Sequence[str],
    encoder: Encoder,
    out_path: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    device: str = "cpu",
    chunk: int = CHUNK,
) -> dict[str, str]:
    """`embed` with an encoder that is already made. `settings` are JSON-able options that shape the vectors
    beyond the encoder's identity; with the identity, the texts and the device they key the saved chunks."""
    if not texts:
        raise DataError("there are no texts to embed")
    out_path = Path(out_path)
    size = len(texts) if encoder.corpus_wide else chunk
    named = encoder.identity | {
        "text_digest": texts_digest(texts),
        "settings": json.dumps(dict(settings or {}), sort_keys=True),
    }
    parts = parts_folder(out_path, value_digest([named, device, size]))
    vectors = _encode_chunks(texts, encoder, parts, size)
    metadata = named | {"dimension": str(vectors.shape[1])}
    _save(out_path, vectors, metadata)
    shutil.rmtree(parts)
    return metadata


def parts_folder(out_path: Path, key: str) -> Path:
    """Where the chunks of one key wait beside their file."""
    return out_path.parent / f".{out_path.name}.parts-{key[:16]}"


def load(path: str | Path, expected_items: int) -> tuple[Vectors, dict[str, str]]:
    """Vectors float32 (expected_items, d) and their metadata.

    Raises:
        DataError: if the file is missing, damaged or not this format, or has not `expected_items` rows.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such embeddings file; embed the dataset's items first")
    try:
        with safe_open(path, framework="numpy") as stored:
            metadata = dict(stored.metadata() or {})
            vectors = stored.get_tensor(TENSOR)
    except SafetensorError as error:
        raise DataError(f"{path}: no readable embeddings ({error}); delete it and embed again") from error
    missing = [name for name in METADATA if name not in metadata]
    if missing:
        raise DataError(f"{path}: its metadata lacks {', '.join(missing)}; embed again")
    if vectors.dtype != np.float32 or vectors.shape != (expected_items, int(metadata["dimension"])):
        raise DataError(
            f"{path}: holds {vectors.dtype} {vectors.shape}, expected float32 "
            f"({expected_items}, {metadata['dimension']}); were the items rebuilt after it?"
        )
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: holds NaN or infinity; delete it and embed again")
    return vectors, metadata


def _encode_chunks(texts: Sequence[str], encoder: Encoder, parts: Path, size: int) -> Vectors:
    """Vectors (len(texts), d), each chunk read back if a former call saved it."""
    chunks: list[Vectors] = []
    with tqdm(total=len(texts), desc="embedding", unit="text", disable=None) as bar:
        for number, start in enumerate(range(0, len(texts), size)):
            some = texts[start : start + size]
            place = parts / f"{number:06d}.safetensors"
            vectors = _read_part(place, len(some))
            if vectors is None:
                vectors = np.ascontiguousarray(encoder.encode(some), dtype=np.float32)
                _check(vectors, some, start, encoder.identity["encoder"])
                _save(place, vectors, {})
            chunks.append(vectors)
            bar.update(len(some))
    widths = {vectors.shape[1] for vectors in chunks}
    if len(widths) > 1:
        raise IadsrError(f"the encoder gave vectors of several lengths: {sorted(widths)}")
    return np.concatenate(chunks)


def _check(vectors: Vectors, texts: Sequence[str], start: int, name: str) -> None:
    """Refuse what must never be stored: a wrong shape, NaN or infinity."""
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise IadsrError(f"encoder '{name}' gave shape {vectors.shape} for {len(texts)} texts")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        first = int(bad[0])
        raise DataError(
            f"encoder '{name}' gave NaN or infinity for {bad.size} of {len(texts)} texts, first for text "
            f"{start + first} ({texts[first][:80]!r}). A float16 model may overflow: try bfloat16 or float32."
        )


def _read_part(path: Path, rows: int) -> Vectors | None:
    """A saved chunk, or None where there is none that can be used."""
    if not path.is_file():
        return None
    try:
        vectors = load_file(path)[TENSOR]
    except (SafetensorError, KeyError):  # a crash of the machine can leave an empty file
        return None
    usable = vectors.dtype == np.float32 and vectors.ndim == 2 and len(vectors) == rows
    return vectors if usable and np.isfinite(vectors).all() else None


def _header(vectors: Vectors, metadata: dict[str, str]) -> bytes:
    """The head of a safetensors file: length (8 bytes, little-endian), then JSON, padded to a multiple of 8.

    The library writes metadata in an order that changes from call to call; a run's identity holds this file's
    digest, so equal vectors must give equal bytes.
    """
    entry = {"dtype": "F32", "shape": list(vectors.shape), "data_offsets": [0, vectors.nbytes]}
    fields = {"__metadata__": metadata, TENSOR: entry}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _save(path: Path, vectors: Vectors, metadata: dict[str, str]) -> None:
    """Write a safetensors file with one float32 tensor, atomically, the same bytes for the same content."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(_header(vectors, metadata))
        stream.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
