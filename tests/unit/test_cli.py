"""The command line, apart from its stages."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import typer

from iadsr import cli
from iadsr.config.claims import Verdict
from iadsr.config.run import load_run
from iadsr.core.errors import ConfigError, DataError
from iadsr.core.files import atomic_path


def test_settings_for_other_programs_do_not_reach_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = {"MPLBACKEND": "module://of_a_notebook", "OMP_NUM_THREADS": "7", "IADSR_MIRROR": "kept"}
    seen: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", shell)
    monkeypatch.setattr(cli, "app", lambda: seen.update(os.environ))
    cli.main()
    assert seen["MPLBACKEND"] == "Agg"
    assert {value for name, value in seen.items() if name.endswith("_NUM_THREADS")} == {"1"}
    assert seen["IADSR_MIRROR"] == "kept"


def test_sigterm_ends_a_stage_in_one_line_and_lets_it_clean_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def stage() -> None:
        with atomic_path(tmp_path / "a"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    former = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli, "app", stage)
    try:
        with pytest.raises(SystemExit, match="143"):
            cli.main()
    finally:
        signal.signal(signal.SIGTERM, former)
    assert capsys.readouterr().err.startswith("error: ended by SIGTERM: repeat the command")
    assert not list(tmp_path.iterdir())


def test_claims_print_their_numbers_and_end_with_3_if_one_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = {"against": "none", "least": 0.05, "most": 0.12, "low": -0.1, "high": 0.2, "detectable": 0.3}
    numbers |= dict.fromkeys(("beside_least", "beside_most", "sought", "needed", "users", "seeds"), 0.0)
    numbers |= {"excluded": False, "same": 0, "contrary": 1, "seeds": 3.0}
    nothing = dict.fromkeys(numbers, None) | {"against": "", "judged": 0, "lost": 0, "weak": ""}
    own = {"dataset": "toys", "protocol": "paper", "judged": 2, "lost": 1, "weak": "caser"}
    rows = [
        {"claim": "over_the_backbone", "dataset": "", "protocol": "", "verdict": "partly reproduced"} | nothing,
        {"claim": "over_the_backbone", "verdict": "partly reproduced"} | numbers | own,
        {"claim": "theta", "dataset": "", "protocol": "", "verdict": "not run"} | nothing,
    ]
    path = tmp_path / "statistics" / "verdicts.parquet"
    path.parent.mkdir()

    def status(verdict: str, as_json: bool = False, claim: str = "theta") -> int:
        pd.DataFrame([*rows[:2], rows[2] | {"verdict": verdict, "claim": claim}]).to_parquet(path)
        with pytest.raises(typer.Exit) as ended:
            cli.claims(results=tmp_path, as_json=as_json)
        return int(ended.value.exit_code)

    assert status("not run") == 0
    assert capsys.readouterr().out.splitlines() == [
        "partly reproduced       helps its backbone",
        f"{'':26}toys, paper: partly reproduced",
        f"{'':28}+5.0\u202f% to +12.0\u202f% [\u221210.0, +20.0]\u202f% vs none; "
        "3 seeds find 30.0\u202f%; "
        "1 of 2 significantly the other way; baseline below the most popular items: caser; "
        "1 comparison without all runs",
        "not run                 \u03b8 = \u22120.9 is best",
        f"{'':26}needs experiment theta",
    ]
    refuted = {"not reproduced", "opposite", "depends on the protocol"}
    for verdict in get_args(Verdict):
        assert status(verdict, as_json=True) == (3 if verdict in refuted else 0)
        told = json.loads(capsys.readouterr().out)
        assert (told[1]["most"], told[2]["verdict"]) == (0.12, verdict)
    with pytest.raises(DataError, match="judged by other claims"):
        status("not run", claim="of_another_paper")


def test_the_archive_agrees_with_itself_and_not_with_runs_that_rank_backwards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "movielens-100k.parquet"
    archive = tmp_path / "archive"  # of this dataset alone: what only one side has is a line of its own
    archive.mkdir()
    for folder in (tmp_path, archive):
        shutil.copy(cli.ARCHIVE / name, folder / name)
    with pytest.raises(typer.Exit) as ended:
        cli.compare(tmp_path, archive)
    said = capsys.readouterr().out.splitlines()
    cells = len({line.split()[0] for line in said[1:-1]})
    assert ended.value.exit_code == 0 and said[0].split()[0] == "cell"
    assert said[-1].startswith(f"{cells} of {cells} cells agree")
    assert not any("nan" in line for line in said)
    table = pd.read_parquet(tmp_path / name)
    table["record"] = table["record"].str.replace('"ranks.parquet": "', '"ranks.parquet": "other')
    for column in ("rank_kept", "rank_excluded"):
        table[column] = [2 * 1682 + 2 - ranks for ranks in table[column]]
    table.to_parquet(tmp_path / name)
    with pytest.raises(typer.Exit) as ended:
        cli.compare(tmp_path, archive)
    assert ended.value.exit_code == 3
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"0 of {cells} cells agree")
    with pytest.raises(DataError, match="neither a results folder with runs nor an archive"):
        cli.compare(tmp_path / "absent", archive)


def test_a_comparison_tells_encoders_apart_and_counts_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "movielens-100k.parquet"
    table = pd.read_parquet(cli.ARCHIVE / name)
    one = table[(table["method"] == "iadsr") & (table["backbone"] == "caser")]
    other = one.assign(record=one["record"].str.replace('"pooling": "mean"', '"pooling": "first"'))
    for folder, rows in (("first", [one, other, table[table["method"] == "none"]]), ("second", [one, other])):
        (tmp_path / folder).mkdir()
        pd.concat(rows).to_parquet(tmp_path / folder / name)
    with pytest.raises(typer.Exit):
        cli.compare(tmp_path / "first", tmp_path / "second")
    said = capsys.readouterr().out.splitlines()
    protocols = one["protocol"].nunique()
    assert said[-1].startswith(f"{2 * protocols} of {2 * protocols} cells agree")
    assert len({line.split(" NDCG@10")[0] for line in said if "caser/iadsr with encoder" in line}) >= 2 * protocols
    assert "first only and not compared" in said[-2]


def test_power_forecasts_from_the_archive(capsys: pytest.CaptureFixture[str]) -> None:
    seeds = len(load_run(cli.DEFAULT).seeds)
    cli.power(seeds=f"{seeds}, 7", metric=["HR@5"], as_json=True)
    rows = [row for row in json.loads(capsys.readouterr().out) if row["protocol"] == "paper"]
    assert {(row["backbone"], row["metric"], row["seeds"]) for row in rows} == {("all", "HR@5", n) for n in (seeds, 7)}
    assert {row["pilot_seeds"] for row in rows} == {seeds}
    assert all((row["detectable"] == pytest.approx(row["now"])) == (row["seeds"] == seeds) for row in rows)
    cli.power(metric=["HR@5"])
    head, *lines = capsys.readouterr().out.splitlines()
    pairs = {(row["method"], row["baseline"]) for row in rows}
    assert pairs and all(
        any(line.startswith(f"movielens-100k/paper/all: {a} against {b}") for line in lines) for a, b in pairs
    )
    assert re.search(r"3 seeds +5 seeds +10 seeds +20 seeds +any number +needed for 24\.6", head)


def test_power_of_a_single_seed_is_not_forecast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_parquet(cli.ARCHIVE / "movielens-100k.parquet")
    table[table["seed"] == 0].to_parquet(tmp_path / "movielens-100k.parquet")
    cli.power(tmp_path)
    said = capsys.readouterr().out
    assert "how much seeds vary, one seed cannot tell" in said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": "3,1"}, "--seeds must be whole numbers from 2 on"),
        ({"seeds": "3;5"}, "--seeds must be whole numbers from 2 on"),
        ({"metric": ["NDGC@10"]}, "did you mean 'NDCG@10'"),
    ],
)
def test_power_refuses_wrong_options(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cli.power(**given)


def test_power_needs_runs_of_the_run_file() -> None:
    with pytest.raises(DataError, match="has no run of"):
        cli.power(config=cli.CONFIG_FOLDER / "smoke.yaml")


def test_recomputing_never_writes_over_trained_runs(tmp_path: Path) -> None:
    trained = tmp_path / "runs" / "toys" / "paper" / "gru4rec" / "none" / "seed0" / "ranks.parquet"
    trained.parent.mkdir(parents=True)
    trained.touch()
    with pytest.raises(ConfigError, match=r"has trained runs, such as .*seed0; choose another folder"):
        cli.recompute(out=tmp_path)
    assert list(trained.parent.iterdir()) == [trained]
