"""One search: trials of a cell's settings and options on validation NDCG@10, resumable, with test items hidden."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tqdm import tqdm

from iadsr.config.cell import Cell
from iadsr.config.run import RunConfig, backbone_alone
from iadsr.core.errors import IadsrError, one_line
from iadsr.core.files import file_digest, naming, reading, value_digest
from iadsr.core.seeding import derive
from iadsr.formats.tables import write_csv
from iadsr.machine.disk import check_writable
from iadsr.machine.faults import is_out_of_memory
from iadsr.machine.locks import alone_in
from iadsr.methods.method import Untrainable
from iadsr.training.curve import Diverged
from iadsr.training.inputs import TrainingData, input_files, load_data
from iadsr.training.loop import train, train_alone
from iadsr.training.recommender import build_recommender
from iadsr.training.run import set_up_torch
from iadsr.tuning.space import Space, make_space
from iadsr.tuning.trials import COMPLETE, DIVERGED, FAILED, JOURNAL, PRUNED, TRIALS, choose_values, read_trials

logger = logging.getLogger("iadsr.tuning")

_STARTUP_TRIALS = 5  # none of these is pruned, or of the first half of a shorter search
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)  # FAIL: cut off by a kill, and repeated

Observe = Callable[[int, float], None]


@dataclass
class Result:
    """The result of a trial.

    Attributes:
        state: complete, pruned, diverged or failed.
        validation: NDCG@10 of the validation targets at its best epoch; None where it diverged or failed.
        best_epoch: counted from 1; 0 where there is none.
        seconds: of training.
        values: what was tried, by name.
    """

    state: str
    validation: float | None
    best_epoch: int
    seconds: float
    values: dict[str, Any]


def run_search(run: RunConfig, folder: Path, cell: Cell, trials: int) -> pd.DataFrame:
    """Search until `trials` trials are finished; those of an earlier call with the same settings and data count.

    Trial 0 has the protocol's own values; trial 1 of a method has the settings that the search of `none` chose for its
    backbone, so that no method is searched around a badly trained one. A trial that was cut off is repeated, and every
    trial's sampler is seeded by its number: a search that was killed and resumed equals one that never was.
    One of fewer than ten trials that is then made longer need not equal one that was so long from the start: it may
    have pruned earlier.

    Args:
        folder: `workflow/config`.
        cell: one of `run.searches(folder)`.

    Returns:
        What `trials.csv` holds.

    Raises:
        DataError: the search of `none` is missing, though the run has that method, or damaged.
    """
    root = Path(run.results)
    place = root / "tuning" / cell.folder
    check_writable(place)
    with alone_in(place):
        return _search(run, folder, cell, trials, root, place)


def _search(run: RunConfig, folder: Path, cell: Cell, trials: int, root: Path, place: Path) -> pd.DataFrame:
    """Run the search of `run_search`, whose folder no other process works in."""
    device = set_up_torch(run.device, run.threads)
    # the method's inputs are those of the grid's first seed: no other one need have a run whose keep rates are copied
    inputs = input_files(cell.model_copy(update={"seed": run.seeds[0]}), root)
    space = make_space(folder, cell)
    alone = backbone_alone(cell, run.searches(folder))
    starts = [space.own()]
    if alone is not None:
        second = {**space.own(), **chosen_settings(root / "tuning" / alone.folder / TRIALS)}
        starts += [second] if second != starts[0] else []
    data = load_data(cell, inputs, device, with_test=False)
    digests = {name: file_digest(path) for name, path in inputs.items() if not name.startswith("matched")}
    ranges = {name: asdict(search) for name, search in space.ranges.items()}
    identity = value_digest(
        {"cell": cell.digest, "ranges": ranges, "inputs": digests, **({"starts": starts[1:]} if alone else {})}
    )
    study = open_study(place / JOURNAL, identity)
    for cut_off in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(cut_off.number, state=TrialState.FAIL)
    name = f"{cell.backbone}/{cell.method}"
    bar = tqdm(total=trials, initial=min(trials, len(finished(study))), desc=name, unit="trial", disable=None)
    logging.getLogger("iadsr.training").setLevel(logging.WARNING)  # a line per trial, not per epoch
    with bar, naming(place / JOURNAL):
        while (number := len(finished(study))) < trials:
            start = starts[number] if number < len(starts) else None
            tried = partial(_tried, run, folder, cell)
            result = run_trial(
                study, number, space, cell, tried, data, start, min(_STARTUP_TRIALS, math.ceil(trials / 2))
            )
            best = max((done.validation or 0.0 for done in finished(study)), default=0.0)
            shown = "" if result.validation is None else f"  NDCG@10 {result.validation:.4f} (best {best:.4f})"
            text = "  ".join(f"{key} {value}" for key, value in result.values.items())
            logger.info("%s: trial %d %s%s  %s", cell.address, number, result.state, shown, text)
            bar.update()
    table = trials_table(name, cell.embeddings, finished(study)[:trials])
    write_csv(place / TRIALS, table)
    return table


def open_study(path: Path, identity: str) -> optuna.Study:
    """Open the study of `identity` in a journal, a new one if the journal has none; no other process may use it.

    Raises:
        DataError: the journal is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _cut_off_tail(path)
    for lock in path.parent.glob(f"{path.name}.lock*"):  # a killed process's: Optuna would wait 30 seconds for it
        lock.unlink(missing_ok=True)
    written = path.exists() and path.stat().st_size > 0
    with reading(path, "delete it to begin the search anew") if written else nullcontext():
        storage = JournalStorage(JournalFileBackend(str(path)))
        return optuna.create_study(storage=storage, study_name=identity, direction="maximize", load_if_exists=True)


def _cut_off_tail(path: Path) -> None:
    """Drop a last line that a kill left unfinished: Optuna would append to it."""
    if path.is_file():
        data = path.read_bytes()
        if not data.endswith(b"\n"):
            with path.open("r+b") as stream:
                stream.truncate(data.rfind(b"\n") + 1)


def finished(study: optuna.Study) -> list[Result]:
    """List the results of finished trials, in their order."""
    return [Result(**trial.user_attrs["result"]) for trial in study.get_trials(states=_FINISHED)]


def chosen_settings(path: Path) -> dict[str, Any]:
    """Read the settings that a search of `none` chose; empty if not one of its trials was whole."""
    return next(iter(choose_values(read_trials(path)).values()), {})


def run_trial(
    study: optuna.Study,
    number: int,
    space: Space,
    cell: Cell,
    settle: Callable[[dict[str, Any]], Cell],
    data: TrainingData,
    start: dict[str, Any] | None,
    unpruned: int,
) -> Result:
    """Train and store the trial `number` with the values of `start`, or with drawn ones.

    `settle` makes the cell that has given values; none of the first `unpruned` trials is pruned.
    """
    seed = derive(cell.seed, f"{cell.address}/{number}") % 2**32
    study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=False)
    whole = study.get_trials(states=(TrialState.COMPLETE,))
    validations = max((len(trial.intermediate_values) for trial in whole), default=0)
    study.pruner = optuna.pruners.MedianPruner(unpruned, n_warmup_steps=math.ceil(validations / 3))
    if start and not study.get_trials(states=(TrialState.WAITING,)):  # one waits if a kill came before it was asked for
        study.enqueue_trial(space.nearest(start))
    trial = study.ask()
    drawn = space.draw(trial)
    values = start or drawn
    seen: list[tuple[float, int]] = []

    def observe(epoch: int, validation: float) -> None:
        seen.append((validation, epoch))
        trial.report(validation, len(seen))
        if trial.should_prune():
            raise optuna.TrialPruned

    began = time.monotonic()
    try:
        state, validation, best_epoch = train_once(settle(values), data, observe)
    except optuna.TrialPruned:
        validation, best_epoch = max(seen, key=lambda entry: entry[0])
        state = PRUNED
    result = Result(state, validation, best_epoch, time.monotonic() - began, values)
    trial.set_user_attr("result", asdict(result))
    # to the sampler, a trial that diverged or failed is worth nothing; it stays in the table as what it is
    told = TrialState.PRUNED if state == PRUNED else TrialState.COMPLETE
    study.tell(trial, None if state == PRUNED else validation or 0.0, state=told)
    return result


def train_once(cell: Cell, data: TrainingData, observe: Observe) -> tuple[str, float | None, int]:
    """Train a cell, and report each validated epoch to `observe`.

    Returns:
        The state, the best validation NDCG@10 and its epoch.
    """
    try:
        model = build_recommender(cell, data.method)
        if cell.warm_start:
            train_alone(model, data.feed, cell)
        outcome = train(model, data.feed, cell, observe=observe)
    except (Untrainable, Diverged):
        return DIVERGED, None, 0
    except (IadsrError, OSError, optuna.TrialPruned, torch.AcceleratorError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        logger.error("%s failed: %s", cell.address, one_line(error))
        return FAILED, None, 0
    if outcome.diverged is not None:
        return DIVERGED, None, 0
    return COMPLETE, outcome.best_validation, outcome.best_epoch


def trials_table(name: str, encoder: str | None, results: list[Result]) -> pd.DataFrame:
    """Tabulate trials, one per row: its result, then every value that was tried."""
    start = {"cell": name, "encoder": encoder or ""}
    return pd.DataFrame([{**start, "trial": number, **_flat(result)} for number, result in enumerate(results)])


def _flat(result: Result) -> dict[str, Any]:
    row = asdict(result)
    values: dict[str, Any] = row.pop("values")
    return {**row, "seconds": round(result.seconds, 1), **values}


def _tried(run: RunConfig, folder: Path, cell: Cell, values: dict[str, Any]) -> Cell:
    """Resolve the cell with some values, as a file of tuned values would be."""
    cells = run.searches(folder, {f"{cell.backbone}/{cell.method}": values})
    return next(other for other in cells if other.address == cell.address)
