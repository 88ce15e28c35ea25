from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iadsr.core import columns as c
from iadsr.evaluation.popularity import POPULARITY_FILE, popularity_ranks, write_popularity
from iadsr.sequences.split import Sequences, save_sequences


def made(rows: list[list[int]], n_items: int) -> Sequences:
    offsets = np.cumsum([0, *map(len, rows)])
    users = np.array([f"u{number}" for number in range(len(rows))])
    return Sequences(np.concatenate(rows).astype(np.int32), offsets, users, n_items)


# training items: 1 2 1 | 1 3 | 2 4 -> counts 3, 2, 1, 1 and nothing for item 5; the last two of each are held out
HAND = made([[1, 2, 1, 5, 2], [1, 3, 2, 4], [2, 4, 1, 1]], 5)


def test_ranks_by_hand() -> None:
    ranks = popularity_ranks(HAND)
    # user 0 wants 2: item 1 is better, and is in the history. User 1 wants 4: 1 and 2 are better, 3 ties, all three are
    # in the history. User 2 wants 1, the most popular, although the validation item is the same one.
    assert ranks[c.rank_column("kept")].tolist() == [2.0, 3.5, 1.0]
    assert ranks[c.rank_column("excluded")].tolist() == [1.0, 1.0, 1.0]


def test_ranks_agree_with_sorting_the_catalogue_user_by_user() -> None:
    generator = np.random.default_rng(0)
    rows = [generator.zipf(1.5, generator.integers(3, 40)).clip(1, 60).tolist() for _ in range(200)]
    sequences = made(rows, 60)
    counts = np.zeros(61)
    for row in rows:
        for item in row[:-2]:
            counts[item] += 1
    ranks = popularity_ranks(sequences)
    for number, row in enumerate(rows):
        target = row[-1]
        for ranking in c.RANKINGS:
            hidden = set(row[:-1]) - {target} if ranking == "excluded" else set()
            rivals = [counts[item] for item in range(1, 61) if item != target and item not in hidden]
            better, ties = (sum(rival > counts[target] for rival in rivals), rivals.count(counts[target]))
            assert ranks[c.rank_column(ranking)][number] == 1 + better + ties / 2


def test_a_file_holds_every_dataset_and_rule(tmp_path: Path) -> None:
    paths = {}
    for name in ("one", "two"):
        paths[name] = tmp_path / name / "sequences.npz"
        save_sequences(paths[name], HAND)
    write_popularity(paths, tmp_path)
    found = pd.read_parquet(tmp_path / POPULARITY_FILE).set_index(["dataset", "ranking", "metric"])
    assert found.loc[("two", "excluded", "HR@5"), "value"] == 1.0
    expected = np.mean([1 / np.log2(3.0), 1 / np.log2(4.5), 1.0])
    assert found.loc[("one", "kept", "NDCG@10"), "value"] == pytest.approx(expected)
    assert set(found["users"]) == {3}
