"""What the commands print."""

import pandas as pd
import pytest

from iadsr.statistics.crossed import MOST
from iadsr.statistics.power import COLUMNS
from iadsr.terminal import print_forecast, print_table


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_texts_are_flush_left_and_numbers_flush_right(capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.DataFrame({"cell": ["a/b", "a/long name"], "mean": [0.12345, None], "seeds": [3, 10], "note": ["x", ""]})
    print_table(table)
    head, first, second = lines_of(capsys)
    assert head.split() == ["cell", "mean", "seeds", "note"]
    assert first.split() == ["a/b", "0.1235", "3", "x"] and second.startswith("a/long name")
    end = head.index("mean") + len("mean")
    assert first[:end].endswith(" 0.1235") and second[:end].endswith(" \u2013")
    assert not any(line != line.strip() for line in (head, first, second))


def forecast_of(**changes: object) -> pd.DataFrame:
    row = dict.fromkeys(COLUMNS[:5], "x") | {"metric": "HR@5", "users": 900, "pilot_seeds": 3, "status": "ok"}
    row |= {"ranking": "kept", "baseline": "none", "gain": 0.1, "now": 0.3, "floor": 0.02, "sought": 0.246}
    row |= {"needed": 5, "needed_at_worst": None, "seeds": 7, "detectable": 0.15, "at_worst": 0.4, **changes}
    whole = {"needed": "Int64", "needed_at_worst": "Int64"}
    numbers = dict.fromkeys(("gain", "now", "floor", "sought", "detectable", "at_worst"), "float64")
    return pd.DataFrame([row], columns=list(COLUMNS)).astype(whole | numbers)


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({}, ["15.0\u202f% (40.0\u202f%)", "2.0\u202f%", f"5 (over {MOST})"]),
        ({"floor": 0.3, "needed": None}, ["15.0\u202f% (40.0\u202f%)", "30.0\u202f%", "no number (no number)"]),
        (
            {"gain": None, "floor": None, "detectable": None, "at_worst": None, "needed": None, "status": "no run"},
            ["\u2013 (\u2013)", "\u2013", "\u2013", "no run"],
        ),
    ],
)
def test_a_forecast_says_how_many_seeds_find_the_gain(
    capsys: pytest.CaptureFixture[str], changes: dict[str, object], ends: list[str]
) -> None:
    print_forecast(forecast_of(**changes))
    row = " ".join(lines_of(capsys)[1].split())
    assert row.startswith("x/x/x: x against none HR@5") and row.endswith(" ".join(" ".join(ends).split()))


def test_one_seed_cannot_tell_how_much_seeds_vary(capsys: pytest.CaptureFixture[str]) -> None:
    print_forecast(forecast_of(pilot_seeds=1))
    assert "one seed cannot tell" in lines_of(capsys)[-1]
    print_forecast(forecast_of())
    assert "one seed cannot tell" not in lines_of(capsys)[-1]
