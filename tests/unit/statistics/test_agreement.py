"""Whether runs agree: against scipy's t test, and case by case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from iadsr.core import columns as c
from iadsr.evaluation.runs import Address, Run
from iadsr.statistics.agreement import COLUMNS, COMPARED_METRICS, LEVEL, PRIOR, judge_agreement

USERS = 50


@dataclass(frozen=True)
class Kept(Run):
    """A run with its ranks in memory."""

    excluded: np.ndarray

    def reading(self) -> AbstractContextManager[None]:
        return nullcontext()

    def ranks(self, wanted: Sequence[str] = ()) -> pd.DataFrame:
        assert list(wanted) == ["user", "target", "rank_excluded"]
        users = np.arange(len(self.excluded))
        target = users + self.record.get("further", 0)
        return pd.DataFrame({"user": users, "target": target, "rank_excluded": self.excluded})

    def curve(self) -> pd.DataFrame:
        raise NotImplementedError

    def shown(self, ranking: str, items: int) -> int:
        raise NotImplementedError


def made(seed: int, factor: float = 1.0, draw: int = 0, method: str = "none", **record: Any) -> Kept:
    """Return a run whose ranks are random, drawn by `seed` and `draw`, times `factor`."""
    ranks = 1 + np.floor(factor * np.random.default_rng([seed, draw]).integers(0, 30, USERS))
    address = Address("toys", "strong", "gru4rec", method, seed)
    cell = {**address._asdict(), "encoder": None, "settings": {"ranking": "excluded", "steps": 10}}
    usual = {"status": c.DONE, "cell": cell, "files": {c.RANKS: f"{seed} {factor} {draw} {method}"}, "device": "cpu"}
    return Kept(Path(f"{seed}"), address, usual | record, ranks)


def means(runs: Sequence[Kept], metric: str) -> list[float]:
    return [float(COMPARED_METRICS[metric](run.excluded).mean()) for run in runs]


@pytest.mark.parametrize("metric", list(COMPARED_METRICS))
def test_a_single_cell_is_a_t_test_with_the_reference_s_spread(metric: str) -> None:
    seen = set()
    for factor in (1.0, 0.7, 0.5, 0.3, 0.1, 4.0):
        first, second = [made(k, factor, draw=1) for k in range(3)], [made(k) for k in range(5)]
        row = judge_agreement(first, second).set_index(c.METRIC).loc[metric]
        difference = np.mean(means(second, metric)) - np.mean(means(first, metric))
        t = difference / np.std(means(second, metric), ddof=1) / np.sqrt(1 / 3 + 1 / 5)
        assert row["verdict"] == ("differs" if 2 * stats.t.sf(abs(t), 4) < LEVEL / 2 else "agrees")
        assert row["difference"] == pytest.approx(difference)
        assert (row["seeds"], row["other_seeds"]) == (3, 5)
        seen.add(row["verdict"])
    assert seen == {"differs", "agrees"}


def moderated(own: Sequence[Kept], *others: Sequence[Kept]) -> float:
    """Return the standard deviation over seeds of the log rank that a cell is judged by, beside other cells."""
    squares = [(len(runs) - 1) * np.var(means(runs, "log rank"), ddof=1) for runs in (own, *others)]
    pooled = sum(squares) / sum(len(runs) - 1 for runs in (own, *others))
    return float(np.sqrt((PRIOR * pooled + squares[0]) / (PRIOR + len(own) - 1)))


def test_one_seed_borrows_the_spread_of_other_cells_of_its_protocol() -> None:
    reference = [[made(k, method=name, draw=place) for k in range(3)] for place, name in enumerate(("none", "iadsr"))]
    rerun = [made(0, draw=9), made(1, method="iadsr", factor=0.2)]
    rows = judge_agreement([*reference[0], *reference[1]], rerun)
    assert rows.set_index([c.METHOD, c.METRIC])["verdict"].to_dict() == {
        ("none", "NDCG@10"): "agrees", ("none", "log rank"): "agrees",
        ("iadsr", "NDCG@10"): "differs", ("iadsr", "log rank"): "differs",
    }  # fmt: skip
    bound = stats.t.ppf(1 - LEVEL / 4 / 2, 4) * np.sqrt(1 / 3 + 1)
    expected = [bound * moderated(reference[place], reference[1 - place]) for place in (0, 1)]
    assert rows[rows[c.METRIC] == "log rank"]["allowed"].tolist() == pytest.approx(expected)
    assert list(rows) == list(COLUMNS)
    alone = judge_agreement(rerun[:1], [*reference[0], *reference[1]])
    bound = stats.t.ppf(1 - LEVEL / 2 / 2, 4) * np.sqrt(1 / 3 + 1)
    assert alone["allowed"].iloc[1] == pytest.approx(bound * moderated(*reference)), "cells without a rerun count too"


def test_a_run_gone_wrong_does_not_widen_what_is_allowed() -> None:
    cells = [f"method{number}" for number in range(12)]
    reference = [made(k, method=name, draw=place) for place, name in enumerate(cells) for k in range(3)]
    rerun = [made(k, method=name, draw=place + 12) for place, name in enumerate(cells) for k in range(3)]
    rerun[0] = made(0, factor=40, method=cells[0], draw=12)
    rows = judge_agreement(rerun, reference)
    assert rows.loc[rows["verdict"] == "differs", [c.METHOD, c.METRIC]].to_numpy().tolist() == [[cells[0], "log rank"]]


def _cases() -> Iterator[tuple[str, list[Kept], list[Kept], str]]:
    lost = {"status": "untrained", "files": {}}
    yield "the very same", [made(0), made(1)], [made(1), made(0)], "the same runs"
    yield "one seed of each and no spread", [made(0)], [made(0, draw=1)], "unknown"
    yield "lost in one", [made(0), made(1)], [made(0, **lost)], "finished in one set only"
    yield "lost in both alike", [made(0, **lost)], [made(0, **lost)], "the same runs"
    yield (
        "lost in both, though not alike",
        [made(0, **lost)],
        [made(0, **lost | {"status": "failed"})],
        "finished in neither set",
    )
    yield (
        "one seed of three lost",
        [made(k) for k in range(3)],
        [made(0, draw=1), made(1, **lost)],
        "seeds lost in one set",
    )
    yield "without digests", [made(0, files={}), made(1)], [made(0, files={}), made(1)], "agrees"
    yield "other targets", [made(0), made(1)], [made(0, draw=1, further=1), made(1)], "other users or targets"
    yield "one seed of the same more", [made(0), made(1)], [made(0), made(1), made(2)], "agrees"


@pytest.mark.parametrize(("first", "second", "verdict"), [pytest.param(*case[1:], id=case[0]) for case in _cases()])
def test_case(first: list[Kept], second: list[Kept], verdict: str) -> None:
    assert set(judge_agreement(first, second)["verdict"]) == {verdict}


def test_runs_of_both_sets_cancel() -> None:
    first = [made(k) for k in range(3)]
    second = [made(0), made(1), made(2, draw=1), made(3, draw=1)]
    elsewhere = [made(k, method="iadsr", draw=2) for k in range(3)]  # unchanged, so no test, though its spread is known
    rows = judge_agreement([*first, *elsewhere], [*second, *elsewhere]).set_index([c.METHOD, c.METRIC])
    error = np.sqrt(2 * (1 / 3 - 1 / 4) ** 2 + (1 / 3) ** 2 + 2 * (1 / 4) ** 2)  # of the difference, run by run
    expected = stats.t.ppf(1 - LEVEL / 2 / 2, 5) * moderated(second, elsewhere) * error
    assert rows.loc[("none", "log rank"), "allowed"] == pytest.approx(expected)
    assert set(rows.loc["iadsr", "verdict"]) == {"the same runs"}


def test_only_common_cells_are_compared_and_what_differs_is_named() -> None:
    other = {"dataset": "toys", "encoder": None, "settings": {"ranking": "excluded", "steps": 20}}
    second = [
        made(0, draw=1, cell=other, device="gpu", inputs={"sequences": "ab"}, versions={"torch": "3"}),
        made(0, method="iadsr"),
    ]
    rows = judge_agreement([made(0), made(1)], second)
    assert set(rows[c.METHOD]) == {"none"}
    assert rows["unlike"].iloc[0].split(", ")[-4:] == [
        "settings.steps",
        "device",
        "digest of sequences",
        "version of torch",
    ]
    assert judge_agreement([made(0)], [made(0)])["unlike"].iloc[0] == ""
    encoder = made(0).record["cell"] | {"encoder": {"kind": "tfidf"}}
    assert judge_agreement([made(0)], [made(0, cell=encoder)]).empty, "another encoder, another cell"


def test_runs_of_other_settings_are_not_compared_however_alike() -> None:
    first, second = ([made(seed, draw=draw) for seed in range(3)] for draw in (0, 1))
    assert set(judge_agreement(first, second)["verdict"]) == {"agrees"}
    for run in first:
        run.record["cell"]["settings"]["steps"] = 20
    assert set(judge_agreement(first, second)["verdict"]) == {"other settings"}
