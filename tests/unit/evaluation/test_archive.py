"""A run that is archived is the run that was trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from iadsr.core.errors import DataError
from iadsr.evaluation.archive import add_to_archive, read_archive, read_facts, select_runs
from iadsr.evaluation.collect import collect
from iadsr.evaluation.drops import shown_items
from iadsr.evaluation.runs import read_run, read_runs
from iadsr.machine.locks import alone_in
from iadsr.statistics.compare import read_scores

Make = Callable[..., Path]
Table = Callable[..., pd.DataFrame]
FACTS: dict[str, Any] = {
    "toys": {"items": 4, "summary": {"tied_share": 0.5}, "popularity": [{"value": 0.1}], "names": {1: "Yo-yo"}}
}


def folders(make_run: Make, table: Table) -> list[Path]:
    """Return a run with ties, one that keeps inputs by group, one that learned nothing and one that failed."""
    groups = {"test": {"cold": {"keep": 0.5, "inputs": 3}}}
    least = {"least": [{"item": 2, "keep": 0.5, "inputs": 30}], "most": []}
    drops = {**least, "histories": [{"user": "u1", "items": [1, 2], "keep": [1.0, 0.25], "target": 3}]}
    return [
        make_run(table([1, 2.5, 4000], [1, 50, 0], [[1, 2], [3, 3], [0, 0]]), files={"ranks.parquet": None}),
        make_run(table([3, 1, 2], [1, 50, 0]), method="iadsr", keep_by_group=groups, drops=drops),
        make_run(table([3, 3, 3], [1, 50, 0]), method="iadsr", seed=1, status="untrained", reason="no gain"),
        make_run(table([], []), method="iadsr", seed=2, status="failed", reason="an error", epochs=0),
    ]


def test_tables_and_scores_of_archived_runs_are_those_of_their_folders(
    make_run: Make, table: Table, tmp_path: Path
) -> None:
    trained = read_runs(folders(make_run, table))
    add_to_archive(tmp_path / "archive", trained, FACTS)
    archived = read_archive(tmp_path / "archive", ["toys", "beauty"])
    assert [run.address for run in archived] == [run.address for run in trained]
    named = {"toys": {1: "Yo-yo"}}
    collect(trained, {"toys": 4}, tmp_path / "a", named)
    collect(archived, {"toys": 4}, tmp_path / "b", named)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 6
    for name in names:
        left, right = (pd.read_parquet(tmp_path / side / name) for side in "ab")
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    for one, other in zip(trained, archived, strict=True):
        left, right = read_scores(one), read_scores(other)
        assert (left.users == right.users).all() and np.array_equal(left.values, right.values)
        assert (left.reason, left.digest) == (right.reason, right.digest)


def test_a_run_takes_the_place_of_an_earlier_one_and_the_order_of_additions_is_not_seen(
    make_run: Make, table: Table, tmp_path: Path
) -> None:
    runs = read_runs(folders(make_run, table))
    for name, parts in (("a", [runs[:2], runs[1:]]), ("b", [runs[2:], runs[:2], runs[:1]])):
        for part in parts:
            add_to_archive(tmp_path / name, part, FACTS)
    assert (tmp_path / "a/toys.parquet").read_bytes() == (tmp_path / "b/toys.parquet").read_bytes()
    again = read_run(make_run(table([7, 7, 7], [1, 50, 0])))
    add_to_archive(tmp_path / "a", [again], FACTS)
    ranks = {str(run.address): run.ranks()["rank_excluded"].tolist() for run in read_archive(tmp_path / "a", ["toys"])}
    assert len(ranks) == 4
    assert ranks["toys/paper/gru4rec/none/seed0"] == [7, 7, 7]
    assert ranks["toys/paper/gru4rec/iadsr/seed0"] == [3, 1, 2]
    assert read_facts(tmp_path / "a", "toys") == FACTS["toys"]
    failed = read_run(make_run(table([], []), status="failed", reason="an error", epochs=0))
    add_to_archive(tmp_path / "a", [failed], FACTS)
    assert all(run.done for run in read_archive(tmp_path / "a", ["toys"]) if run.address.method == "none"), "it stays"


def test_names_of_dropped_items_add_up(make_run: Make, table: Table, tmp_path: Path) -> None:
    runs = read_runs(folders(make_run, table))
    assert shown_items(runs) == {1, 2, 3}
    for names in ({1: "Yo-yo"}, {2: "Kite"}):
        add_to_archive(tmp_path, runs, {"toys": {**FACTS["toys"], "names": names}})
    assert read_facts(tmp_path, "toys")["names"] == {1: "Yo-yo", 2: "Kite"}
    add_to_archive(tmp_path, runs, {"toys": {**FACTS["toys"], "names": {1: "Drum"}}})
    assert read_facts(tmp_path, "toys")["names"] == {1: "Drum"}, "the catalogue is another one"
    older = json.loads((tmp_path / "toys.json").read_text())
    del older["names"]
    (tmp_path / "toys.json").write_text(json.dumps(older))
    assert read_facts(tmp_path, "toys")["names"] == {}


def test_two_additions_at_once_wait_for_each_other(make_run: Make, table: Table, tmp_path: Path) -> None:
    runs = read_runs(folders(make_run, table))
    with ThreadPoolExecutor(1) as pool:
        with alone_in(tmp_path / "archive"):
            added = pool.submit(add_to_archive, tmp_path / "archive", runs, FACTS)
            with pytest.raises(TimeoutError):
                added.result(timeout=1)
            assert not list((tmp_path / "archive").iterdir())
        added.result()
    assert len(read_archive(tmp_path / "archive", ["toys"])) == len(runs)


def test_runs_of_other_encoders_and_datasets_stay_apart(make_run: Make, table: Table, tmp_path: Path) -> None:
    cell = {"dataset": "toys", "protocol": "paper", "backbone": "gru4rec", "method": "iadsr", "seed": 0}
    for kind in ("minilm", "tfidf", "minilm"):
        run = read_run(make_run(table([1], [1]), method="iadsr", cell={**cell, "encoder": {"kind": kind}}))
        add_to_archive(tmp_path, [run], FACTS | {"beauty": FACTS["toys"]})
    kinds = [run.record["cell"]["encoder"]["kind"] for run in read_archive(tmp_path, ["toys", "toys"])]
    assert kinds == ["minilm", "tfidf"]
    assert read_archive(tmp_path, ["beauty"]) == []


def test_a_rank_that_is_no_half_is_refused(make_run: Make, table: Table, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a rank is neither whole nor a half"):
        add_to_archive(tmp_path, [read_run(make_run(table([2.3], [1])))], FACTS)


def test_runs_with_other_settings_are_told_apart(make_run: Make, table: Table, tmp_path: Path) -> None:
    runs = read_runs(folders(make_run, table)[:2])
    add_to_archive(tmp_path, runs, FACTS)
    cells = {str(run.address): dict(run.record["cell"]) for run in runs}
    cells["toys/paper/gru4rec/none/seed0"]["settings"] = {"dropout": 0.5}
    same, others = select_runs(read_archive(tmp_path, ["toys"]), cells)
    assert [run.address.method for run in same] == ["iadsr"]
    assert [run.address.method for run in others] == ["none"]
    assert select_runs(read_archive(tmp_path, ["toys"]), {}) == ([], [])


def test_what_is_missing_or_damaged_is_named(make_run: Make, table: Table, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    assert read_archive(archive, ["toys"]) == []
    with pytest.raises(DataError, match=r"toys.json is missing: no run on toys was archived"):
        read_facts(archive, "toys")
    run = make_run(table([1], [1]), files={"ranks.parquet": "0" * 64})
    with pytest.raises(DataError, match=r"ranks.parquet is damaged \(it was changed since"):
        add_to_archive(archive, read_runs([run]), FACTS)
    assert not (archive / "toys.parquet").exists()
    add_to_archive(archive, read_runs([make_run(table([1], [1]))]), FACTS)
    data = (archive / "toys.parquet").read_bytes()
    ranks = parquet.ParquetFile(archive / "toys.parquet").metadata.row_group(0).column(12)
    assert ranks.path_in_schema == "rank_excluded.list.element"
    place = ranks.data_page_offset - 1  # the last byte of its dictionary: a rank
    flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    for damaged in (data[: len(data) // 2], flipped):
        (archive / "toys.parquet").write_bytes(damaged)
        with pytest.raises(DataError, match=r"toys.parquet is damaged .*git checkout -- .*toys.parquet"):
            read_archive(archive, ["toys"])
