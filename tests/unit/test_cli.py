"""The command line, apart from its stages."""

import os

import pytest

from iadsr import cli


def test_settings_for_other_programs_do_not_reach_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = {"MPLBACKEND": "module://of_a_notebook", "OMP_NUM_THREADS": "7", "IADSR_MIRROR": "kept"}
    seen: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", shell)
    monkeypatch.setattr(cli, "app", lambda: seen.update(os.environ))
    cli.main()
    assert seen["MPLBACKEND"] == "Agg"
    assert {value for name, value in seen.items() if name.endswith("_NUM_THREADS")} == {"1"}
    assert seen["IADSR_MIRROR"] == "kept"
