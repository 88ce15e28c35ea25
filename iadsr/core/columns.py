"""Every table column that crosses a file boundary, named once."""

from __future__ import annotations

USER, ITEM, TIMESTAMP = "user", "item", "timestamp"
NOISE = "noise"
TEXT = "text"
HAS_TITLE = "has_title"

# the files of a run
RECORD, RANKS, CURVE = "record.json", "ranks.parquet", "curve.csv"

# record.json: what became of a run; only one that is done is in a metric, a mean or a test
DONE, UNTRAINED, DIVERGED, FAILED = "done", "untrained", "diverged", "failed"
LOST = (UNTRAINED, DIVERGED, FAILED)
STATUSES = (DONE, *LOST)

# ranks.parquet
TARGET, TARGET_TRAIN_COUNT, HISTORY_LENGTH = "target", "target_train_count", "history_length"
RANKINGS = ("excluded", "kept")  # history excluded from the ranking, or kept in it
TOP_K = 20  # length of the stored recommendation lists


def rank_column(ranking: str) -> str:
    """Name the column of the target's expected rank (1 is best; ties in random order: 1 + better + tied / 2)."""
    return f"rank_{ranking}"


def ties_column(ranking: str) -> str:
    """Name the column that counts other candidates with exactly the target's score."""
    return f"ties_{ranking}"


def top_column(ranking: str) -> str:
    """Name the column of the `TOP_K` best item indices, best first."""
    return f"top_{ranking}"


# a run's address, in path order
ADDRESS = DATASET, PROTOCOL, BACKBONE, METHOD, SEED = ("dataset", "protocol", "backbone", "method", "seed")

# the run file's own grid among its experiments
EXPERIMENT, MAIN = "experiment", "main"

# comparisons.parquet: the backbone of a row in which each user's metric was averaged over all backbones first
ALL_BACKBONES = "all"

# metrics.parquet
RANKING, GROUP, METRIC, VALUE, USERS = "ranking", "group", "metric", "value", "users"
CUTOFFS = (5, 10, 20)

# groups: of users by their target's training interactions, of inputs by their item's
ALL_USERS, COLD = "all", "cold"
COLD_LIMIT = 5  # a target or input with at most this many training interactions is cold
TENTHS = tuple(f"decile_{number}" for number in range(1, 11))  # the least popular one first
BY_POPULARITY = (COLD, *TENTHS)
COLD_GAP = f"{COLD} minus {TENTHS[-1]}"  # a difference of shares kept
MOST_POPULAR = "most_popular"  # the same list for everybody: a baseline beside the methods
