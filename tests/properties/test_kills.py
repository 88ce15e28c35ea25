"""SIGKILL at random moments: the repeated call ends as an undisturbed one, and nothing is left behind."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kills import address_of, check_same, kill_stage, serve, stages


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = serve()
    yield address_of(server)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", stages(""))
def test_a_killed_stage_ends_as_if_undisturbed(name: str, tmp_path: Path, address: str) -> None:
    assert kill_stage(stages(address)[name], tmp_path, kills=1, draw=random.Random(name)) == 1


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        ({"a": "1", ".a.x1234567": ""}, "left behind"),
        ({}, "missing"),
        ({"a": "2"}, "other bytes"),
    ],
)
def test_the_comparison_can_fail(ours: dict[str, str], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_same(ours, {"a": "1"})
