from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from iadsr.core.errors import DataError
from iadsr.evaluation.runs import RunFolder, read_run, read_runs

Make = Callable[..., Path]
Table = Callable[..., pd.DataFrame]


def read_all(run: RunFolder) -> None:
    run.ranks()
    for ranking in ("excluded", "kept"):
        run.shown(ranking, 4)


def test_address_comes_from_the_record(make_run: Make, table: Table) -> None:
    run = read_run(make_run(table([1], [1]), method="iadsr", seed=3))
    assert str(run.address) == "toys/paper/gru4rec/iadsr/seed3"
    assert run.done and run.reason is None


@pytest.mark.parametrize("name", ["record.json", "ranks.parquet"])
def test_missing_file_says_which_and_how_to_make_it(make_run: Make, table: Table, name: str) -> None:
    folder = make_run(table([1], [1]))
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"seed0 has no {name}; train it with: snakemake .*seed0/{name}"):
        read_all(read_run(folder))


@pytest.mark.parametrize("text", ["{", "[]", '{"status": "done"}', '{"cell": null}'])
def test_damaged_record_is_refused(make_run: Make, table: Table, text: str) -> None:
    folder = make_run(table([1], [1]))
    (folder / "record.json").write_text(text)
    with pytest.raises(DataError, match=r"record\.json is damaged"):
        read_run(folder)


def test_unknown_status_is_refused(make_run: Make, table: Table) -> None:
    with pytest.raises(DataError, match="status is 'running'"):
        read_run(make_run(table([1], [1]), status="running"))


def test_same_address_twice_is_refused(make_run: Make, table: Table) -> None:
    folder = make_run(table([1], [1]))
    with pytest.raises(DataError, match="toys/paper/gru4rec/none/seed0"):
        read_runs([folder, folder])


def test_bad_ranks_are_refused(make_run: Make, table: Table) -> None:
    for bad, message in (
        (table([], []), "ranks no user"),
        (table([1, 0.5], [1, 1]), "rank_excluded has a value that is not a rank"),
        (table([1, float("nan")], [1, 1]), "rank_excluded has a value that is not a rank"),
        (table([1, 2], [1, 1]).assign(user="same"), "a user occurs twice"),
        (table([1], [1]).drop(columns="rank_kept"), "lacks the columns rank_kept"),
    ):
        with pytest.raises(DataError, match=message):
            read_all(read_run(make_run(bad)))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("top_kept", None, "top_kept does not hold lists"),
        ("top_kept", "no list", "top_kept does not hold lists"),
        ("target", "7", "target is"),
        ("target_train_count", "many", "target_train_count is"),
        ("ties_kept", 0.5, "ties_kept is float64"),
        ("rank_kept", "first", "ranks.parquet is damaged"),
    ],
)
def test_columns_of_other_things_are_refused(
    make_run: Make, table: Table, column: str, value: object, message: str
) -> None:
    folder = make_run(table([1], [1]).assign(**{column: [value]}))
    with pytest.raises(DataError, match=message):
        read_all(read_run(folder))
