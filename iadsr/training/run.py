"""One cell of the grid, from its input files to record.json, ranks.parquet and curve.csv."""

from __future__ import annotations

import logging
import platform
import sysconfig
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from iadsr.config.cell import Cell
from iadsr.config.encoders import parse_encoder
from iadsr.config.identity import source_digest, sources
from iadsr.core import columns as c
from iadsr.core.errors import DataError, IadsrError
from iadsr.core.files import check_writable, file_digest, read_json, reading, remake, value_digest, write_json
from iadsr.formats.embeddings import (
    Vectors,
    check_source,
    describe_source,
    encoder_identity,
    load_vectors,
    read_metadata,
)
from iadsr.formats.tables import check_unchanged, read_catalogue, read_numbers, write_csv, write_parquet
from iadsr.machine.devices import resolve_device
from iadsr.machine.faults import is_out_of_memory
from iadsr.machine.provenance import commit, machine, peak_memory_mb, versions
from iadsr.methods.method import Histories, Method, MethodInputs, Untrainable
from iadsr.sequences.perturb import inject_noise, shuffle_ties
from iadsr.sequences.samples import training_histories
from iadsr.sequences.split import Sequences, load_sequences
from iadsr.sequences.text_rows import with_text_rows
from iadsr.training.curve import Diverged, curve_table
from iadsr.training.denoised_target import denoised_target
from iadsr.training.feed import Feed, left_padding
from iadsr.training.finished import digests, find_finished, link_files
from iadsr.training.loop import evaluation_noise, train
from iadsr.training.mask_statistics import mask_figures, mask_names
from iadsr.training.recommender import Recommender, build_recommender, state_width
from iadsr.training.score import Scorer
from iadsr.training.state import Outcome, checkpoint_path
from iadsr.training.untrained import why_untrained

logger = logging.getLogger("iadsr.training")


class Unmatched(IadsrError):
    """A control has no keep rates to copy: the matched run diverged, failed or learned nothing."""


def set_up_torch(device_name: str, threads: int) -> torch.device:
    """Make torch deterministic and choose its device; see `resolve_device`."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads any here
    return torch.device(resolve_device(device_name))


def run_cell(cell: Cell, root: Path, device_name: str, threads: int) -> None:
    """Train, score and record one cell; `root` is the results folder.

    A run that diverges, learns nothing or whose code raises is an outcome: its record says so and every table shows
    it. Its ranks are empty, except where training went through but nothing was learned; such ranks enter no metric. A
    cell that has a record of the same identity is not trained again, unless it failed.
    """
    began = time.monotonic()
    device = set_up_torch(device_name, threads)
    folder = root / "runs" / cell.address
    for needed in (folder, root / "scratch"):  # now, not after hours of training
        check_writable(needed)
    inputs = input_files(cell, root)
    input_digests = {name: file_digest(path) for name, path in inputs.items()}
    source = source_digest(sources("training", **cell.modules))
    identity = value_digest(
        {"cell": cell.digest, "inputs": input_digests, "source": source, "threads": threads, "torch": torch.__version__}
    )

    store = root / "scratch" / "finished" / identity
    if find_finished(folder, store, identity):
        logger.info("%s is trained already; to train it anew, delete %s and %s", cell.address, folder, store)
        return
    read = encoder_identity(read_metadata(inputs["embeddings"])) if cell.encoder else None
    checkpoints = [checkpoint_path(root, f"{identity}{stage}", device) for stage in ("", "-alone")]
    ranks, parameters, stage_one = _no_ranks(), 0, 0.0
    mask: dict[str, Any] = {}
    groups = inflated = failure = unlearned = None
    try:
        sequences = varied(load_sequences(inputs["sequences"]), cell)
        vectors = None
        if cell.encoder is not None:
            sequences, vectors = load_text(cell, inputs, sequences)
        model = build_recommender(cell, method_inputs(cell, sequences, inputs, vectors, device))
        parameters = sum(weight.numel() for weight in model.parameters())
        feed = Feed(sequences, device, left_padding(cell))
        scorer = Scorer(feed, "test", cell)
        if sequences.noise is not None:
            _, _, mask["untrained_auc"] = scorer.ranks(model.to(device).eval(), evaluation_noise(cell, device))
        if cell.warm_start:
            stage_one = train_alone(model, feed, cell, checkpoints[1])
        outcome = train(model, feed, cell, checkpoints[0])
        if outcome.diverged is None:
            ranks, tested, auc = scorer.ranks(model.eval(), evaluation_noise(cell, device))
            if outcome.masks is not None and tested.inputs:
                counts = sequences.train_counts()
                groups = {"train": outcome.masks.by_group(counts), "test": tested.by_group(counts)}
                mask |= {
                    "test_keep_rate": tested.keep_rate,
                    **mask_figures(tested),
                    **mask_figures(outcome.masks, "train_"),
                }
            mask["noise_auc"] = auc
            inflated = denoised_target(model, feed, cell, evaluation_noise(cell, device))
            unlearned = why_untrained(outcome)
    except Unmatched as error:
        outcome, unlearned = Outcome(), str(error)
    except (Untrainable, Diverged) as error:
        outcome = Outcome(diverged=str(error))
    except (IadsrError, OSError, torch.AcceleratorError):
        raise  # inputs and the machine: another attempt may succeed, so nothing is recorded
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        logger.exception("%s failed", cell.address)
        failure = _summary(error)
        outcome, ranks, mask, groups = Outcome(), _no_ranks(), {}, None
    reasons = {c.FAILED: failure, c.DIVERGED: outcome.diverged, c.UNTRAINED: unlearned}
    status, reason = next(((name, text) for name, text in reasons.items() if text), (c.DONE, None))
    if status != c.DONE:
        logger.error("%s %s: %s", cell.address, status, reason)
    write_csv(folder / c.CURVE, curve_table(outcome.curve))
    write_parquet(folder / c.RANKS, ranks)
    write_json(
        folder / c.RECORD,
        {
            "status": status,
            "reason": reason,
            "identity": identity,
            "cell": _cell_record(cell),
            "encoder_identity": read,
            "inputs": input_digests,
            "files": digests(folder),
            "source_digest": source,
            "commit": commit(),
            "versions": versions(),
            "device": _device_name(device),
            "threads": threads,
            "machine": machine(),
            "seconds": {**_seconds(outcome, time.monotonic() - began), "stage_one": stage_one},
            "peak_memory_mb": peak_memory_mb(),
            "parameters": parameters,
            "epochs": len(outcome.curve),
            "best_epoch": outcome.best_epoch,
            "best_validation": outcome.best_validation,
            "mask": _mask_record(outcome, mask),
            "keep_by_group": groups,
            "denoised_target": inflated,
        },
    )
    if failure is None:
        link_files(folder, store)
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)


def _summary(error: BaseException) -> str:
    """Type, message and place of an error: where our code, or a module of the user's, last was."""
    frames = traceback.extract_tb(error.__traceback__)
    libraries = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    own = [frame for frame in frames if not frame.filename.startswith(libraries)]
    last = (own or frames)[-1]
    message = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {message} ({Path(last.filename).name}, line {last.lineno}, {last.name})"


def varied(sequences: Sequences, cell: Cell) -> Sequences:
    """The data as the cell's settings would have them: ties broken anew, random items injected."""
    return inject_noise(shuffle_ties(sequences, cell.settings.tie_break), cell.settings.injected_noise)


def train_alone(model: Recommender, feed: Feed, cell: Cell, checkpoint: Path | None = None) -> float:
    """The first of two stages: train the model's table and backbone without its method, as `none` would be.

    Returns:
        Seconds.

    Raises:
        Diverged: there is nothing for a second stage to start from.
    """
    began = time.monotonic()
    alone = Recommender(model.table, model.backbone, Method(), model.bounded, model.in_batch)
    outcome = train(alone, feed, cell.model_copy(update={"warm_start": False}), checkpoint)
    if outcome.diverged is not None:
        raise Diverged(f"without the method, {outcome.diverged}")
    return time.monotonic() - began


def input_files(cell: Cell, root: Path) -> dict[str, Path]:
    """Every file that a cell reads, by name.

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


def load_text(cell: Cell, inputs: dict[str, Path], sequences: Sequences) -> tuple[Sequences, Vectors]:
    """Vectors of the cell's texts, one row per item, or per joined name; the sequences then tell whose each row is.

    Raises:
        DataError: the vectors are damaged, or of another encoder, other item names or other texts.
    """
    path = inputs["embeddings"]
    names = read_catalogue(inputs["catalogue"])[c.TEXT]
    if len(names) != sequences.n_items:
        where = inputs["sequences"]
        raise DataError(f"{where} was made from {sequences.n_items} items, not {len(names)}; {remake(where)}", where)
    check_source(path, describe_source(parse_encoder(cell.encoder or {}), names, cell.texts))
    if "text_rows" in inputs:
        sequences = with_text_rows(sequences, inputs["text_rows"], read_metadata(path)["text_digest"])
    rows = sequences.n_items if sequences.texts is None else int(sequences.texts.max())
    return sequences, load_vectors(path, rows)


def method_inputs(
    cell: Cell, sequences: Sequences, inputs: dict[str, Path], vectors: Vectors | None, device: torch.device
) -> MethodInputs:
    """Sizes and data for the cell's method.

    Raises:
        Unmatched: the matched run has no keep rate to copy, or it learned nothing: a control at the rate of a run that
            is in no mean would itself be in the means.
    """
    text = rates = None
    test_rate = 1.0
    if vectors is not None:
        text = torch.cat((torch.zeros(1, vectors.shape[1]), torch.from_numpy(vectors))).to(device)
    if "matched_record" in inputs:
        record = read_json(inputs["matched_record"], {"status": str, "mask": dict | None, "reason": str | None})
        check_unchanged(inputs["matched_curve"], record)
        curve = read_numbers(inputs["matched_curve"], ["epoch"])
        rates = curve["keep_rate"].to_numpy() if "keep_rate" in curve else np.empty(0)
        rate = (record["mask"] or {}).get("test_keep_rate")
        if record["status"] == c.UNTRAINED:
            raise Unmatched(f"the run whose keep rates it copies is untrained: {cell.matched} ({record['reason']})")
        if rate is None or not len(rates):
            raise Unmatched(f"the run whose keep rates it copies has none: {cell.matched} ({record['reason']})")
        with reading(inputs["matched_record"]):
            test_rate = float(rate)
    return MethodInputs(
        sequences.n_items,
        len(sequences.users),
        cell.settings.dimension,
        state_width(cell),
        cell.settings.max_length,
        text,
        rates,
        test_rate,
        Histories(*training_histories(sequences)),
    )


def _no_ranks() -> pd.DataFrame:
    """ranks.parquet without users."""
    names = [c.USER, c.TARGET, c.TARGET_TRAIN_COUNT, c.HISTORY_LENGTH]
    for ranking in c.RANKINGS:
        names += [c.rank_column(ranking), c.ties_column(ranking), c.top_column(ranking)]
    return pd.DataFrame({name: pd.Series(dtype=object) for name in names})


def _cell_record(cell: Cell) -> dict[str, Any]:
    return {
        **{name: getattr(cell, name) for name in c.ADDRESS},
        "kind": cell.kind,
        "encoder": cell.encoder,
        "texts": cell.texts,
        "warm_start": cell.warm_start,
        "tuned": cell.tuned,
        "objective": cell.settings.objective,
        "settings": {
            **cell.settings.model_dump(),
            "backbone_options": cell.backbone_options,
            "method_options": cell.method_options,
        },
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


def _seconds(outcome: Outcome, total: float) -> dict[str, float]:
    return {"total": total, "epoch": float(np.mean([row.seconds for row in outcome.curve] or [0.0]))}


def _mask_record(outcome: Outcome, test: dict[str, Any]) -> dict[str, Any] | None:
    """Mask statistics at the best epoch and at test time, None for a method without a mask or a score."""
    best = next((row for row in outcome.curve if row.epoch == outcome.best_epoch), None)
    if best is None or ("keep_rate" not in best.figures and test.get("noise_auc") is None):
        return None
    nothing = dict.fromkeys(("test_keep_rate", "untrained_auc", *mask_names()))
    trained = {"train_keep_rate": best.figures.get("keep_rate"), "gate_share": best.figures.get("gate_share")}
    return {**trained, **nothing, **test}
