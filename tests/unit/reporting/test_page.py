import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from iadsr.core.errors import DataError
from iadsr.formats.statistics import STATISTICS
from iadsr.reporting.format import percent, percent_interval, share
from iadsr.reporting.page import build_report
from iadsr.reporting.results import Results, load
from iadsr.statistics.compare import SIGNIFICANCE
from iadsr.statistics.grids import Grid
from iadsr.statistics.views import TOLERANCE
from tests.unit.reporting.reading import read, section_of
from tests.unit.reporting.synthetic import CLAIMS, SETTINGS, TEMPLATES, experiment_of, grid_of, make_tree


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
    assert not {"img", "link", "iframe", "object", "embed"} & {tag for tag, _ in reader.tags}
    assert [attributes for tag, attributes in reader.tags if tag == "script"] == [{}], "one script, in the page itself"
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_downloads_and_records_exist(text: str, page: Path) -> None:
    local = [link for tag, _, link in read(text).links if tag == "a" and not link.startswith(("#", "https:"))]
    runs = pd.read_csv(page.parent / "tables" / "all-cells.csv").query("status != 'missing'")
    addresses = runs.drop_duplicates(["dataset", "protocol", "backbone", "method", "seed"])
    assert sum(link.endswith("record.json") for link in local) == len(addresses)
    assert {f"tables/all-{name}.csv" for name in STATISTICS} <= set(local)
    assert all((page.parent / link).is_file() for link in local)


def test_contents_list_each_experiment(text: str, experiments: list[dict[str, Any]]) -> None:
    contents = text[text.index("<nav") : text.index("</nav>")]
    assert all(f'href="#experiment-{one["name"]}"' in contents for one in experiments)
    assert "A sweep &lt;of&gt; things" in contents


def test_an_experiment_says_the_gains_of_the_paper_s_method_or_of_its_only_pair_else_counts_outcomes(
    text: str, results: Results
) -> None:
    said = " ".join(re.sub(r"<[^>]+>", " ", section_of(text, "experiments")).split())
    for row in results.select(
        "comparisons", experiment="defects", headline=True, whole=True, metric="HR@5"
    ).itertuples():
        gain = " ".join(f"{percent(row.gain)} {percent_interval(row.gain_low, row.gain_high)}".split())
        place = f"{row.dataset}, “{row.protocol}”, IADSR with R4, GRU4Rec"
        assert f"{place}, against IADSR (2 seeds): HR@5 {gain} (" in said
    assert "beauty, “paper” against none, HR@5: too few data to tell: 4; NDCG@10:" in said


def test_a_page_without_experiments_has_no_such_section(tmp_path: Path) -> None:
    make_tree(tmp_path, [grid_of(protocols=["paper"], backbones=["gru4rec"])])
    build_report(tmp_path, SETTINGS, TEMPLATES, tmp_path / "report/index.html")
    assert section_of((tmp_path / "report/index.html").read_text(), "experiments") == ""


def test_tables_have_captions_and_scopes(text: str) -> None:
    tags = read(text).tags
    assert sum(tag == "table" for tag, _ in tags) == sum(tag == "caption" for tag, _ in tags)
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in tags if tag == "th")


def test_a_reader_meets_few_tables_before_opening_any(text: str) -> None:
    at_once = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    assert 3 <= at_once.count("<table>") <= 9 < text.count("<table>")


def test_methods_that_are_not_run_say_why(text: str) -> None:
    table = text[text.index("that are not run here") :]
    for part in ("LLM4DSR", "Not run because", "language model of 7 to 8 billion parameters"):
        assert part in table[:4000], part


def test_figures_speak(text: str) -> None:
    drawn = [attributes for tag, attributes in read(text).tags if tag == "svg"]
    assert len(drawn) > 20
    assert all(attributes.get("role") == "img" and len(attributes.get("aria-label") or "") > 20 for attributes in drawn)
    assert "diverged" in " ".join(str(attributes["aria-label"]) for attributes in drawn)


def test_the_answer_and_the_warnings_come_from_the_tables(text: str, page: Path) -> None:
    said = " ".join(re.sub(r"<[^>]+>", " ", section_of(text, "answer")).split())
    tests = pd.read_csv(page.parent / "tables" / "all-comparisons.csv")
    row = tests.query(
        "experiment == 'main' and kind == 'backbones' and protocol == 'strong' and headline and metric == 'HR@5' "
        "and method == 'iadsr' and baseline_method == 'none'"
    ).iloc[0]
    sign = "+" if row["gain"] > 0 else "\u2212"
    assert f"IADSR against none: HR@5 {sign}{abs(row['gain']):.1%}"[:-1] in said
    assert "beauty, “strong” (history excluded; mean over backbones)" in said
    users = f"{abs(row['users'] * row['difference']):.1f} {'fewer' if row['difference'] < 0 else 'more'} of 40 users"
    assert f"beauty, “strong”: with IADSR, {users} find their next item among the first five, on average over" in said
    assert "Runs diverged: 2 of the 52 expected" in said
    assert "Runs missing: 1 of the 52 expected" in said
    assert "A mirror&#39;s &lt;copy&gt;." in section_of(text, "answer")
    assert "75.2\u202f%" in section_of(text, "answer")


def test_the_first_screen_lists_the_verdicts(text: str, page: Path) -> None:
    """Each claim once, before anything else but the title; the table below has the numbers."""
    head = re.sub(r"<[^>]+>", " ", text[text.index("</h1>") : text.index('<dl class="facts">')])
    verdicts = pd.read_csv(page.parent / "tables" / "all-verdicts.csv", keep_default_na=False)
    for claim in SETTINGS["claims"]:
        assert head.count(claim["title"]) == 1, claim["title"]
    assert all(verdict in head for verdict in verdicts.query("protocol == ''")["verdict"])


def test_the_page_says_how_often_its_tests_are_wrong(text: str) -> None:
    simulated = pd.read_csv(TEMPLATES / "reliability.csv")
    said = section_of(text, "tests")
    low, high = (share(one) for one in (simulated["false_family"].min(), simulated["false_family"].max()))
    assert f"of grids in which nothing differs {low} to {high} have a false finding" in said
    assert f"Intervals hold the truth in {share(simulated['coverage'].min())} to" in said


@pytest.mark.parametrize("name", ["claims", "answer", "masks", "pulls", "logged", "accuracy-beauty"])
def test_captions_of_results_name_the_encoder(text: str, name: str) -> None:
    caption = text[text.index(f'<caption id="t-{name}">') :].split("</caption>")[0]
    assert "ncoder minilm (all-MiniLM-L6-v2, max_length 8)" in caption


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rivals", "over competing denoisers, here T-CE under “paper”. The other verdicts do not concern it."),
        (
            "theta",
            "over competing denoisers, none of which IADSR is compared with here, so that no verdict is about it.",
        ),
    ],
)
def test_rivals_are_those_with_which_a_verdict_compares_the_paper_s_method(
    tmp_path: Path, name: str, said: str
) -> None:
    """Of any experiment that the claim names, and of no other; its section gives the gain over each."""
    compare = [("*", "none"), ("iadsr", "adt")]
    rivals = grid_of(name, protocols=["paper"], methods=["none", "iadsr", "adt"], compare=compare)
    make_tree(tmp_path, [grid_of(), rivals])
    adt = {"adt": {"title": "T-CE", "role": "rival"}}
    settings = {**SETTINGS, "method_files": SETTINGS["method_files"] | adt}
    build_report(tmp_path, settings, TEMPLATES, tmp_path / "report/index.html", [experiment_of(rivals)])
    text = (tmp_path / "report/index.html").read_text()
    assert said in " ".join(section_of(text, "answer").split())
    assert "method_files" not in text
    results = load(tmp_path, settings, [experiment_of(rivals)])
    section = " ".join(re.sub(r"<[^>]+>", " ", section_of(text, "experiments")).split())
    for row in results.select(
        "comparisons", experiment=name, headline=True, whole=True, metric="HR@5", method="iadsr"
    ).itertuples():
        gain = " ".join(f"{percent(row.gain)} {percent_interval(row.gain_low, row.gain_high)}".split())
        assert f"against {results.label(row.baseline_method)} (2 seeds): HR@5 {gain}" in section


def test_rules_of_wording_name_the_numbers_that_decide(text: str) -> None:
    low, high = CLAIMS.paper.gain
    rules = re.sub(r"<[^>]+>", "", section_of(text, "definitions")).replace("\n", " ")
    assert f"p is below {SIGNIFICANCE}." in rules
    assert f"average gains of {share(low)} to {share(high)} in HR@5 and NDCG@5" in rules
    assert f"by more than {share(TOLERANCE, 0)} with the larger budget" in section_of(text, "experiments")


def test_the_answer_is_drawn_averaged_over_backbones(text: str) -> None:
    drawn = section_of(text, "evidence").split("<details")[0]
    assert "all backbones, vs none" in drawn and "GRU4Rec, vs none" not in drawn


def test_text_is_escaped(text: str) -> None:
    assert "&lt;b&gt;&amp; raw&lt;/b&gt;" in text
    assert "<b>& raw" not in text


def test_two_builds_have_the_same_bytes(tmp_path: Path) -> None:
    make_tree(tmp_path, [grid_of(protocols=["paper"], backbones=["gru4rec"])])
    built = []
    for name in ("one", "two"):
        build_report(tmp_path, SETTINGS, TEMPLATES, tmp_path / name / "index.html")
        folder = tmp_path / name
        built.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")})
    assert len(built[0]) > 20
    assert built[0] == built[1]


def test_the_table_of_claims_is_made_for_a_file(page: Path) -> None:
    table = (page.parent / "tables" / "claims.md").read_text()
    claims, _, not_run = table.partition("\n\nNot run: ")
    assert claims.startswith("**") and claims.count("\n| ") - 2 + not_run.count(";") + 1 == 14


def test_stale_tables_go(tmp_path: Path) -> None:
    make_tree(tmp_path, [grid_of(protocols=["paper"], backbones=["gru4rec"], seeds=[1])])
    stale = tmp_path / "report" / "tables" / "old.csv"
    stale.parent.mkdir(parents=True)
    stale.write_text("x")
    build_report(tmp_path, SETTINGS, TEMPLATES, tmp_path / "report" / "index.html")
    assert not stale.exists()


@pytest.mark.parametrize("status", ["diverged", "failed", "untrained"])
def test_nothing_worked(tmp_path: Path, status: str) -> None:
    """Every run is lost: the page still stands, and says so."""
    grids = [grid_of(seeds=[1]), grid_of("ladder", "ladder", backbones=["gru4rec"], seeds=[1])]
    make_tree(tmp_path, grids, {cell: status for grid in grids for cell in grid.cells})
    experiment = {"name": "ladder", "view": "ladder", "baseline": "none", "title": "t", "question": "q", "points": {}}
    build_report(tmp_path, SETTINGS, TEMPLATES, tmp_path / "report/index.html", [experiment | {"option": ""}])
    text = (tmp_path / "report/index.html").read_text()
    assert read(text).open == []
    assert "0 done of 12 expected" in text
    assert f"seed 1 {status}: loss is NaN at epoch 3" in text
    assert f"Planned, but not compared: none ({status}) and IADSR, random mask ({status})." in text
    assert "none of which IADSR is compared with here" in text


def test_no_run_of_any_view_is_done(tmp_path: Path, grids: list[Grid], experiments: list[dict[str, Any]]) -> None:
    short = grid_of("short", "ladder", protocols=["paper"], backbones=["gru4rec"], methods=["none", "iadsr"])
    every = [*grids, short]
    make_tree(tmp_path, every, {cell: "diverged" for grid in every for cell in grid.cells})
    build_report(tmp_path, SETTINGS, TEMPLATES, tmp_path / "report/index.html", [*experiments, experiment_of(short)])
    text = (tmp_path / "report/index.html").read_text()
    assert read(text).open == []
    assert "0 done of 24 expected" in text


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    make_tree(tmp_path, [grid_of(protocols=["paper"], backbones=["gru4rec"], seeds=[1])])
    (tmp_path / "statistics" / "sides.parquet").unlink()
    with pytest.raises(DataError, match=r"sides\.parquet"):
        build_report(tmp_path, SETTINGS, TEMPLATES, tmp_path / "report/index.html")


def test_wrong_templates_are_named(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"captions\.toml is missing"):
        build_report(tree, SETTINGS, tmp_path, tmp_path / "index.html")


@pytest.mark.parametrize("changes", [{"counts": 3}, {"tied_share": "many"}, {"counts": {"users": "x"}}])
def test_a_summary_of_other_things_is_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    import json

    make_tree(tmp_path, [grid_of(protocols=["paper"], backbones=["gru4rec"], seeds=[1])])
    path = tmp_path / "data/beauty/summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DataError, match=r"summary\.json"):
        build_report(tmp_path, SETTINGS, TEMPLATES, tmp_path / "report/index.html")


def test_torch_is_never_loaded() -> None:
    import subprocess
    import sys

    code = "import sys, iadsr.reporting.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
