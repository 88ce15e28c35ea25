"""Every setting and option reaches the run: changed alone, it changes what is trained, measured or ranked.

A digest that changes is no proof. Each case names what must differ, and what must not where that tells the setting's
place: `average` changes what is validated and leaves the training loss alone.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from iadsr.config.cell import Cell
from iadsr.config.options import known_backbones, known_methods
from iadsr.config.parse import parse
from iadsr.config.run import RunConfig
from iadsr.config.settings import Settings
from iadsr.methods.iadsr_options import IADSROptions
from iadsr.methods.method import MethodInputs
from iadsr.methods.none_options import NoneOptions
from iadsr.methods.random_drop_options import RandomDropOptions
from iadsr.sequences.split import Sequences, save_sequences
from iadsr.training.loop import evaluation_noise, train
from iadsr.training.recommender import build_recommender, state_width
from iadsr.training.run import run_cell
from iadsr.training.score import Scorer
from tests.helpers import feed_of, inputs_of, small_cell, small_sequences

FOLDER = Path(__file__).resolve().parents[2] / "workflow" / "config"


@dataclass(frozen=True)
class Case:
    """A changed value, the base in which it has an effect, and parts of the result that differ or stay."""

    value: Any
    differs: tuple[str, ...]
    same: tuple[str, ...] = ()
    base: dict[str, Any] = field(default_factory=dict)


LONG = {"epochs": 8, "learning_rate": 0.2}  # whose best epoch is not the last
SETTINGS = {
    "objective": Case("all", ("loss",), ("targets", "parameters")),
    "max_length": Case(3, ("loss", "ranks"), ("targets",)),
    "ranking": Case("excluded", ("validation",), ("loss",)),
    "dimension": Case(6, ("parameters", "loss")),
    "dropout": Case(0.5, ("loss",), ("parameters",)),
    "batch_size": Case(4, ("loss",)),
    "batching": Case("shuffled", ("loss",)),
    "learning_rate": Case(0.02, ("loss",)),
    "weight_decay": Case(1.0, ("loss",)),
    "average": Case(0.9, ("validation", "ranks"), ("loss",)),
    "steps": Case(1, ("epochs",), base={"max_epochs": None, "steps": 6}),
    "budget": Case(2.0, ("epochs",), base={"max_epochs": None, "steps": 6}),
    "max_epochs": Case(2, ("epochs",)),
    "warmup": Case(0.5, ("loss",)),
    "schedule": Case("cosine", ("loss",)),
    "validations": Case(1, ("validation",), ("loss", "epochs")),
    "patience": Case(1, ("epochs",), base=LONG),
    "stopping": Case("training", ("best",), ("loss", "validation"), base=LONG),
    "loss": Case("in_batch", ("loss",)),
    "bounded": Case(True, ("loss",)),
    "rank_padding": Case(True, ("loss",)),
    "networks": Case("released", ("parameters", "loss")),
    "optimiser": Case("adam", ("loss",), base={"weight_decay": 0.1}),
    "injected_noise": Case(0.3, ("loss",), ("targets", "parameters")),
    "tie_break": Case(1, ("loss", "targets")),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cell], dict[str, Any]]:
    """Run a cell of `run_cell` on stored sequences in which many interactions are tied."""
    root = tmp_path_factory.mktemp("settings")
    sequences = small_sequences()
    times = np.concatenate([np.arange(length) // 3 for length in sequences.lengths])
    save_sequences(root / "sequences/ring/sequences.npz", replace(sequences, times=times))

    def results(cell: Cell) -> dict[str, Any]:
        run_cell(cell, root, "cpu", 1)
        folder = root / "runs" / cell.address
        curve, ranks = pd.read_csv(folder / "curve.csv"), pd.read_parquet(folder / "ranks.parquet")
        record = json.loads((folder / "record.json").read_text())
        assert record["status"] in ("done", "untrained"), record["reason"]  # few steps, and a rate for each case
        return {
            "loss": curve["loss"].tolist(),
            "validation": curve["validation"].tolist(),
            "epochs": len(curve),
            "best": record["best_epoch"],
            "parameters": record["parameters"],
            "targets": ranks["target"].tolist(),
            "ranks": ranks["rank_kept"].tolist(),
        }

    return results


def test_every_setting_has_a_case() -> None:
    assert set(SETTINGS) == set(Settings.model_fields)
    assert set(IADSR) == set(IADSROptions.model_fields)
    assert set(RANDOM_DROP) == set(RandomDropOptions.model_fields)
    assert set(NONE) == set(NoneOptions.model_fields)
    for networks, models in (("ours", known_backbones()), ("released", known_backbones("released"))):
        for name, model in models.items():
            assert set(OPTIONS[networks][name]) == set(model.model_fields), f"{networks} {name}"


def check(case: Case, base: dict[str, Any], changed: dict[str, Any]) -> None:
    for part in case.differs:
        assert base[part] != changed[part], f"{part} is as before"
    for part in case.same:
        assert base[part] == changed[part], f"{part} differs"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_reaches_the_run(run: Callable[[Cell], dict[str, Any]], name: str) -> None:
    case = SETTINGS[name]
    cells = [
        small_cell("gru4rec", "none", **{"objective": "last", **case.base, **more}) for more in ({}, {name: case.value})
    ]
    assert getattr(cells[0].settings, name) != case.value
    check(case, *(run(cell) for cell in cells))


def fit(cell: Cell, sequences: Sequences, told: MethodInputs) -> dict[str, Any]:
    """Train a cell in memory: its curve, ranks and number of parameters."""
    model = build_recommender(cell, told)
    device, feed = torch.device("cpu"), feed_of(sequences, cell)
    outcome = train(model, feed, cell)
    assert outcome.diverged is None
    ranks, *_ = Scorer(feed, "test", cell).test(model.eval(), evaluation_noise(cell, device))
    rows = [{name: value for name, value in epoch.flat().items() if name != "seconds"} for epoch in outcome.curve]
    return {
        "curve": rows,
        "loss": [row["loss"] for row in rows],
        "ranks": ranks["rank_kept"].tolist(),
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }


SIZE = Case(3, ("parameters", "loss"))
OPTIONS: dict[str, dict[str, dict[str, Case]]] = {
    "ours": {
        "gru4rec": {"hidden": SIZE, "layers": SIZE},
        "sasrec": {
            "layers": SIZE,
            "heads": Case(4, ("loss",), ("parameters",)),
            "inner": SIZE,
            "norm": Case("pre", ("loss",)),
            "activation": Case("relu", ("loss",), ("parameters",)),
            "attention_dropout": Case(0.5, ("loss",), ("parameters",)),
        },
        "caser": {"window": SIZE, "horizontal": SIZE, "vertical": SIZE, "user_embedding": Case(True, ("parameters",))},
        "fmlp": {"layers": SIZE, "inner": SIZE},
    },
    "released": {
        "gru4rec": {"hidden": SIZE, "layers": SIZE},
        "sasrec": {"hidden": SIZE, "layers": SIZE, "heads": Case(4, ("loss",), ("parameters",)), "inner": SIZE},
        "caser": {"hidden": SIZE, "filters": SIZE},
    },
}


@pytest.mark.parametrize(
    ("networks", "backbone", "name"),
    [
        (networks, backbone, name)
        for networks, of in OPTIONS.items()
        for backbone, names in of.items()
        for name in names
    ],
)
def test_every_option_of_a_backbone_reaches_the_run(networks: str, backbone: str, name: str) -> None:
    case = OPTIONS[networks][backbone][name]

    def results(**options: Any) -> dict[str, Any]:
        cell = small_cell(backbone, "none", "last", backbone_options=options, networks=networks, epochs=1)
        return fit(cell, small_sequences(), inputs_of(width=state_width(cell)))

    check(case, results(**case.base), results(**case.base, **{name: case.value}))


CURVE = ("curve",)
ITEMS = {
    "items": Case("text_sum", (*CURVE, "parameters")),
    "items_scale": Case(5.0, CURVE, base={"items": "text_init"}),
    "items_reduce": Case("random", CURVE, base={"items": "text_init"}),
    "items_components": Case(2, (*CURVE, "parameters"), base={"items": "text_frozen"}),
}
NONE = {**ITEMS, "texts": Case("shuffled", ("file",), base={"items": "text_init"})}
NONE["encoder"] = Case({"kind": "random"}, ("file",), base={"items": "text_init"})
IADSR = {
    "variant": Case("released", CURVE),
    "defects": Case(["R4"], CURVE),
    "repaired": Case(["R1"], CURVE, base={"variant": "released"}),
    "theta": Case(0.0, CURVE),
    "temperature": Case(0.3, CURVE),
    "alignment": Case(0.5, CURVE),
    "alignment_temperature": Case(0.5, CURVE),
    "alignment_rows": Case(4, CURVE),
    "long_rows": Case("position", CURVE, base={"scope": "causal"}),
    "equal_negatives": Case(True, CURVE),
    "reconstruction": Case(0.5, CURVE),
    "reconstruction_error": Case("squared", CURVE),
    "mask": Case("soft", CURVE),
    "match": Case("other", ("matched",), base={"mask": "random"}),
    "remove": Case("pack", CURVE),
    "semantic": Case(False, (*CURVE, "parameters")),
    "interest_text": Case("prefixes", CURVE),
    "threshold": Case("mean", CURVE),
    "quantile": Case(0.5, CURVE, base={"threshold": "quantile"}),
    "short": Case("window", CURVE),
    "long": Case("max", CURVE),
    "shared_projection": Case(True, (*CURVE, "parameters")),
    "scope": Case("causal", CURVE),
    # these decide what the run reads and how it starts
    "warm_start": Case(True, ("loss",)),
    "texts": Case("shuffled", ("file",)),
    "encoder": Case({"kind": "random"}, ("file",)),
    **ITEMS,
}
RANDOM_DROP = {**NONE, "match": Case("other", ("matched",)), "rate": Case(0.6, CURVE), "remove": Case("pack", CURVE)}
METHODS = {"iadsr": IADSR, "random_drop": RANDOM_DROP, "none": NONE}


@functools.cache
def sequences_with_texts() -> Sequences:
    """Some interactions share a text, as those of histories that begin alike do."""
    sequences = small_sequences()
    return replace(sequences, texts=np.arange(len(sequences.items)) % 50 + 1)


def with_method(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Train a method whose text table is not one of items, unless item vectors are made from it."""
    if options.get("items", "id") != "id":
        return fit(small_cell("gru4rec", kind, "last", options, epochs=2), small_sequences(), inputs_of())
    sequences = sequences_with_texts()
    rows = torch.randn(len(sequences.items) + 1, 6, generator=torch.Generator().manual_seed(1))
    told = replace(inputs_of(), text=rows)
    return fit(small_cell("gru4rec", kind, "last", options, epochs=2), sequences, told)


def resolved(folder: Path, kind: str, options: dict[str, Any]) -> Cell:
    """The cell of a run whose method has these options in its file."""
    if not folder.is_dir():
        shutil.copytree(FOLDER, folder)
    for name in ("mine", "other"):
        (folder / f"methods/{name}.yaml").write_text(json.dumps({"kind": "iadsr"}))
    (folder / "methods/mine.yaml").write_text(json.dumps({"kind": kind, **options}))
    values = {
        "name": "t", "description": "d", "datasets": ["planted"], "protocols": ["paper"], "backbones": ["gru4rec"],
        "encoder": {"kind": "tfidf"}, "methods": ["mine", "iadsr", "other"], "seeds": [0],
    }  # fmt: skip
    return parse(RunConfig, values, "test").cells(folder)[0]


def method_results(run: Callable[[Cell], dict[str, Any]], folder: Path, kind: str, options: dict[str, Any]) -> Any:
    cell = resolved(folder, kind, options)
    if options.get("warm_start") is not None:  # without text: nothing has encoded any here
        plain = small_cell("gru4rec", kind, "last", {"semantic": False})
        return run(plain.model_copy(update={"warm_start": cell.warm_start}))
    return {"file": cell.embeddings, "matched": cell.matched}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, cases in METHODS.items() for name in cases])
def test_every_option_of_a_method_reaches_the_run(
    run: Callable[[Cell], dict[str, Any]], tmp_path: Path, kind: str, name: str
) -> None:
    case = METHODS[kind][name]
    options = [case.base, {**case.base, name: case.value}]
    if {"curve", "parameters"} & set(case.differs):
        check(case, *(with_method(kind, chosen) for chosen in options))
    else:
        default = known_methods()[kind].model_fields[name].default
        options[0] = {**options[0], **({} if default is None else {name: default})}
        check(case, *(method_results(run, tmp_path / "config", kind, chosen) for chosen in options))
