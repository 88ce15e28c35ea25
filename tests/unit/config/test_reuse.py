"""Which runs of a sweep wait for which, and when a record says that two are one."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from iadsr.config.cell import Cell
from iadsr.config.reuse import earlier_runs, earlier_than, holds_for
from iadsr.config.run import RunConfig

FOLDER = Path(__file__).resolve().parents[3] / "workflow" / "config"
VALUES = [-0.9, -0.5, 0.0, 0.1, 0.3, 0.7, 0.9]


def grid(methods: list[str], **changes: Any) -> list[Cell]:
    given = {
        "name": "x",
        "description": "x",
        "datasets": ["planted"],
        "encoder": {"kind": "random"},
        "protocols": ["paper"],
        "backbones": ["gru4rec"],
        "methods": methods,
        "sweeps": [{"method": "iadsr", "option": "theta", "values": VALUES}],
        "seeds": [0],
    }
    return RunConfig.model_validate(given | changes).cells(FOLDER)


@pytest.mark.parametrize("methods", [["none"], ["none", "iadsr"]])
def test_of_runs_that_are_one_all_others_wait_for_the_topmost(methods: list[str]) -> None:
    """Whatever values lie beside each other without a difference, one run is trained and it is everybody's ancestor."""
    cells = [cell for cell in grid(methods) if cell.kind == "iadsr"]
    cells = sorted(cells, key=lambda cell: (cell.method_options["theta"], cell.method))
    earlier = {address: [cell.address for cell in above] for address, above in earlier_runs(cells).items()}
    names = [cell.address for cell in cells]
    for first, last in combinations(range(len(names) + 1), 2):
        same = names[first:last]
        trained = [name for name in same if not {*earlier.get(name, ())} & {*same}]
        assert len(trained) == 1
        assert all(trained[0] in earlier[name] for name in same if name != trained[0])
    assert max(map(len, earlier.values())) <= 3 + ("iadsr" in methods)


def test_the_order_is_the_one_that_the_workflow_follows() -> None:
    """A run waits for the last that is listed, which itself waits for all before."""
    earlier = earlier_runs(grid(["iadsr"]))
    for above in earlier.values():
        assert earlier.get(above[-1].address, ()) == above[:-1]


def test_no_run_of_the_main_grid_waits_and_nothing_else_is_mixed() -> None:
    cells = grid(["none", "iadsr", "random_mask"], backbones=["gru4rec", "caser"], seeds=[0, 1])
    earlier = earlier_runs(cells)
    assert len(earlier) == len(VALUES) * 4
    for address, above in earlier.items():
        assert "-theta=" in address and above[0].method == "iadsr"
        assert {other.folder.rpartition("/")[0] for other in above} == {address.rpartition("/iadsr")[0]}
        assert {other.seed for other in above} == {int(address[-1])}
    assert all(earlier_than(cell, cells) == earlier.get(cell.address, ()) for cell in cells)


def test_code_of_the_users_own_is_never_taken_for_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = grid(["iadsr"])
    outside = {"models": "gru4rec", "methods": "somebody.method:Own"}
    monkeypatch.setattr(Cell, "modules", property(lambda cell: outside))
    assert earlier_runs(cells) == {}


@pytest.mark.parametrize(
    ("limits", "same"),
    [
        ([-0.2, 0.4], [0.0, 0.1, 0.3]),
        ([-0.5, 0.3], [-0.5, 0.0, 0.1, 0.3]),
        ([None, 0.0], [-0.9, -0.5, 0.0]),
        ([0.8, None], [0.0, 0.9]),
        ([None, None], VALUES),
    ],
)
def test_a_run_is_the_same_between_limits_and_at_its_own_value(limits: list[float | None], same: list[float]) -> None:
    cells = [cell for cell in grid(["none"]) if cell.kind == "iadsr"]
    original = next(cell for cell in cells if cell.method_options["theta"] == 0.0)
    record = {"cell": original.record, "same_between": {"theta": limits}}
    assert [cell.method_options["theta"] for cell in cells if holds_for(cell, record)] == same


@pytest.mark.parametrize("stored", [{}, {"same_between": None}, {"same_between": {"other": [None, None]}}])
def test_a_record_without_limits_says_nothing(stored: dict[str, Any]) -> None:
    one, other = grid(["none"])[1:3]
    assert one.kind == "iadsr"
    assert not holds_for(other, {"cell": one.record, **stored})
