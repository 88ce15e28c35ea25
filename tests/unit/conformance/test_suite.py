"""Our methods pass the suite, methods with a fault fail it, and the command says so in words."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from iadsr.cli import app
from iadsr.config.options import find_method, known_methods
from iadsr.conformance import suite
from iadsr.conformance.suite import CHECKS, Case, find_kinds
from iadsr.core.errors import ConfigError
from iadsr.methods.method import Method
from tests.helpers import accepted
from tests.unit.conformance import mutants
from tests.unit.conformance.mutants import FAULTS

MODULE = mutants.__name__
OPTIONS: dict[str, list[dict[str, object]]] = {
    "iadsr": [{}, {"mask": "soft"}, {"mask": "random"}, {"threshold": "learned"}],
    "adt": [{"ramp": 1}, {"weights": "reweighted"}],
    "dcrec": [{}, {"graph": False}, {"released": ["degrees_twice", "random_scoring"]}],
    "hsd": [{}, {"logits": "raw", "norm": "layer", "query": "last"}],
    "steam": [{}, {"corrector": False}, {"recommender": "next_item"}, {"recommender": "next_item", "corrector": False}],
}
ACCEPTED = accepted(known_methods())
CASES = {
    False: (("sasrec", "last"), ("gru4rec", "all"), ("gru4rec", "last"), ("fmlp", "prefix")),
    True: (("own", "last"), ("own", "prefix"), ("own", "all")),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("kind", "options"), [(kind, options) for kind in known_methods() for options in OPTIONS.get(kind, [{}])], ids=str
)
def test_our_methods_pass(kind: str, options: dict[str, object], check: str) -> None:
    for backbone, objective in CASES[find_method(kind, kind).own_backbone]:
        if (backbone, kind, objective) not in ACCEPTED:
            continue
        if options.get("mask") == "random" and check == "a gradient reaches every parameter":
            continue  # no gradient reaches the text projection through a mask of chance: IADSR's losses do alone
        if options.get("weights") == "reweighted" and check == "switched off, it is the backbone":
            continue  # its neutral rate belongs to truncation
        if options.get("recommender") == "next_item" and objective == "all":
            continue  # refused
        assert CHECKS[check](Case(kind, backbone, objective, options)) is None


@pytest.mark.parametrize("mutant", FAULTS)
def test_a_faulty_method_fails_the_check_of_its_fault(mutant: type[Method]) -> None:
    assert CHECKS[FAULTS[mutant]](Case(f"{MODULE}.{mutant.__name__}", "gru4rec", "last")) is not None


def test_methods_without_a_fault_pass() -> None:
    assert set(FAULTS.values()) == set(CHECKS), "every check has a method that it refuses"
    for name, check in CHECKS.items():
        for kind in ("Base", "Fair", "Running"):
            assert check(Case(f"{MODULE}.{kind}", "gru4rec", "last")) is None, name


def test_names_lead_to_methods() -> None:
    assert find_kinds("iadsr") == ["iadsr"]
    assert find_kinds(f"{MODULE}:Fair") == [f"{MODULE}.Fair"]
    assert set(find_kinds(MODULE)) >= {f"{MODULE}.{mutant.__name__}" for mutant in FAULTS}
    for name, words in (
        ("iadsr.none", "cannot be imported"),
        ("json", "no class with `Options`"),
        (f"{MODULE}:Fare", "has no attribute"),
        (f"{MODULE}:Plain", "lacks a class `Options`"),
    ):
        with pytest.raises(ConfigError, match=words):
            find_kinds(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Unreached", "under 'last' fails 'a gradient reaches every parameter': no gradient reaches method.unused"),
        ("Raising", "it raised KeyError 'mask' (mutants.py, line "),
        ("Base", "8 of 8 checks passed"),
    ],
)
def test_the_command_says_in_words_what_failed(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "BACKBONES", ("gru4rec",))
    monkeypatch.setattr(suite, "OBJECTIVES", ("last",))
    result = CliRunner().invoke(app, ["check-method", f"{MODULE}:{name}"])
    assert words in result.output
    assert result.exit_code == (0 if name == "Base" else 1)
