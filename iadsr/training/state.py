"""The state of a training run: what the next epoch depends on, and what training leaves behind.

It saves and restores itself, keyed by the run's identity: a killed run ends as one that was never killed.
"""

from __future__ import annotations

import copy
import logging
import math
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iadsr.config.cell import Cell
from iadsr.core.errors import one_line
from iadsr.core.files import atomic_path
from iadsr.core.seeding import derive
from iadsr.machine.disk import set_aside
from iadsr.training.curve import Epoch
from iadsr.training.feed import Feed, Step
from iadsr.training.mask_statistics import MaskStatistics
from iadsr.training.optimiser import average_of, copy_buffers, follow, make_optimiser
from iadsr.training.recommender import Recommender

logger = logging.getLogger("iadsr.training")


@dataclass
class Outcome:
    """The result of training, beside the model.

    Attributes:
        curve: one row per epoch.
        best_epoch: the epoch whose weights the model has now, 0 if none was finished.
        best_validation: its validation NDCG@10.
        best_score: the figure that chose it: its validation NDCG@10, or its negated training loss.
        masks: statistics of its masks.
        diverged: why training stopped being meaningful, or None.
    """

    curve: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    best_validation: float = -1.0
    best_score: float = -math.inf
    masks: MaskStatistics | None = None
    diverged: str | None = None


class TrainingState:
    """Everything that the next epoch depends on.

    Attributes:
        scored: the model that is validated and kept: the average of the weights if there is one, else `model`.
        noise: the method's random stream; dropout has torch's own.
        masks: (slots,) each position's mask of the previous epoch, None before the first epoch.
        best: the state of `scored` at the best epoch.
    """

    def __init__(self, model: Recommender, feed: Feed, cell: Cell) -> None:
        self.model, self.feed, self.cell = model.to(feed.device), feed, cell
        self.optimiser: torch.optim.Optimizer = make_optimiser(model, cell.settings)
        self.scored = average_of(model) if cell.settings.average else model
        self._average: list[Tensor] = list(self.scored.parameters())
        self._weights: list[Tensor] = list(model.parameters())
        self.noise = torch.Generator(feed.device).manual_seed(derive(cell.seed, "noise"))
        self.masks: Tensor | None = None
        self.best: dict[str, Tensor] = {}
        self.outcome = Outcome()
        torch.manual_seed(derive(cell.seed, "dropout"))

    def begin_epoch(self, number: int, slots: int) -> None:
        """Tell the models the epoch; before the first, every remembered mask is 1."""
        self.model.train()
        self.model.method.begin_epoch(number)
        if self.scored is not self.model:
            self.scored.method.begin_epoch(number)
        if self.masks is None:
            self.masks = torch.ones(slots, device=self.feed.device)

    def previous_masks(self, step: Step) -> Tensor:
        """Look up the previous epoch's masks (B, T) of a step's inputs; 1 at padding, or if none are remembered."""
        assert self.masks is not None
        if not self.model.method.remembers:
            return self.masks[:1].expand(step.slots.shape)
        return torch.where(step.batch.valid, self.masks[step.slots], 1.0)

    def remember(self, step: Step, keep: Tensor) -> None:
        """Keep the masks (N,) of a step's inputs for the next epoch."""
        if self.model.method.remembers:
            assert self.masks is not None
            self.masks[step.slots.flatten()[step.batch.inside]] = keep

    def update(self, loss: Tensor) -> None:
        """Take one step of the optimiser, and of the average."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        if self.cell.settings.average:
            follow(self._average, self._weights, self.cell.settings.average)

    def end_epoch(self) -> None:
        """Bring the average's buffers up to date."""
        if self.cell.settings.average:
            copy_buffers(self.scored, self.model)

    def add(self, row: Epoch, masks: MaskStatistics) -> None:
        """Add an epoch to the curve, and keep its weights if it is the best validated one so far.

        Of equal epochs the later one is kept, which has trained longer.
        """
        outcome = self.outcome
        outcome.curve.append(row)
        if row.validation is None:
            return
        score = row.validation if self.cell.settings.stopping == "validation" else -row.loss
        if score >= outcome.best_score:
            outcome.best_epoch, outcome.best_validation, outcome.best_score = row.epoch, row.validation, score
            outcome.masks = masks
            self.best = {name: value.detach().clone() for name, value in self.scored.state_dict().items()}

    def restore_best(self) -> None:
        """Give the model the weights of the best epoch."""
        if self.best:
            self.model.load_state_dict(self.best)
            self.model.method.begin_epoch(self.outcome.best_epoch)

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        write_checkpoint(path, self.state_dict())

    def resume(self, path: Path) -> bool:
        """Restore the checkpoint at `path`, if there is one that can be used.

        A damaged file, or one of another run or another torch, is renamed to `<name>.damaged` with a warning.

        Returns:
            Whether a checkpoint was restored.
        """
        if not path.is_file():
            return False
        start = copy.deepcopy(self.state_dict())
        try:
            self.load_state_dict(_load(path, self.feed.device, start.keys()))
        except (OSError, MemoryError, torch.OutOfMemoryError):  # the file may well be sound
            raise
        except Exception as error:  # torch does not document what it raises for a damaged file
            self.load_state_dict(start)
            text = "checkpoint %s cannot be used (%s): moved to %s, training starts afresh"
            logger.warning(text, path, one_line(error), set_aside(path).name)
            return False
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint holds."""
        outcome, device = self.outcome, self.feed.device
        generators = {"noise": self.noise.get_state(), "cpu": torch.get_rng_state()}
        if device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(device)
        return {
            "model": self.model.state_dict(),
            "scored": self.scored.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "masks": self.masks,
            "best": self.best,
            "best_masks": outcome.masks.state() if outcome.masks else {},
            "curve": [asdict(row) for row in outcome.curve],
            **{name: getattr(outcome, name) for name in ("best_epoch", "best_validation", "best_score")},
            "generators": generators,
            "nearest": None if self.model.method.cutoff is None else self.model.method.cutoff.nearest,
        }

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        device = self.feed.device
        self.model.load_state_dict(stored["model"])
        self.scored.load_state_dict(stored["scored"])
        self.optimiser.load_state_dict(stored["optimiser"])
        self.masks, self.best = stored["masks"], stored["best"]
        masks = MaskStatistics(self.feed.sequences.n_items, device, self.feed.noise) if stored["best_masks"] else None
        for name, sums in stored["best_masks"].items():
            setattr(masks, name, sums)
        best = {name: stored[name] for name in ("best_epoch", "best_validation", "best_score")}
        self.outcome = Outcome([Epoch(**row) for row in stored["curve"]], masks=masks, **best)
        if self.model.method.cutoff is not None:
            self.model.method.cutoff.nearest = stored["nearest"]
        generators = stored["generators"]
        self.noise.set_state(generators["noise"].cpu())
        torch.set_rng_state(generators["cpu"].cpu())
        if device.type == "cuda":
            torch.cuda.set_rng_state(generators["cuda"].cpu(), device)


def checkpoint_path(root: Path, identity: str, device: torch.device) -> Path:
    """Name a run's checkpoint: outside declared outputs, which a workflow deletes on failure.

    There is one per kind of device: the state of its random stream means nothing to another.
    """
    return root / "scratch" / f"{identity}-{device.type}.pt"


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically: a kill leaves the previous one or the new one."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:  # given a path, torch hides a full disk
        torch.save(state | _maker(path), stream)


def _load(path: Path, device: torch.device, names: Iterable[str]) -> dict[str, Any]:
    """Read the checkpoint at `path`. Raises ValueError, or whatever torch does, if it is not one of this run."""
    with zipfile.ZipFile(path) as archive:  # torch does not check the checksums that it writes
        if (entry := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {entry} is wrong")
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    maker = _maker(path)
    if state.keys() != {*names, *maker}:
        raise ValueError(f"it holds {sorted(map(str, state))}")
    for name, value in maker.items():
        if state[name] != value:
            raise ValueError(f"its {name} is {state[name]}, not {value}")
    return state


def _maker(path: Path) -> dict[str, str]:
    """Return the entries that tell a checkpoint of this run and this torch from any other."""
    return {"file": path.name, "torch": str(torch.__version__)}
