"""Most-popular baseline: test metrics when items are ranked by training count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from iadsr.core import columns as c
from iadsr.evaluation.metrics import per_user
from iadsr.formats.tables import write_parquet
from iadsr.sequences.split import HELD_OUT, Sequences, load_sequences

POPULARITY_FILE = "popularity.parquet"


def popularity_ranks(sequences: Sequences) -> pd.DataFrame:
    """Rank each user's test target among all items, ordered by their number of training interactions.

    Returns:
        The rank columns of ranks.parquet, under both rules, a row per user. Equally popular items are in random order.
    """
    counts = sequences.train_counts()
    targets = sequences.items[sequences.target_positions("test")]
    wanted = counts[targets]
    ordered = np.sort(counts[1:])
    better = len(ordered) - np.searchsorted(ordered, wanted, side="right")
    ties = len(ordered) - better - np.searchsorted(ordered, wanted, side="left") - 1

    # the history: every (user, item) once, without the target
    users = np.repeat(np.arange(len(targets)), sequences.lengths - HELD_OUT["test"])
    inside = np.ones(len(sequences.items), dtype=bool)
    inside[sequences.target_positions("test")] = False
    items = sequences.items[inside].astype(np.int64)
    other = items != targets[users]
    users, items = np.divmod(np.unique(users[other] * len(counts) + items[other]), len(counts))
    seen_better, seen_ties = (
        np.bincount(users[above], minlength=len(targets))
        for above in (counts[items] > wanted[users], counts[items] == wanted[users])
    )
    return pd.DataFrame(
        {
            c.rank_column("kept"): 1 + better + ties / 2,
            c.rank_column("excluded"): 1 + better - seen_better + (ties - seen_ties) / 2,
        }
    )


def write_popularity(sequences: Mapping[str, Path], out: Path) -> None:
    """Write the `popularity_table` to `out`."""
    write_parquet(out / POPULARITY_FILE, popularity_table(sequences))


def popularity_table(sequences: Mapping[str, Path]) -> pd.DataFrame:
    """Make the columns dataset, ranking, metric, value, users; `sequences` maps dataset to file.

    Raises:
        DataError: see `load_sequences`.
    """
    rows = []
    for dataset, path in sequences.items():
        ranks = popularity_ranks(load_sequences(path))
        for ranking in c.RANKINGS:
            means = per_user(ranks, ranking).mean()
            rows += [(dataset, ranking, name, value, len(ranks)) for name, value in means.items()]
    return pd.DataFrame(rows, columns=[c.DATASET, c.RANKING, c.METRIC, c.VALUE, c.USERS])
