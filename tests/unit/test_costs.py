"""Costs are estimated from records, and say how wrong they are on runs that they were not fitted to."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iadsr import cli, costs
from iadsr.config.cell import Cell
from iadsr.config.datasets import Size
from iadsr.config.run import RunConfig, load_run
from iadsr.core.errors import DataError
from iadsr.costs import Model, cost_of, fit, products

SIZES = {"toys": Size(1000, 500, 9000), "beauty": Size(400, 3000, 5000), "sports": Size(700, 1500, 30000)}
PRICES = {"start": 4.0, "encode gru4rec": 7.0, "encode caser": 11.0, "step": 900.0, "read texts": 3000.0}
PRICES |= {"loss": 0.01, "validate": 0.02}


def test_a_slower_device_changes_no_price_and_is_foretold() -> None:
    slower = [
        {**record(dataset, protocol, "caser", kind, slow=2.5), "device": "cpu (slow)"}
        for dataset in SIZES
        for protocol in ("paper", "strong")
        for kind in ("random", "iadsr")
    ]
    usual = [one for one in records() if one["cell"]["kind"] == "none" or one["cell"]["backbone"] == "gru4rec"]
    model = fit([*usual, *slower], SIZES)
    assert model.worst < 0.01 and model.machines == ("cpu (x), m",)
    expected = fit(records(), SIZES)
    one = records()[0]["cell"]
    assert model.seconds(one, SIZES["toys"]) == pytest.approx(expected.seconds(one, SIZES["toys"]), rel=0.01)


MODEL = Model({**PRICES, "encode sasrec": 9.0}, 1, 0.1, 0.2, 700.0, {}, ())


def record(dataset: str, protocol: str, backbone: str, kind: str, slow: float = 1.0) -> dict[str, Any]:
    """A record whose seconds follow from PRICES, times `slow`."""
    strong = protocol == "strong"
    settings = {
        "batch_size": 32,
        "steps": 2000 if strong else 3000,
        "budget": 1.0,
        "max_epochs": None,
        "max_length": 50 if strong else 20,
        "objective": "all" if strong else "last",
        "validations": 40,
    }
    names = {"dataset": dataset, "protocol": protocol, "backbone": backbone, "kind": kind, "warm_start": False}
    cell = {**names, "settings": settings, "encoder": None if kind == "none" else {"kind": "minilm"}}
    seconds = sum(PRICES[name] * amount for name, amount in products(cell, SIZES[dataset]).items())
    place = {"device": "cpu (x)", "machine": "m", "peak_memory_mb": 600.0}
    return {"status": "done", "cell": cell, "seconds": {"total": slow * seconds}, **place}


def records() -> list[dict[str, Any]]:
    return [
        record(dataset, protocol, backbone, kind)
        for dataset in SIZES
        for protocol in ("paper", "strong")
        for backbone in ("gru4rec", "caser")
        for kind in ("none", "iadsr")
    ]


def test_prices_are_found_again_though_some_runs_shared_their_core() -> None:
    shared = [
        record("toys", "paper", "caser", "iadsr", slow=6.0),
        record("beauty", "strong", "gru4rec", "none", slow=4.0),
    ]
    copy = {**record("toys", "paper", "caser", "iadsr", slow=50.0), "reused_from": "another"}
    model = fit([*records(), *shared, *[copy] * 20], SIZES)
    assert model.prices == pytest.approx(PRICES, rel=1e-3)
    assert model.runs == 26
    assert model.error < 1e-3


def test_a_run_that_tells_how_slow_its_core_was_counts_as_on_an_idle_one() -> None:
    slowness = itertools.cycle([1.0, 1.7, 2.4])
    told = [
        {**one, "seconds": {"total": times * one["seconds"]["total"], "yardstick": times * 0.001}}
        for one, times in zip(records(), slowness, strict=False)
    ]
    model = fit(told, SIZES)
    assert model.prices == pytest.approx(PRICES, rel=1e-3)
    assert model.worst < 1e-3


def test_the_error_is_that_on_settings_that_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is three times as slow as the rest foretells is wrong by two thirds, although it could be fitted."""
    slow = [record("beauty", "strong", "caser", kind, slow=3.0) for kind in ("none", "iadsr")]
    others = [one for one in records() if one["cell"]["dataset"] == "toys" and one["cell"]["backbone"] == "gru4rec"]
    fitted: list[int] = []
    real = costs._prices

    def counted(rows: Any, seconds: Any) -> dict[str, float]:
        fitted.append(len(rows))
        return real(rows, seconds)

    monkeypatch.setattr(costs, "_prices", counted)
    model = fit([*others, *slow], SIZES)
    assert sorted(fitted) == [4, 4, 4, 6]
    assert model.worst > 0.3


def test_records_of_backbones_alone_have_no_price_of_texts() -> None:
    model = fit([one for one in records() if one["cell"]["kind"] == "none"], SIZES)
    expected = {name: price for name, price in PRICES.items() if name != "read texts"}
    assert model.prices == pytest.approx(expected, rel=1e-3)


def test_too_few_settings_are_refused() -> None:
    with pytest.raises(DataError, match="at least 3 settings"):
        fit(records()[:3], SIZES)


def test_a_larger_budget_on_a_busy_machine_changes_no_price() -> None:
    longer = [{**one, "seconds": {"total": 6 * one["seconds"]["total"]}} for one in records()]
    longer = [
        {**one, "cell": {**one["cell"], "settings": {**one["cell"]["settings"], "budget": 2.0}}} for one in longer
    ]
    model = fit([*longer, *records()], SIZES)
    assert model.prices == pytest.approx(PRICES, rel=1e-3) and model.error < 1e-3


def test_the_archive_foretells_runs_that_it_was_not_fitted_to() -> None:
    """Half of them within 30 %."""
    found = json.loads(_printed(cli.DEFAULT))
    assert found["model"]["error"] <= 0.3
    assert found["costs"]["runs"]["runs"] == 66
    assert found["unknown"] == {}


def _printed(config: Path, **options: Any) -> str:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.typer, "echo", lines.append)
        cli.estimate(config, **{"nodes": 1, "cores": 2, "as_json": True, **options})
    return "\n".join(lines)


def test_what_no_record_has_is_named_and_more_machines_need_less_time(tmp_path: Path) -> None:
    paper = cli.CONFIG_FOLDER / "paper.yaml"
    for path in cli.ARCHIVE.glob("movielens-100k.*"):
        shutil.copy(path, tmp_path)
    said = _printed(paper, as_json=False, archive=tmp_path)
    assert "No record has dataset beauty, sports, toys" in said
    assert said.splitlines()[1].split()[:2] == ["runs", "2880"]
    one, four = (json.loads(_printed(paper, nodes=nodes))["costs"]["runs"] for nodes in (1, 4))
    assert one["core_hours"] == four["core_hours"] > 100
    assert one["wall_hours"] == pytest.approx(4 * four["wall_hours"])


def test_a_protocol_without_records_is_named() -> None:
    """Fitted to others alone, prices are off twice as far as `error` says."""
    model = fit([one for one in records() if one["cell"]["protocol"] == "paper"], SIZES)
    assert model.unknown(cells(protocols=["paper", "strong"]))["protocol"] == ["strong"]


def cells(**changes: Any) -> list[Cell]:
    run = load_run(cli.CONFIG_FOLDER / "smoke.yaml").model_dump() | changes
    return RunConfig.model_validate(run).cells(cli.CONFIG_FOLDER)


def test_a_cost_adds_up_runs_and_finds_the_longest_chain() -> None:
    sweep = [{"method": "iadsr", "option": "theta", "values": [-0.5, 0.0, 0.5]}]
    made = cells(methods=["iadsr", "random_mask_matched"], sweeps=sweep, backbones=["gru4rec"], protocols=["paper"])
    sizes = {"planted": SIZES["toys"]}
    each = MODEL.seconds(made[0].record, SIZES["toys"]) / 3600
    cost = cost_of(MODEL, made, sizes, slots=1)
    assert (cost.runs, cost.memory_mb) == (5, 700.0)
    assert cost.core_hours == pytest.approx(5 * each)
    assert cost.longest_hours == pytest.approx(3 * each), "the method's own run, the middle of the rest, its neighbour"
    assert cost.wall_hours == cost.core_hours
    assert cost_of(MODEL, made, sizes, slots=100).wall_hours == cost.longest_hours
    assert cost_of(MODEL, made, sizes, slots=1, threads=4).core_hours == pytest.approx(4 * cost.core_hours)


def test_a_search_costs_its_trials_after_those_of_the_backbone_alone() -> None:
    made = [cell for cell in cells() if cell.backbone == "caser" and cell.protocol == "paper"][:2]
    sizes = {"planted": SIZES["toys"]}
    assert [cell.method for cell in made] == ["none", "iadsr"]
    once, search = (cost_of(MODEL, made, sizes, slots=8, times=times) for times in (1, 20))
    assert search.runs == 20 * once.runs
    assert search.longest_hours == pytest.approx(20 * once.core_hours)


def test_a_limit_of_epochs_limits_the_cost() -> None:
    short, whole = (cells(max_epochs=limit)[0] for limit in (2, None))
    assert MODEL.seconds(short.record, SIZES["toys"]) < 0.5 * MODEL.seconds(whole.record, SIZES["toys"])


def test_a_backbone_without_records_is_as_dear_as_the_dearest() -> None:
    made = record("toys", "paper", "caser", "none")["cell"]
    unknown = {**made, "backbone": "fmlp"}
    assert MODEL.seconds(unknown, SIZES["toys"]) == MODEL.seconds(made, SIZES["toys"])
    assert np.isfinite(MODEL.seconds(unknown, SIZES["toys"]))
