"""`columns.csv` says what every column of the downloads means, and speaks of no other."""

import csv
import fnmatch
import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import torch

from iadsr.config.options import known_methods
from iadsr.conformance.suite import Case
from iadsr.reporting.dictionary import EVERY, describe_columns, find_entry
from iadsr.reporting.results import Results
from tests.helpers import accepted
from tests.unit.reporting.reading import section_of
from tests.unit.reporting.synthetic import TEMPLATES

MEANINGS = tomllib.loads((TEMPLATES / "columns.toml").read_text(encoding="utf-8"))
NOTES = {"every table", "a table of the page"}
CURVES = "curves-all"
ANY_FIGURE = (CURVES, "*")


@pytest.fixture(scope="module")
def columns(page: Path) -> dict[str, list[str]]:
    """The columns of each download, as the files have them."""
    folder = page.parent / "tables"
    files = [*sorted(folder.glob("all-*.csv")), folder / f"{CURVES}.csv"]
    return {path.stem: next(csv.reader(path.open(encoding="utf-8"))) for path in files}


@pytest.fixture(scope="module")
def figures() -> set[str]:
    """What the shipped methods log of their own."""
    names: set[str] = set()
    chosen = {(kind, objective): backbone for backbone, kind, objective in accepted(known_methods())}
    for (kind, objective), backbone in chosen.items():
        case = Case(kind, backbone, objective)
        cell = case.cell()
        model = case.model(cell)
        step = case.step(model, cell)
        names |= set(model(step, torch.ones(step.slots.shape), torch.Generator())[1].traced)
    return names


def test_every_column_of_every_download_is_described(columns: dict[str, list[str]]) -> None:
    described = {(table, name): find_entry(MEANINGS, table, name) for table in columns for name in columns[table]}
    assert not [column for column, entry in described.items() if entry in (None, ANY_FIGURE)]


def test_every_figure_that_a_shipped_method_logs_is_described(figures: set[str]) -> None:
    assert {"targets_kept", "cosine_matched", "rows_kept"} <= figures
    assert not [name for name in figures if find_entry(MEANINGS, CURVES, name) == ANY_FIGURE]


def test_nothing_is_described_that_no_table_has(columns: dict[str, list[str]], figures: set[str]) -> None:
    known = {**columns, CURVES: [*columns[CURVES], *figures, "a_figure_from_elsewhere"]}
    used = {find_entry(MEANINGS, table, name) for table in known for name in known[table]}
    assert {(section, name) for section in MEANINGS for name in MEANINGS[section] if section not in NOTES} == used
    assert all(fnmatch.filter(columns, section) for section in MEANINGS if section not in {EVERY, *NOTES})


def test_a_meaning_is_one_sentence_without_a_number_that_code_decides() -> None:
    for section, entries in MEANINGS.items():
        for name, meaning in entries.items():
            assert meaning.endswith("."), (section, name)
            assert not re.search(r"\d\s?%", meaning.replace("0.1 is 10 %", "")), (section, name)
    meanings = [meaning for entries in MEANINGS.values() for meaning in entries.values()]
    assert len(meanings) == len(set(meanings)), "what two tables share is described once"


def test_the_page_offers_the_meanings_beside_its_tables(page: Path, columns: dict[str, list[str]]) -> None:
    table = pd.read_csv(page.parent / "tables" / "columns.csv", keep_default_na=False)
    listed = table[~table["table"].isin(NOTES)]
    assert {name: own["column"].tolist() for name, own in listed.groupby("table")} == columns
    assert (table["meaning"] != "").all() and not table["meaning"].str.contains("[{}]").any()
    row = listed[(listed["table"] == "all-comparisons") & (listed["column"] == "ci_low")].iloc[0]
    assert row["meaning"] == "Lower end of the 95\u202f% interval of difference."
    assert 'href="tables/columns.csv"' in section_of(page.read_text(encoding="utf-8"), "provenance")


def test_a_tables_own_entries_go_before_those_of_every_table(results: Results) -> None:
    meanings = {
        "note": {"any": "In all."},
        EVERY: {"mean": "Of all.", "sd": "At {level}."},
        "a": {"x_*": "Others.", "x_1": "First.", "mean": "Of a.", "*": "Unknown."},
    }
    tables = {"a": pd.DataFrame(columns=["mean", "sd", "x_1", "x_2", "z"]), "b": pd.DataFrame(columns=["mean", "y"])}
    found = describe_columns(meanings, tables, results.numbers)
    assert found.to_numpy().tolist() == [
        ["note", "any", "In all."],
        ["a", "mean", "Of a."],
        ["a", "sd", "At 95\u202f%."],
        ["a", "x_1", "First."],
        ["a", "x_2", "Others."],
        ["a", "z", "Unknown."],
        ["b", "mean", "Of all."],
        ["b", "y", ""],
    ]
