"""One cell of the grid, from its input files to record.json, ranks.parquet and curve.csv."""

from __future__ import annotations

import logging
import sysconfig
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from iadsr.config.cell import Cell
from iadsr.config.identity import source_digest, sources
from iadsr.config.reuse import cutoff_of
from iadsr.core import columns as c
from iadsr.core.errors import IadsrError
from iadsr.core.files import file_digest, remove_leftovers, value_digest, write_json
from iadsr.formats.embeddings import (
    encoder_identity,
    read_metadata,
)
from iadsr.formats.tables import write_csv, write_parquet
from iadsr.machine.devices import resolve_device
from iadsr.machine.disk import check_writable
from iadsr.machine.faults import is_out_of_memory
from iadsr.machine.locks import alone_in
from iadsr.machine.provenance import commit, cpu_model, machine, peak_memory_mb, versions
from iadsr.machine.yardstick import yardstick
from iadsr.methods.cutoff import Cutoff
from iadsr.methods.method import Untrainable
from iadsr.training.curve import Diverged, curve_table
from iadsr.training.denoised_target import denoised_target
from iadsr.training.drops import describe_drops
from iadsr.training.finished import digests, find_finished, link_files
from iadsr.training.inputs import Unmatched, input_files, load_data
from iadsr.training.loop import evaluation_noise, train, train_alone
from iadsr.training.mask_statistics import mask_figures, mask_names
from iadsr.training.recommender import build_recommender
from iadsr.training.reuse import reuse_run
from iadsr.training.score import Scorer
from iadsr.training.state import Outcome, checkpoint_path
from iadsr.training.untrained import why_untrained

logger = logging.getLogger("iadsr.training")


def set_up_torch(device_name: str, threads: int) -> torch.device:
    """Make torch deterministic and choose its device; see `resolve_device`."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads any here
    return torch.device(resolve_device(device_name))


@dataclass
class RunResult:
    """The results of a run so far; an error leaves those of the steps before it.

    Attributes:
        ranks: ranks.parquet.
        parameters: number of the model's parameters.
        stage_one: seconds of the backbone's own training.
        mask: mask statistics at test time, by name.
        groups: keep rates of cold items and popularity deciles.
        drops: see `describe_drops`; None without a mask.
        denoised: see `denoised_target`.
        cutoff: of the method, with every comparison of the run, if it has one.
        untrained: why nothing was learned, or None.
        failure: the error that ended the run, or None.
    """

    outcome: Outcome = field(default_factory=Outcome)
    ranks: pd.DataFrame = field(default_factory=lambda: _no_ranks())
    parameters: int = 0
    stage_one: float = 0.0
    mask: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, Any] | None = None
    drops: dict[str, Any] | None = None
    denoised: dict[str, float] | None = None
    cutoff: Cutoff | None = None
    untrained: str | None = None
    failure: str | None = None

    @property
    def status(self) -> tuple[str, str | None]:
        """Status and reason of the record."""
        reasons = {c.FAILED: self.failure, c.DIVERGED: self.outcome.diverged, c.UNTRAINED: self.untrained}
        return next(((name, text) for name, text in reasons.items() if text), (c.DONE, None))


def run_cell(cell: Cell, root: Path, device_name: str, threads: int, earlier: Sequence[Cell] = ()) -> None:
    """Train, score and record one cell; `root` is the results folder.

    A run that diverges, learns nothing or whose code raises is an outcome: its record says so and every table shows
    it. Its ranks are empty, except where training went through but nothing was learned; such ranks enter no metric. A
    cell that has a record of the same identity is not trained again, unless it failed; one that is the same run as one
    of the `earlier` cells is copied (see `iadsr.config.reuse`).
    """
    folder = root / "runs" / cell.address
    for needed in (folder, root / "scratch"):  # now, not after hours of training
        check_writable(needed)
    with alone_in(folder):
        _run_cell(cell, root, folder, set_up_torch(device_name, threads), threads, earlier)


def _run_cell(
    cell: Cell, root: Path, folder: Path, device: torch.device, threads: int, earlier: Sequence[Cell]
) -> None:
    """Do what `run_cell` says, alone in the run's folder."""
    began = time.monotonic()
    files = input_files(cell, root)
    inputs = {name: file_digest(path) for name, path in files.items()}
    source = source_digest(sources("training", **cell.modules))
    given = {"inputs": inputs, "source": source, "threads": threads, "torch": torch.__version__}

    def identify(cell: Cell) -> str:
        return value_digest({"cell": cell.digest, **given})

    identity = identify(cell)
    store = root / "scratch" / "finished" / identity
    checkpoints = [checkpoint_path(root, f"{identity}{stage}", device) for stage in ("", "-alone")]
    if find_finished(folder, store, identity):
        logger.info("%s is trained already; to train it anew, delete %s and %s", cell.address, folder, store)
        _discard(checkpoints)  # a kill may have come between the record and this
        return
    if reuse_run(cell, earlier, root / "runs", identify):
        _finish(folder, store, checkpoints)
        return
    encoder = encoder_identity(read_metadata(files["embeddings"])) if cell.encoder else None
    result, pace = RunResult(), yardstick()
    try:
        _train_and_score(cell, files, device, checkpoints, result)
    except Unmatched as error:
        result.untrained = str(error)
    except (Untrainable, Diverged) as error:
        result.outcome = Outcome(diverged=str(error))
    except (IadsrError, OSError, torch.AcceleratorError):
        raise  # inputs and the machine: another attempt may succeed, so nothing is recorded
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        logger.exception("%s failed", cell.address)
        result = RunResult(parameters=result.parameters, stage_one=result.stage_one, failure=_summary(error))
    outcome, (status, reason) = result.outcome, result.status
    if status != c.DONE:
        logger.error("%s %s: %s", cell.address, status, reason)
    write_csv(folder / c.CURVE, curve_table(outcome.curve))
    write_parquet(folder / c.RANKS, result.ranks)
    epoch = float(np.mean([row.seconds for row in outcome.curve] or [0.0]))
    seconds = {"total": time.monotonic() - began, "epoch": epoch, "stage_one": result.stage_one}
    seconds["yardstick"] = (pace + yardstick()) / 2
    write_json(
        folder / c.RECORD,
        {
            "status": status,
            "reason": reason,
            "identity": identity,
            "cell": cell.record,
            "encoder_identity": encoder,
            "inputs": inputs,
            "files": digests(folder),
            "source_digest": source,
            "commit": commit(),
            "versions": versions(),
            "device": _device_name(device),
            "threads": threads,
            "machine": machine(),
            "seconds": seconds,
            "peak_memory_mb": peak_memory_mb(),
            "parameters": result.parameters,
            "epochs": len(outcome.curve),
            "best_epoch": outcome.best_epoch,
            "best_validation": outcome.best_validation,
            "mask": _mask_record(outcome, result.mask),
            "keep_by_group": result.groups,
            "drops": result.drops,
            "denoised_target": result.denoised,
            "same_between": _same_between(cell, result.cutoff),
            "reused_from": None,
        },
    )
    _finish(folder, None if result.failure else store, checkpoints)


def _finish(folder: Path, store: Path | None, checkpoints: Sequence[Path]) -> None:
    """Link a finished run into its store, if it has one, and delete its checkpoints."""
    if store is not None:
        link_files(folder, store)
    _discard(checkpoints)


def _discard(checkpoints: Sequence[Path]) -> None:
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)
        remove_leftovers(checkpoint)


def _train_and_score(
    cell: Cell, files: dict[str, Path], device: torch.device, checkpoints: Sequence[Path], result: RunResult
) -> None:
    """Train a cell and score every user, and fill in the result step by step."""
    data = load_data(cell, files, device)
    feed = data.feed
    model = build_recommender(cell, data.method)
    result.parameters = sum(weight.numel() for weight in model.parameters())
    result.cutoff = model.method.cutoff
    scorer = Scorer(feed, "test", cell)
    if feed.noise is not None:
        untrained = scorer.test(model.to(device).eval(), evaluation_noise(cell, device))
        result.mask["untrained_auc"] = untrained.auc
    if cell.warm_start:
        result.stage_one = train_alone(model, feed, cell, checkpoints[1])
    result.outcome = outcome = train(model, feed, cell, checkpoints[0])
    if outcome.diverged is not None:
        return
    test = scorer.test(model.eval(), evaluation_noise(cell, device))
    result.ranks, tested = test.ranks, test.masks
    if outcome.masks is not None and tested.inputs:
        counts = feed.sequences.train_counts()
        result.groups = {"train": outcome.masks.by_group(counts), "test": tested.by_group(counts)}
        result.drops = describe_drops(tested, test.histories)
        result.mask |= {"test_keep_rate": tested.keep_rate, **mask_figures(tested)}
        result.mask["remembered"] = model.method.remembers
        result.mask |= mask_figures(outcome.masks, "train_")
    result.mask["noise_auc"] = test.auc
    result.denoised = denoised_target(model, feed, cell, evaluation_noise(cell, device))
    result.untrained = why_untrained(outcome)


def _same_between(cell: Cell, cutoff: Cutoff | None) -> dict[str, tuple[float | None, float | None]] | None:
    """Name the option that is a cut-off, with the values between which the run would have been the same, if any."""
    option = cutoff_of(cell)
    return None if option is None or cutoff is None else {option: cutoff.same_between}


def _summary(error: BaseException) -> str:
    """Name an error's type, message and place: the last line of our code or of a module of the user's."""
    frames = traceback.extract_tb(error.__traceback__)
    libraries = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    own = [frame for frame in frames if not frame.filename.startswith(libraries)]
    last = (own or frames)[-1]
    message = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {message} ({Path(last.filename).name}, line {last.lineno}, {last.name})"


def _no_ranks() -> pd.DataFrame:
    """Make ranks.parquet without users."""
    names = [c.USER, c.TARGET, c.TARGET_TRAIN_COUNT, c.HISTORY_LENGTH]
    for ranking in c.RANKINGS:
        names += [c.rank_column(ranking), c.ties_column(ranking), c.top_column(ranking)]
    return pd.DataFrame({name: pd.Series(dtype=object) for name in names})


def _device_name(device: torch.device) -> str:
    """Name the device; of a CPU also the instructions that torch chose for it, since they change the bytes."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({cpu_model()}, {torch.backends.cpu.get_cpu_capability()})"


def _mask_record(outcome: Outcome, test: dict[str, Any]) -> dict[str, Any] | None:
    """Return mask statistics at the best epoch and at test time; None for a method without a mask or a score."""
    best = next((row for row in outcome.curve if row.epoch == outcome.best_epoch), None)
    if best is None or ("keep_rate" not in best.figures and test.get("noise_auc") is None):
        return None
    nothing = dict.fromkeys(("test_keep_rate", "untrained_auc", *mask_names()))
    trained = {"train_keep_rate": best.figures.get("keep_rate"), "gate_share": best.figures.get("gate_share")}
    return {**trained, **nothing, **test}
