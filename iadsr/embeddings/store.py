"""Encodes texts in chunks that survive a kill, and stores their vectors in one safetensors file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from iadsr.config.encoder_spec import EncoderSpec
from iadsr.config.fields import Texts
from iadsr.core.errors import DataError, IadsrError
from iadsr.core.files import atomic_path, value_digest
from iadsr.embeddings.encoder import Encoder, make_encoder
from iadsr.embeddings.texts import vary_texts
from iadsr.formats.embeddings import DIGEST, TENSOR, Vectors, describe_source, texts_digest, vectors_digest

CHUNK = 1024  # texts: seconds of MiniLM, minutes of an 8B model


def embed(
    names: Sequence[str], spec: EncoderSpec, out_path: str | Path, device: str = "auto", variant: Texts = "names"
) -> dict[str, str]:
    """Encode a catalogue's item names, or a `variant` of them, and store the vectors at `out_path`.

    A killed call goes on where it stopped when it is repeated with the same texts, spec and device.

    Returns:
        The metadata stored with the vectors.

    Raises:
        DataError: there are no texts, or a vector holds NaN or infinity.
        IadsrError: a package, a checkpoint or a device is missing.
    """
    encoder = make_encoder(spec, device)
    source = describe_source(spec, names, variant)
    return embed_with(vary_texts(names, variant), encoder, out_path, source, device=device)


def embed_with(
    texts: Sequence[str],
    encoder: Encoder,
    out_path: str | Path,
    source: Mapping[str, str],
    *,
    device: str = "cpu",
    chunk: int = CHUNK,
) -> dict[str, str]:
    """Encode texts and store their vectors, as `embed` does, with a given encoder.

    Args:
        source: metadata from `describe_source`. Chunks are keyed by it, the encoder's identity, texts and device.
        chunk: texts per saved chunk.
    """
    if not texts:
        raise DataError("there are no texts to embed")
    out_path = Path(out_path)
    size = len(texts) if encoder.corpus_wide else chunk
    metadata = {**source, **encoder.identity, "text_digest": texts_digest(texts)}
    parts = parts_folder(out_path, value_digest([metadata, device, size]))
    vectors = _encode_chunks(texts, encoder, parts, size)
    metadata |= {"dimension": str(vectors.shape[1]), DIGEST: vectors_digest(vectors)}
    _save(out_path, vectors, metadata)
    shutil.rmtree(parts, ignore_errors=True)  # another process may have ended first
    return metadata


def parts_folder(out_path: Path, key: str) -> Path:
    """Return the folder of the chunks of one key, beside their file."""
    return out_path.parent / f".{out_path.name}.parts-{key[:16]}"


def _encode_chunks(texts: Sequence[str], encoder: Encoder, parts: Path, size: int) -> Vectors:
    """Encode texts in chunks, (len(texts), d); a chunk that an earlier call saved is read."""
    chunks: list[Vectors] = []
    with tqdm(total=len(texts), desc="embedding", unit="text", disable=None) as bar:
        for number, start in enumerate(range(0, len(texts), size)):
            chunk = texts[start : start + size]
            path = parts / f"{number:06d}.safetensors"
            vectors = _read_part(path, len(chunk))
            if vectors is None:
                vectors = np.ascontiguousarray(encoder.encode(chunk), dtype=np.float32)
                _check(vectors, chunk, start, encoder.identity["encoder"])
                _save(path, vectors, {DIGEST: vectors_digest(vectors)})
            chunks.append(vectors)
            bar.update(len(chunk))
    widths = {vectors.shape[1] for vectors in chunks}
    if len(widths) > 1:
        raise IadsrError(f"the encoder gave vectors of several lengths: {sorted(widths)}")
    return np.concatenate(chunks)


def _check(vectors: Vectors, texts: Sequence[str], start: int, name: str) -> None:
    """Refuse vectors of a wrong shape, and NaN or infinity."""
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
    """Read a saved chunk; None if there is no usable one."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as stored:
            vectors: Vectors = stored.get_tensor(TENSOR)
            digest = (stored.metadata() or {}).get(DIGEST)
    except (SafetensorError, ValueError, TypeError):  # empty after a crash of the machine, or of other things
        return None
    usable = vectors.dtype == np.float32 and vectors.ndim == 2 and len(vectors) == rows
    return vectors if usable and vectors_digest(vectors) == digest else None


def _header(vectors: Vectors, metadata: dict[str, str]) -> bytes:
    """Format the header of a safetensors file: length (8 bytes, little-endian), then JSON, padded to a multiple of 8.

    The library writes metadata in an order that changes from call to call; a run's identity holds this file's
    digest, so equal vectors must give equal bytes.
    """
    entry = {"dtype": "F32", "shape": list(vectors.shape), "data_offsets": [0, vectors.nbytes]}
    fields = {"__metadata__": metadata, TENSOR: entry}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _save(path: Path, vectors: Vectors, metadata: dict[str, str]) -> None:
    """Write a safetensors file with one float32 tensor, atomically; the same content gives the same bytes."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(_header(vectors, metadata))
        stream.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
