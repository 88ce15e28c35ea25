"""Leave-one-out by time: each user's last item is the test target, the one before it the validation target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from iadsr.core import columns as c
from iadsr.core.errors import DataError
from iadsr.core.files import atomic_path, reading

Stage = Literal["validation", "test"]
HELD_OUT = {"validation": 2, "test": 1}  # the stage's target, counted from the end of a history
LAST_TRAINED = 3  # the last training target, counted alike
_STORED = ("items", "offsets", "users", "n_items", "noise", "times")
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sequences:
    """The interactions of all users in one flat array, user by user, in time order.

    Attributes:
        items: (N,) item indices 1..n_items; 0 is left for padding.
        offsets: (U + 1,) user u owns `items[offsets[u]:offsets[u + 1]]`.
        users: (U,) user ids.
        n_items: size of the catalogue.
        noise: (N,) flags of known noise, planted in the data or injected; None where none is known.
        injected: (N,) flags of injected items, inputs that are never a target and in no count; None if there are none.
        times: (N,) time of each interaction, or None if unknown.
        texts: (N,) row of each interaction in a table of joined names (from 1); None: each has its item's text.
    """

    items: npt.NDArray[np.int32]
    offsets: Ints
    users: npt.NDArray[np.str_]
    n_items: int
    noise: npt.NDArray[np.bool_] | None = None
    injected: npt.NDArray[np.bool_] | None = None
    times: Ints | None = None
    texts: Ints | None = None

    @property
    def lengths(self) -> Ints:
        """Number of interactions per user, (U,), injected ones included."""
        return np.diff(self.offsets)

    def target_positions(self, stage: Stage) -> Ints:
        """Return the flat position of each user's target in a stage, (U,)."""
        return self.from_end(HELD_OUT[stage])

    def from_end(self, number: int) -> Ints:
        """Return the flat position of each user's `number`-th last interaction, (U,); injected ones do not count."""
        if self.injected is None:
            return self.offsets[1:] - number
        genuine = np.flatnonzero(~self.injected)
        return genuine[np.searchsorted(genuine, self.offsets[1:]) - number]

    def train_counts(self) -> Ints:
        """Count each item's training interactions, (n_items + 1,): those before the validation target."""
        in_training = np.ones(len(self.items), dtype=bool) if self.injected is None else ~self.injected
        in_training[self.target_positions("validation")] = False
        in_training[self.target_positions("test")] = False
        return np.bincount(self.items[in_training], minlength=self.n_items + 1)


def build_sequences(interactions: pd.DataFrame, items: pd.DataFrame) -> Sequences:
    """Sort each user's interactions by time; ties keep the source's row order (stable sort).

    Args:
        interactions: user, item, timestamp and perhaps noise, in the source's order.
        items: the catalogue; row i becomes item index i + 1.

    Raises:
        DataError: a user has fewer than three interactions, so that no training item is left.
        ValueError: the tables are not those that `datasets` writes, or not of one version.
    """
    _check_tables(interactions, items)
    index = pd.Series(np.arange(1, len(items) + 1, dtype=np.int32), index=items[c.ITEM])
    codes, users = pd.factorize(interactions[c.USER], sort=True)
    order = np.lexsort((interactions[c.TIMESTAMP].to_numpy(), codes))  # lexsort is stable
    lengths = np.bincount(codes, minlength=len(users))
    if lengths.min() < 3:
        user = users[int(lengths.argmin())]
        raise DataError(
            f"user '{user}' has {lengths.min()} interactions; leave-one-out with a validation target needs 3. "
            "Raise min_count in the dataset's configuration"
        )
    noise = interactions[c.NOISE].to_numpy()[order] if c.NOISE in interactions else None
    times = interactions[c.TIMESTAMP].to_numpy()[order].astype(np.int64)
    return Sequences(
        items=index.loc[interactions[c.ITEM]].to_numpy()[order].astype(np.int32),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        users=np.asarray(users, dtype=np.str_),
        n_items=len(items),
        noise=noise,
        times=times,
    )


def _check_tables(interactions: pd.DataFrame, items: pd.DataFrame) -> None:
    """Raise ValueError unless interactions are complete, their times whole numbers, their items in the catalogue."""
    if interactions.empty:
        raise ValueError("it holds no interaction")
    if interactions[[c.USER, c.ITEM, c.TIMESTAMP]].isna().any(axis=None):
        raise ValueError("an interaction lacks its user, item or timestamp")
    if interactions[c.TIMESTAMP].dtype.kind != "i":
        raise ValueError(f"timestamps are {interactions[c.TIMESTAMP].dtype}, not whole numbers")
    if not items[c.ITEM].is_unique:
        raise ValueError("an item occurs twice in items.parquet beside it")
    if unknown := set(interactions[c.ITEM]) - set(items[c.ITEM]):
        raise ValueError(f"{len(unknown)} of its items are not in items.parquet beside it, e.g. {min(unknown)!r}")


def hide_test(sequences: Sequences) -> Sequences:
    """Overwrite each test item, its text and its noise flag by those before the validation target.

    For code that may choose by validation alone, and so cannot see a test item.
    """
    test, source = sequences.target_positions("test"), sequences.target_positions("validation") - 1
    hidden: dict[str, Any] = {}
    for name in ("items", "noise", "texts"):
        array = getattr(sequences, name)
        if array is not None:
            hidden[name] = array.copy()
            hidden[name][test] = array[source]
    return replace(sequences, **hidden)


def save_sequences(path: Path, sequences: Sequences) -> None:
    """Write sequences as .npz, atomically."""
    arrays = {name: value for name in _STORED if (value := getattr(sequences, name)) is not None}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def load_sequences(path: Path) -> Sequences:
    """Read the file that `save_sequences` wrote.

    Raises:
        DataError: the file is missing, damaged, or does not hold sequences.
    """
    with reading(path), np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in _STORED if name in stored}
        sequences = Sequences(**{**arrays, "n_items": int(stored["n_items"])})
        _check(sequences)
        return sequences


def _check(sequences: Sequences) -> None:
    """Raise ValueError if the arrays contradict each other."""
    items, offsets = sequences.items, sequences.offsets
    for name, array in (("items", items), ("offsets", offsets)):
        if array.ndim != 1 or array.dtype.kind != "i":
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not a list of integers")
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != len(items) or np.diff(offsets).min() < 3:
        raise ValueError(f"its offsets do not divide {len(items)} interactions among users")
    if items.min() < 1 or items.max() > sequences.n_items:
        raise ValueError(f"an item is outside the catalogue of {sequences.n_items}")
    if sequences.users.shape != (len(offsets) - 1,):
        raise ValueError(f"it has {len(sequences.users)} user ids for {len(offsets) - 1} users")
    if sequences.users.dtype.kind != "U" or len(np.unique(sequences.users)) != len(sequences.users):
        raise ValueError("its user ids are not distinct texts")
    for name, kind in (("noise", "b"), ("times", "i")):
        array = getattr(sequences, name)
        if array is not None and array.shape != items.shape:
            raise ValueError(f"{name} has {len(array)} entries for {len(items)} interactions")
        if array is not None and array.dtype.kind != kind:
            raise ValueError(f"{name} is {array.dtype}")
