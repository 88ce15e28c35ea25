"""The input files of a run, and the data in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from iadsr.config.cell import Cell
from iadsr.config.encoders import parse_encoder
from iadsr.core import columns as c
from iadsr.core.errors import DataError, IadsrError
from iadsr.core.files import read_json, reading, remake
from iadsr.formats.embeddings import Vectors, check_source, describe_source, load_vectors, read_metadata
from iadsr.formats.tables import check_unchanged, read_catalogue, read_numbers
from iadsr.methods.method import Histories, MethodInputs
from iadsr.sequences.perturb import inject_noise, shuffle_ties
from iadsr.sequences.samples import training_histories
from iadsr.sequences.split import LAST_TRAINED, Sequences, hide_test, load_sequences
from iadsr.sequences.text_rows import with_text_rows
from iadsr.training.feed import Feed, left_padding
from iadsr.training.recommender import state_width


class Unmatched(IadsrError):
    """A control has no keep rates to copy: the matched run diverged, failed or learned nothing."""


@dataclass(frozen=True)
class TrainingData:
    """Everything that a run is trained on.

    Attributes:
        feed: its interactions.
        method: sizes and data for its method.
    """

    feed: Feed
    method: MethodInputs


def input_files(cell: Cell, root: Path) -> dict[str, Path]:
    """List the files that a cell reads, by name.

    Raises:
        DataError: one is missing.
    """
    files = {"sequences": root / "sequences" / cell.dataset / "sequences.npz"}
    if cell.encoder is not None:
        folder = root / ("prefixes" if cell.reads_prefixes else "embeddings") / cell.dataset
        files["catalogue"] = root / "data" / cell.dataset / "items.parquet"
        files["embeddings"] = folder / f"{cell.embeddings}.safetensors"
        if cell.reads_prefixes:
            files["text_rows"] = folder / f"{cell.embeddings}.npz"
    if cell.matched is not None:
        files["matched_record"] = root / "runs" / cell.matched / c.RECORD
        files["matched_curve"] = root / "runs" / cell.matched / c.CURVE
    for name, path in files.items():
        if path.is_dir():
            raise DataError(f"{path} is a folder, not a file; delete it and repeat the command", path)
        if not path.is_file():
            raise DataError(f"{cell.address} needs {path} ({name}), which is missing; {remake(path)}")
    return files


def load_data(cell: Cell, files: dict[str, Path], device: torch.device, with_test: bool = True) -> TrainingData:
    """Read what `input_files` names, with ties reordered and items injected as the cell's settings say.

    Args:
        with_test: otherwise other items stand in place of the test items.

    Raises:
        DataError: a file is damaged, or was made from others.
        Unmatched: the run whose keep rates it copies has none.
    """
    settings = cell.settings
    sequences, text = shuffle_ties(load_sequences(files["sequences"]), settings.tie_break), None
    if cell.encoder is not None:
        sequences, vectors = _load_text(cell, files, sequences)
        text = torch.cat((torch.zeros(1, vectors.shape[1]), torch.from_numpy(vectors))).to(device)
    if not with_test:
        sequences = hide_test(sequences)
    sequences = inject_noise(sequences, settings.injected_noise)
    rates, test_rate = _matched_rates(cell, files) if cell.matched is not None else (None, 1.0)
    inputs = MethodInputs(
        sequences.n_items,
        len(sequences.users),
        settings.dimension,
        state_width(cell),
        settings.max_length,
        text,
        rates,
        test_rate,
        Histories(*training_histories(sequences)),
        Histories(*training_histories(sequences, LAST_TRAINED)),
        settings.dropout,
    )
    return TrainingData(Feed(sequences, device, left_padding(cell)), inputs)


def _load_text(cell: Cell, files: dict[str, Path], sequences: Sequences) -> tuple[Sequences, Vectors]:
    """Load the vectors of the cell's texts, a row per item, or per joined names: the sequences then hold their rows.

    Raises:
        DataError: the vectors are damaged, or of another encoder, other item names or other texts.
    """
    path = files["embeddings"]
    names = read_catalogue(files["catalogue"])[c.TEXT]
    if len(names) != sequences.n_items:
        where = files["sequences"]
        raise DataError(f"{where} was made from {sequences.n_items} items, not {len(names)}; {remake(where)}", where)
    check_source(path, describe_source(parse_encoder(cell.encoder or {}), names, cell.texts))
    if "text_rows" in files:
        sequences = with_text_rows(sequences, files["text_rows"], read_metadata(path)["text_digest"])
    rows = sequences.n_items if sequences.texts is None else int(sequences.texts.max())
    return sequences, load_vectors(path, rows)


def _matched_rates(cell: Cell, files: dict[str, Path]) -> tuple[npt.NDArray[np.float64], float]:
    """Read the keep rate of the matched run's inputs in each training epoch, and that at test time.

    Raises:
        Unmatched: it has none, or learned nothing.
    """
    record = read_json(files["matched_record"], {"status": str, "mask": dict | None, "reason": str | None})
    check_unchanged(files["matched_curve"], record)
    curve = read_numbers(files["matched_curve"], ["epoch"])
    rates = curve["keep_rate"].to_numpy() if "keep_rate" in curve else np.empty(0)
    rate = (record["mask"] or {}).get("test_keep_rate")
    if record["status"] == c.UNTRAINED:
        raise Unmatched(f"the run whose keep rates it copies is untrained: {cell.matched} ({record['reason']})")
    if rate is None or not len(rates):
        raise Unmatched(f"the run whose keep rates it copies has none: {cell.matched} ({record['reason']})")
    if record["mask"].get("remembered", True):
        rates = np.append(1.0, rates)  # the masks of an epoch are on the inputs of the next one
    with reading(files["matched_record"]):
        return rates, float(rate)
