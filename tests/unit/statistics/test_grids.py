"""Which rule and which pairs a grid has."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.unit.statistics.frames import cell, grid_of

RUNGS = [cell("none", protocol=name) for name in ("strong", "paper", "last")]


def test_protocols_are_in_the_order_given() -> None:
    assert grid_of([*RUNGS, *RUNGS]).protocols == ["strong", "paper", "last"]


def test_headline_is_the_protocol_s_rule_and_a_ladder_s_that_of_its_last_rung() -> None:
    table = pd.DataFrame(
        [(protocol, ranking) for protocol in ("paper", "strong") for ranking in ("kept", "excluded")],
        columns=["protocol", "ranking"],
    )
    grid = grid_of(RUNGS)
    assert [grid.headline(name) for name in grid.protocols] == ["excluded", "kept", "excluded"]
    assert grid.mark_headline(table).tolist() == [True, False, False, True]
    ladder = grid_of(RUNGS, view="ladder")
    assert {ladder.headline(name) for name in grid.protocols} == {"excluded"}
    assert ladder.mark_headline(table).tolist() == [False, True, False, True]
    assert grid.mark_headline(table.assign(protocol="elsewhere")).tolist() == [False] * 4


@pytest.mark.parametrize(
    ("compare", "pairs"),
    [
        ([("b", "a")], [("b", "a")]),
        ([("*", "a")], [("c", "a"), ("b", "a")]),
        ([("a", "*")], [("a", "c"), ("a", "b")]),
        ([("b", "a"), ("*", "a")], [("b", "a"), ("c", "a")]),
        ([("b", "absent")], [("b", "absent")]),
        ([("a", "a")], []),
        ([], []),
    ],
)
def test_wildcards_stand_for_every_other_method(compare: list[tuple[str, str]], pairs: list[tuple[str, str]]) -> None:
    assert grid_of(RUNGS, compare=compare).pairs(["c", "a", "b", "a"]) == pairs
