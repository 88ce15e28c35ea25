import math

import pytest

from iadsr.reporting import words


def comparison(**changes: object) -> dict[str, object]:
    row = {"status": "ok", "difference": 0.01, "p_holm": 0.01, "ci_low": 0.002, "ci_high": 0.02}
    return {**row, **changes}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "gain"),
        ({"difference": -0.01, "ci_low": -0.02, "ci_high": -0.002}, "loss"),
        ({"p_holm": 0.05}, "none"),
        ({"p_holm": 0.2}, "none"),
        ({"ci_low": -0.001}, "none"),
        ({"p_holm": math.nan}, "none"),
        ({"status": "iadsr diverged", "difference": math.nan}, "missing"),
        ({"difference": math.nan}, "missing"),
        ({"status": "ok, without iadsr seed 2: diverged (NaN)"}, "gain"),
    ],
)
def test_outcome(changes: dict[str, object], expected: str) -> None:
    assert words.outcome(comparison(**changes)) == expected


def test_an_absent_comparison_is_missing() -> None:
    assert words.outcome(None) == "missing"
    assert words.outcome_text(None) == "missing: not compared"


def test_outcome_text_gives_the_reason() -> None:
    assert words.outcome_text(comparison(status="IADSR diverged: NaN")) == "IADSR diverged: NaN"
    assert words.outcome_text(comparison(status="user sets differ")) == "missing: user sets differ"
    assert words.outcome_text(comparison(p_holm=0.4)) == "no significant difference"


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("iadsr seed 0: diverged (an assertion failed)", "diverged"),
        ("iadsr seed 0: failed (ValueError: it diverged)", "failed"),
        ("iadsr: not in the grid", "missing"),
    ],
)
def test_lost_word_is_the_status(status: str, word: str) -> None:
    assert words.lost_word(comparison(status=status)) == word


def test_lost_seeds_are_named() -> None:
    assert words.lost_seeds(comparison(status="ok, without seed 2")) == "without seed 2"
    assert words.lost_seeds(comparison()) == ""
    assert words.lost_seeds(comparison(status="iadsr diverged", difference=math.nan)) == ""


def test_disagreement_of_test_and_interval() -> None:
    assert words.disagreement(comparison(ci_low=-0.001))
    assert not words.disagreement(comparison())
    assert not words.disagreement(comparison(p_holm=0.5, ci_low=-0.001))


def test_numbers() -> None:
    assert words.fixed(-0.00001) == "0.0000"
    assert words.fixed(-0.5, 1) == "\u22120.5"
    assert words.fixed(math.nan) == words.NOTHING
    assert words.fixed(None) == words.NOTHING
    assert words.signed(0.1234) == "+0.1234"
    assert words.signed(-0.00001) == "0.0000"
    assert words.percent(0.246) == "+24.6\u202f%"
    assert words.p_value(0.0002) == "<\u202f0.001"
    assert words.p_value(0.04) == "0.040"
    assert words.integer(100000) == "100\u202f000"
    assert words.spread(math.nan) == ""


def test_lists_and_counts() -> None:
    assert [words.listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert words.counted(1, "loss", "losses") == "1 loss"
    assert words.counted(0, "loss", "losses") == "0 losses"


def test_plain_spells_nested_settings_out() -> None:
    assert words.plain({"a": [1, 2], "b": {"c": None}, "d": [], "e": 0}) == "a: 1, 2; b: c: \u2013; d: \u2013; e: 0"


def test_slug_is_a_safe_name() -> None:
    assert words.slug("../x y", "IADSR-theta=-0.5") == "x-y-iadsr-theta-0-5"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("iadsr-defects=R4", "IADSR with R4 (one-sided Gumbel noise)"),
        ("iadsr_released-repaired=R2", "IADSR as released, R2 repaired (no denoising at test time)"),
        ("iadsr-temperature=0.5", "IADSR, temperature 0.5"),
        ("iadsr-theta=-0.5", "IADSR, theta \u22120.5"),
        ("iadsr-warm_start=True", "IADSR, warm start on"),
        ("iadsr-mask=soft", "IADSR, mask soft"),
        ("iadsr_some_variant", "IADSR, some variant"),
        ("somebody-elses", "somebody-elses"),
    ],
)
def test_labels_of_swept_methods(name: str, expected: str) -> None:
    assert words.label(name) == expected


def test_short_labels_are_told_apart() -> None:
    names = ["none", "iadsr-theta=0.1", "iadsr_released-theta=0.1", "iadsr-mask=soft"]
    assert list(words.short_labels(names).values()) == [
        "none",
        "IADSR, theta 0.1",
        "IADSR as released, theta 0.1",
        "mask soft",
    ]


def test_the_key_names_each_defect_once_and_in_order() -> None:
    names = ["iadsr-defects=R10", "iadsr_released-repaired=R2", "iadsr-defects=R2", "iadsr-theta=0.1"]
    assert words.defect_key(names) == "R2: no denoising at test time; R10: early stopping on the training loss"
    assert words.defect_key(["none", "iadsr-theta=0.1"]) == ""
