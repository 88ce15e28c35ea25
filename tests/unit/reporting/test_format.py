import math

import pytest

from iadsr.reporting import format as form


def test_numbers() -> None:
    assert form.fixed(-0.00001) == "0.0000"
    assert form.fixed(-0.5, 1) == "\u22120.5"
    assert form.fixed(math.nan) == form.NOTHING
    assert form.fixed(None) == form.NOTHING
    assert form.signed(0.1234) == "+0.1234"
    assert form.signed(-0.00001) == "0.0000"
    assert form.percent(0.246) == "+24.6\u202f%"
    assert form.share(0.5) == "50.0\u202f%"
    assert form.interval(-0.1, 0.25) == "[\u22120.1000, +0.2500]"
    assert form.percent_interval(math.nan, 0.1) == form.NOTHING
    assert form.p_value(0.0002) == "<\u202f0.001"
    assert form.p_value(0.04) == "0.040"
    assert form.integer(100000) == "100\u202f000"
    assert form.plus_minus(math.nan) == ""
    assert [form.in_users(943, one) for one in (0.0111, -0.0032)] == ["10.5 more", "3.0 fewer"]
    assert form.significant(-0.000123) == "\u22120.00012"


def test_lists() -> None:
    assert [form.listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_plain_spells_nested_settings_out() -> None:
    assert form.plain({"a": [1, 2], "b": {"c": None}, "d": [], "e": 0}) == "a: 1, 2; b: c: \u2013; d: \u2013; e: 0"


def test_slug_is_a_safe_name() -> None:
    assert form.slug("../x y", "", "IADSR-theta=-0.5") == "x-y-iadsr-theta-0-5"


TITLES = {"iadsr": "IADSR", "iadsr_released": "IADSR as released", "none": "none"}


@pytest.mark.parametrize(
    ("name", "expected", "defect"),
    [
        ("iadsr-defects=R4", "IADSR with R4", "R4"),
        ("iadsr_released-repaired=R2", "IADSR as released, R2 repaired", "R2"),
        ("iadsr-temperature=0.5", "IADSR, temperature 0.5", ""),
        ("iadsr-theta=-0.5", "IADSR, theta \u22120.5", ""),
        ("iadsr-warm_start=True", "IADSR, warm start on", ""),
        ("somebody-elses", "somebody-elses", ""),
        ("somebody.elses-rate=2", "somebody.elses, rate 2", ""),
    ],
)
def test_labels_of_swept_methods(name: str, expected: str, defect: str) -> None:
    assert form.label(name, TITLES) == expected
    assert form.defect_in(name) == defect


def test_short_labels_are_told_apart() -> None:
    names = ["none", "iadsr-theta=0.1", "iadsr_released-theta=0.1", "iadsr-mask=soft"]
    short = form.short_labels(names, TITLES)
    assert list(short.values()) == ["none", "IADSR, theta 0.1", "IADSR as released, theta 0.1", "mask soft"]


def test_a_long_name_is_cut_after_a_word() -> None:
    assert form.shortened("Toy Story (1995)", 16) == "Toy Story (1995)"
    assert form.shortened("Toy Story (1995)", 15) == "Toy Story…"
    assert form.shortened("x" * 20, 10) == "x" * 9 + "…"
