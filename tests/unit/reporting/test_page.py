import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from iadsr.config.encoders import embeddings_name
from iadsr.core.errors import ConfigError, DataError
from iadsr.reporting.load import load
from iadsr.reporting.page import build_report
from iadsr.reporting.words import NOTHING, fixed, label
from tests.unit.reporting.reading import read, rows_of, section_of
from tests.unit.reporting.synthetic import (
    ADDRESS,
    DIVERGED,
    METRICS,
    MISSING,
    SETTINGS,
    TEMPLATES,
    experiment,
    grid,
    make_tree,
)


@pytest.fixture(scope="module")
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_html_is_well_formed_and_ids_are_unique(text: str) -> None:
    reader = read(text)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))


def test_every_inner_reference_has_its_target(text: str) -> None:
    reader = read(text)
    targets = {link[1:] for _, _, link in reader.links if link.startswith("#")}
    assert targets <= set(reader.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(reader.ids)


def test_nothing_is_loaded_from_elsewhere(text: str) -> None:
    reader = read(text)
    outside = [(tag, link) for tag, _, link in reader.links if re.match(r"[a-z]+:|//", link)]
    assert set(outside) == {("a", "https://arxiv.org/abs/2510.04239")}
    assert not {"script", "img", "link", "iframe", "object", "embed"} & {tag for tag, _ in reader.tags}
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_downloads_and_records_exist(text: str, page: Path) -> None:
    local = [link for tag, _, link in read(text).links if tag == "a" and not link.startswith(("#", "https:"))]
    assert sum(link.endswith("record.json") for link in local) == 53
    assert sum(link.endswith(".tex") for link in local) > 10
    assert all((page.parent / link).is_file() for link in local)


def test_every_expected_cell_is_shown(text: str, cells: Any) -> None:
    shown = {tuple(row[:5]): row[5] for row in rows_of(text, "runs")}
    assert len(shown) == len(cells)
    for cell in cells:
        status = shown[(*(label(part) for part in cell[:4]), str(cell[4]))]
        expected = "diverged: loss is NaN" if cell in DIVERGED else "missing: no run" if cell in MISSING else "done"
        assert status.startswith(expected)


def test_failed_cells_stay_in_the_result_tables(text: str) -> None:
    paper = {tuple(row[:2]): row[2:] for row in rows_of(text, "overall-movielens-100k-paper-kept")}
    assert len(paper) == 9
    assert paper["Caser", "IADSR"] == ["seeds 1, 2 and 3 diverged: loss is NaN at epoch 3", "0/3"]
    strong = {tuple(row[:2]): row[2:] for row in rows_of(text, "overall-movielens-100k-strong-excluded")}
    assert strong["SASRec", "IADSR, random mask"][-1] == "2/3; seed 3 missing: no run record in the results tree"


def test_numbers_are_those_of_the_metrics(text: str, tree: Path) -> None:
    metrics = pd.read_parquet(tree / "evaluation" / "metrics.parquet").query("group == 'all'").dropna()
    for protocol in ("paper", "strong"):
        for ranking in ("excluded", "kept"):
            name = f"overall-movielens-100k-{protocol}-{ranking}"
            shown = {tuple(row[:2]): row[2:] for row in rows_of(text, name)}
            stored = pd.read_csv(tree / "report" / "tables" / f"{name}.csv").set_index(["backbone", "method"])
            part = metrics[(metrics["protocol"] == protocol) & (metrics["ranking"] == ranking)]
            for (backbone, method), group in part.groupby(["backbone", "method"]):
                values = group.groupby("metric")["value"]
                for place, metric in enumerate(METRICS):
                    mean, deviation = values.mean()[metric], values.std()[metric]
                    assert shown[label(backbone), label(method)][place].startswith(fixed(mean))
                    assert shown[label(backbone), label(method)][place].endswith(fixed(deviation))
                    assert stored.loc[(backbone, method), f"{metric} mean"] == pytest.approx(mean, rel=1e-12)
                    assert stored.loc[(backbone, method), f"{metric} sd"] == pytest.approx(deviation, rel=1e-9)


def test_gains_use_the_seeds_that_both_have(tree: Path, page: Path) -> None:
    metrics = pd.read_parquet(tree / "evaluation" / "metrics.parquet")
    query = "group == 'all' and protocol == 'strong' and ranking == 'excluded' and metric == 'HR@5'"
    values = metrics.query(query).query("backbone == 'sasrec'").set_index(["method", "seed"])["value"]
    expected = (values["random_mask"][1] + values["random_mask"][2]) / (values["none"][1] + values["none"][2]) - 1
    stored = pd.read_csv(page.parent / "tables" / "overall-movielens-100k-strong-excluded.csv")
    row = stored.query("backbone == 'sasrec' and method == 'random_mask'").iloc[0]
    assert row["HR@5 gain over none"] == pytest.approx(expected, rel=1e-12)
    assert row["seeds_done"] == 2


def test_the_own_ranking_rule_comes_first(text: str) -> None:
    places = [
        text.index(f't-overall-movielens-100k-{name}"')
        for name in ("paper-kept", "paper-excluded", "strong-excluded", "strong-kept")
    ]
    assert places == sorted(places)


def test_the_best_of_each_backbone_is_bold(text: str) -> None:
    table = text[text.index('t-overall-movielens-100k-strong-excluded"') :]
    assert table[: table.index("</table>")].count("<b>") == 3 * len(METRICS)


def test_captions_name_what_made_the_numbers(text: str) -> None:
    caption = text[text.index('t-overall-movielens-100k-paper-kept"><span>') :].split("</span>")[0]
    for part in (
        "movielens-100k",
        "“paper”",
        "objective last",
        "minilm (all-MiniLM-L6-v2, revision r1)",
        "seeds 1, 2 and 3",
        "history kept",
    ):
        assert part in caption


def test_an_encoder_is_shown_with_its_options_and_its_revision(tmp_path: Path) -> None:
    """Runs of two revisions of one encoder are told apart; joined names add no second row."""
    cells = grid()
    make_tree(tmp_path, cells, epochs=4)
    encoder = {"kind": "tfidf", "dimension": 64, "seed": 3}
    name = embeddings_name(encoder)
    runs = pd.read_parquet(tmp_path / "evaluation/runs.parquet")
    runs.loc[runs["method"] == "iadsr", "encoder"] = name
    runs.to_parquet(tmp_path / "evaluation/runs.parquet")
    paths = sorted((tmp_path / "runs").rglob("iadsr/seed*/record.json"))
    for number, path in enumerate(paths):
        record = json.loads(path.read_text())
        record["cell"]["encoder"] = encoder
        revision = "r2" if number == 0 else "r1"
        record["encoder_identity"] |= {"encoder": "tfidf", "revision": revision, "text_digest": f"{number % 2:064}"}
        path.write_text(json.dumps(record))
    build_report(tmp_path, cells, SETTINGS, TEMPLATES, tmp_path / "report/index.html")
    text = (tmp_path / "report/index.html").read_text()
    for revision in ("r1", "r2"):
        assert f"{name} (all-MiniLM-L6-v2, revision {revision}, dimension 64, seed 3)" in text
    table = pd.read_csv(next((tmp_path / "report").rglob("encoders.csv")), dtype=str)
    own = table[table["encoder"] == name].set_index("revision")
    assert own["options"].tolist() == ["dimension 64, seed 3"] * 2
    assert own["used"].to_dict() == {"r1": str(len(paths) - 1), "r2": "1"}
    assert len(own.loc["r1", "text_digest"].split(", ")) == 2


def test_tables_have_captions_and_scopes(text: str) -> None:
    tags = read(text).tags
    assert sum(tag == "table" for tag, _ in tags) == sum(tag == "caption" for tag, _ in tags)
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in tags if tag == "th")


def test_figures_speak(text: str) -> None:
    drawn = [attributes for tag, attributes in read(text).tags if tag == "svg"]
    assert len(drawn) > 20
    assert all(attributes.get("role") == "img" and len(attributes.get("aria-label") or "") > 20 for attributes in drawn)
    assert "diverged" in " ".join(str(attributes["aria-label"]) for attributes in drawn)


def test_warnings_name_failed_runs(text: str) -> None:
    assert "3 runs of the 54 expected diverged" in text
    assert "1 run of the 54 expected is missing" in text


def test_text_is_escaped(text: str) -> None:
    assert "&lt;b&gt;&amp; raw&lt;/b&gt;" in text
    assert "<b>& raw" not in text


def test_two_builds_have_the_same_bytes(tmp_path: Path) -> None:
    cells = grid(protocols=["paper"], backbones=["gru4rec"], seeds=[1, 2])
    make_tree(tmp_path, cells, epochs=3)
    built = []
    for name in ("one", "two"):
        build_report(tmp_path, cells, SETTINGS, TEMPLATES, tmp_path / name / "index.html")
        folder = tmp_path / name
        built.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")})
    assert len(built[0]) > 20
    assert built[0] == built[1]


def test_stale_tables_go(tmp_path: Path) -> None:
    cells = grid(protocols=["paper"], backbones=["sasrec"], seeds=[1])
    make_tree(tmp_path, cells, epochs=2)
    stale = tmp_path / "report" / "tables" / "old.csv"
    stale.parent.mkdir(parents=True)
    stale.write_text("x")
    build_report(tmp_path, cells, SETTINGS, TEMPLATES, tmp_path / "report" / "index.html")
    assert not stale.exists()


def test_latex_is_escaped_and_complete(page: Path) -> None:
    for path in (page.parent / "tables").glob("*.tex"):
        source = path.read_text(encoding="utf-8")
        assert source.count(r"\begin{tabular}") == source.count(r"\end{tabular}") == 1
        assert not re.search(r"(?<!\\)[%#_]", source.replace("\\%", "").split(r"\label")[0])
    overall = (page.parent / "tables" / "overall-movielens-100k-paper-kept.tex").read_text(encoding="utf-8")
    assert r"\textbf{" in overall
    assert r"$\pm$" in overall


def test_coverage_and_ties_stand_beside_the_results(page: Path, text: str) -> None:
    """The protocol's own ranking rule first."""
    rows = {tuple(row[:2]): row[2:] for row in rows_of(text, "coverage-movielens-100k-paper")}
    assert rows["GRU4Rec", "IADSR"] == [f"{value}\u202f% ±\u202f0.0\u202f%" for value in (50.0, 25.0, 0.4, 0.2)]
    assert rows["Caser", "IADSR"] == ["seeds 1, 2 and 3 diverged: loss is NaN at epoch 3"]
    table = pd.read_csv(page.parent / "tables" / "coverage-movielens-100k-strong.csv").iloc[0]
    assert (table["coverage@10 excluded mean"], table["tied_share kept mean"]) == (0.25, 0.004)
    assert (page.parent / "tables" / "coverage-movielens-100k-strong.tex").is_file()


def test_whatever_a_method_logs_is_shown_and_can_be_had(tmp_path: Path) -> None:
    """A method from elsewhere names its losses and figures as it likes."""
    cells = grid(protocols=["paper"], backbones=["gru4rec"], seeds=[1, 2])
    make_tree(tmp_path, cells)
    path = tmp_path / "evaluation" / "curves.parquet"
    curves = pd.read_parquet(path)
    mine = curves["method"] == "iadsr"
    curves["loss_contrast"] = (curves["epoch"] / 8 + curves["seed"]).where(mine)
    curves["entropy"] = math.inf
    curves.loc[mine & (curves["seed"] == 1), "entropy"] = 0.5
    curves["unused"] = math.nan
    curves.to_parquet(path)
    out = tmp_path / "report" / "index.html"
    build_report(tmp_path, cells, SETTINGS, TEMPLATES, out)
    text = out.read_text(encoding="utf-8")
    header = re.findall("<th[^>]*>([^<]*)</th>", text[text.index('id="t-logged"') :].split("</thead>")[0])
    assert header[-2:] == ["loss contrast", "entropy"] and "unused" not in header
    rows = {row[3]: row[-2:] for row in rows_of(text, "logged")}
    nothing = [NOTHING, NOTHING]
    assert rows == {"none": nothing, "IADSR": ["3.0000", "0.5000"], "IADSR, random mask": nothing}, (
        "epoch 12 is the best"
    )
    assert 'href="tables/curves-all.csv"' in section_of(text, "training")
    given = pd.read_csv(out.parent / "tables" / "curves-all.csv")[list(curves.columns)]
    pd.testing.assert_frame_equal(given, curves, check_dtype=False)


def test_one_protocol_one_seed(build: Callable[..., str]) -> None:
    text = build(grid(protocols=["paper"], backbones=["sasrec"], seeds=[4]))
    read(text)
    assert "no spread is known" in text
    assert "multiplies NDCG@10" not in text


def test_several_datasets_and_an_unknown_method(build: Callable[..., str]) -> None:
    cells = grid(
        datasets=["beauty", "toys"], backbones=["gru4rec"], methods=["none", "iadsr", "iadsr-theta=-0.5"], seeds=[1, 2]
    )
    text = build(cells)
    read(text)
    assert "A mirror&#39;s &lt;copy&gt;." in text
    assert "Amazon Beauty" in text
    assert "Titles &amp; all." in text
    assert text.count("IADSR, theta \u22120.5") > 8
    assert "On beauty the protocol alone" in text
    assert "On toys the protocol alone" in text


def test_failed_runs_are_shown_with_their_cause(tmp_path: Path) -> None:
    """The hole that a method with a bug leaves."""
    cells = grid(protocols=["paper"], backbones=["caser"], seeds=[1])
    make_tree(tmp_path, cells, [cell for cell in cells if cell[3] == "iadsr"], epochs=4)
    reason = "KeyError: mask (mine.py, line 7, training_step)"
    for name in ("evaluation/runs", "statistics/comparisons"):
        path = tmp_path / f"{name}.parquet"
        table = pd.read_parquet(path)
        table["status"] = table["status"].str.replace("diverged (NaN)", f"failed ({reason})", regex=False)
        table["status"] = table["status"].str.replace("diverged", "failed", regex=False)
        if "reason" in table:
            table["reason"] = table["reason"].where(table["reason"].isna(), reason)
        table.to_parquet(path)
    for path in tmp_path.glob("runs/**/record.json"):
        path.write_text(path.read_text().replace('"diverged"', '"failed"'))
    out = tmp_path / "report" / "index.html"
    build_report(tmp_path, cells, SETTINGS, TEMPLATES, out)
    text = out.read_text()
    shown = {tuple(row[:2]): row[2:] for row in rows_of(text, "overall-movielens-100k-paper-kept")}
    assert shown["Caser", "IADSR"] == [f"seed 1 failed: {reason}", "0/1"]
    assert f"1 run of the {len(cells)} expected failed" in text
    assert "that failed" in text
    assert f"failed ({reason})" in text
    figures = " ".join(str(attributes["aria-label"]) for tag, attributes in read(text).tags if tag == "svg")
    assert "failed" in figures and "diverged" not in figures


@pytest.mark.parametrize("fate", ["diverged", "missing"])
def test_nothing_worked(build: Callable[..., str], fate: str) -> None:
    cells = grid(backbones=["caser"], seeds=[1])
    text = build(cells, **{fate: "all"})
    read(text)
    assert "There is no answer: none of the 4 comparisons" in text
    assert f"{len(cells)} runs of the {len(cells)} expected" in text
    assert len(rows_of(text, "runs")) == len(cells)


def test_without_protocol_descriptions(build: Callable[..., str]) -> None:
    text = build(grid(protocols=["paper"], backbones=["caser"], seeds=[1]), settings={"name": "bare"})
    read(text)
    assert "objective last" in text


def test_unnamed_runs_are_left_out_and_counted(tmp_path: Path) -> None:
    cells = grid(backbones=["caser"], protocols=["paper"])
    make_tree(tmp_path, cells, epochs=2)
    asked = [cell for cell in cells if cell[4] == 1]
    build_report(tmp_path, asked, SETTINGS, TEMPLATES, tmp_path / "report" / "index.html")
    text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "6 further runs in the results tree, not named by these settings, left out" in text
    runs = pd.read_csv(tmp_path / "report" / "tables" / "runs.csv")
    assert sorted(map(tuple, runs[ADDRESS].to_numpy())) == sorted(asked)


def test_no_cells_is_a_config_error(tree: Path) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        build_report(tree, [], SETTINGS, TEMPLATES, tree / "x.html")


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    cells = grid(backbones=["caser"], seeds=[1])
    make_tree(tmp_path, cells, epochs=2)
    (tmp_path / "statistics" / "comparisons.parquet").unlink()
    with pytest.raises(DataError, match=r"comparisons.parquet is missing; make it anew: snakemake"):
        build_report(tmp_path, cells, SETTINGS, TEMPLATES, tmp_path / "x.html")


def test_wrong_templates_are_named(tree: Path, cells: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"captions\.toml"):
        build_report(tree, cells, SETTINGS, tmp_path, tmp_path / "x.html")


def test_settings_by_cell_are_summarised(build: Callable[..., str]) -> None:
    cells = {
        "movielens-100k/gru4rec": {"ranking": "excluded", "lr": 1, "layers": 2},
        "movielens-100k/caser": {"ranking": "excluded", "lr": 2},
    }
    settings = {"name": "x", "protocols": {"paper": {"description": "As released.", "cells": cells}}}
    text = build(
        grid(protocols=["paper"], backbones=["gru4rec", "caser"], methods=["none", "iadsr"], seeds=[1]),
        settings=settings,
    )
    shown = dict(rows_of(text, "protocols"))
    assert shown["description"] == "As released."
    assert shown["ranking"] == "excluded"
    assert shown["lr"] == "1 (movielens-100k/gru4rec); 2 (movielens-100k/caser)"
    assert shown["layers"] == "2 (movielens-100k/gru4rec)"
    assert text.index("t-overall-movielens-100k-paper-excluded") < text.index("t-overall-movielens-100k-paper-kept")


def test_fixture_has_numbers(tree: Path) -> None:
    metrics = pd.read_parquet(tree / "evaluation" / "metrics.parquet")
    assert len(metrics) == 53 * 2 * (12 * 7 + 2), "seven metrics in twelve groups, coverage and ties of all users"
    assert metrics["value"].isna().sum() == 3 * 2 * (12 * 7 + 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": {"users": 1, "items": 2}}, "it lacks interactions"),
        ({"counts": [1, 2, 3]}, "counts is"),
        ({"length": {"mean": 1.0, "min": "short", "max": 2}}, "min is 'short'"),
        ({"tied_share": None}, "tied_share is None"),
    ],
)
def test_a_summary_of_other_things_is_named(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    cells = grid(protocols=["paper"], backbones=["gru4rec"], seeds=[1])
    make_tree(tmp_path, cells, epochs=1)
    path = tmp_path / "data" / "movielens-100k" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DataError, match=rf"summary\.json is damaged \({message}.*make it anew: snakemake"):
        build_report(tmp_path, cells, SETTINGS, TEMPLATES, tmp_path / "index.html")


@pytest.mark.parametrize("changes", [{"commit": ["x"]}, {"inputs": None}, {"versions": "3.11"}, {"cell": []}])
def test_a_record_of_other_things_is_named(changes: dict[str, object], tmp_path: Path) -> None:
    cells = grid(protocols=["paper"], backbones=["gru4rec"], seeds=[1])
    make_tree(tmp_path, cells, epochs=1)
    path = next((tmp_path / "runs").rglob("record.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DataError, match=r"record\.json is damaged \(.*make it anew: snakemake"):
        build_report(tmp_path, cells, SETTINGS, TEMPLATES, tmp_path / "index.html")


def test_untrained_runs_are_named_and_in_no_mean(tmp_path: Path) -> None:
    """They have curves and mask figures; all seeds of one cell learned nothing, and one of three of another."""
    cells = grid(protocols=["paper"], backbones=["gru4rec", "caser"])
    more = {
        "more": experiment("table", [cell for cell in cells if cell[2] == "caser" and cell[3] in ("none", "iadsr")])
    }
    make_tree(tmp_path, cells, experiments=more)
    lost = {cell for cell in cells if cell[2:4] == ("caser", "iadsr")} | {
        ("movielens-100k", "paper", "gru4rec", "iadsr", 2)
    }
    reason = "at the kept epoch 3 the recommendation loss is 7.410: no more than 2% below that of guessing, 7.428"
    for name, changes in {
        "runs": {"status": "untrained", "reason": reason, "train_keep_rate": 0.1, "denoised_hr5": 0.9},
        "metrics": {"value": math.nan, "users": 0},
        "keep": {"keep": 0.1},
        "curves": {"loss_alignment": 999.0},
    }.items():
        path = tmp_path / f"evaluation/{name}.parquet"
        table = pd.read_parquet(path)
        table.loc[[key in lost for key in zip(*(table[column] for column in ADDRESS), strict=True)], list(changes)] = [
            *changes.values()
        ]
        table.to_parquet(path)
    path = tmp_path / "statistics/comparisons.parquet"
    table = pd.read_parquet(path)
    of_iadsr = table["method"] == "iadsr"
    table.loc[of_iadsr & (table["backbone"] == "caser"), "status"] = f"iadsr seed 1: untrained ({reason})"
    table.to_parquet(path)
    out = tmp_path / "report" / "index.html"
    build_report(tmp_path, cells, SETTINGS, TEMPLATES, out, more)
    text = out.read_text()

    warning = (
        f"Untrained, so in no mean and no test: 4 runs of the {len(cells)} expected. movielens-100k, “paper”: IADSR on "
        "GRU4Rec (seed 2) and IADSR on Caser (seeds 1, 2 and 3). The tables say why."
    )
    assert text.count(warning) == 1, "an experiment's share of them is not named again"
    assert f"{len(cells) - 4} done of {len(cells)} expected, 4 untrained" in text
    assert "3 of 6 runs done; 3 untrained" in text
    assert "and 2 untrained" in text, "the answer counts them"
    shown = {tuple(row[:2]): row[2:] for row in rows_of(text, "overall-movielens-100k-paper-kept")}
    assert shown["Caser", "IADSR"] == [f"seeds 1, 2 and 3 untrained: {reason}", "0/3"]
    assert shown["GRU4Rec", "IADSR"][-1] == f"2/3; seed 2 untrained: {reason}"
    masks = {tuple(row[2:4]): row[4:] for row in rows_of(text, "masks")}
    assert masks["Caser", "IADSR"] == [f"seeds 1, 2 and 3 untrained: {reason}"]
    assert masks["GRU4Rec", "IADSR"][0].startswith("0.7")
    logged = pd.read_csv(out.parent / "tables/logged.csv").set_index(["backbone", "method"])["loss_alignment"]
    assert logged["gru4rec", "iadsr"] < 5 and math.isnan(logged["caser", "iadsr"])
    inflated = {tuple(row[1:3]): row[3:] for row in rows_of(text, "denoised-target-movielens-100k")}
    assert inflated["Caser", "IADSR"] == [f"seeds 1, 2 and 3 untrained: {reason}"]
    runs = {tuple(row[2:5]): row[5:] for row in rows_of(text, "runs")}
    assert runs["GRU4Rec", "IADSR", "2"][0] == f"untrained: {reason}"
    assert runs["GRU4Rec", "IADSR", "2"][4].startswith("0.0"), "its best validation is visible"
    figures = [str(attributes["aria-label"]) for tag, attributes in read(text).tags if tag == "svg"]
    assert any("untrained" in figure for figure in figures)
    curves = {
        backbone: [
            figure for figure in figures if f"{backbone}, paper. " in figure and re.search("IADSR.* alignment", figure)
        ]
        for backbone in ("GRU4Rec", "Caser")
    }
    assert len(curves["GRU4Rec"]) == 2 and len(curves["Caser"]) == 3, "the experiment has Caser alone"
    assert not any(re.search(r"\b(33\d|999)\.", figure) for figure in curves["GRU4Rec"]), "the mean leaves the seed out"
    assert all("999.0" in figure for figure in curves["Caser"]), "where no seed learned, the curves are shown"
    assert load(tmp_path, cells).keep["keep"].min() > 0.5
