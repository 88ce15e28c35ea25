"""Tables are queries: their frames hold what statistics decided, row by row, and no run vanishes from them."""

import re
import tomllib
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from iadsr.config.claims import Verdict
from iadsr.core.columns import BY_POPULARITY, COLD_LIMIT, MAIN
from iadsr.evaluation.metrics import METRICS
from iadsr.reporting.catalogue import Catalogue
from iadsr.reporting.format import percent, percent_interval, share
from iadsr.reporting.page import make_environment
from iadsr.reporting.results import SIDE, Results
from iadsr.reporting.tables import VERDICT_TONES, Table
from tests.unit.reporting.synthetic import TEMPLATES

SIGNS = {"gain": "\u25b2", "loss": "\u25bc"}
CAPTIONS = tomllib.loads((TEMPLATES / "captions.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def make(results: Results) -> Catalogue:
    return catalogue_of(results)


def catalogue_of(results: Results) -> Catalogue:
    environment = make_environment(TEMPLATES, results.label, results=results, defects=CAPTIONS["defects"])
    return Catalogue(results, CAPTIONS["tables"], environment.get_template("wording.j2").module)


def shown(table: Table) -> list[list[str]]:
    return [[cell.text for cell in cells] for _, cells in table.lines()]


def at(protocol: str = "", experiment: str = MAIN) -> dict[str, str]:
    place = {"experiment": experiment, "dataset": "beauty"}
    return place | {"protocol": protocol} if protocol else place


def test_overall_holds_means_deviations_and_gains(results: Results, make: Catalogue) -> None:
    frame = make.overall(at("strong"), "excluded").frame.set_index(["backbone", "method"])
    values = results.select("metrics", experiment=MAIN, protocol="strong", ranking="excluded", group="all")
    for row in values[values["metric"].isin([*METRICS]) & (values["backbone"] != "")].to_dict("records"):
        side = (row["backbone"], row["method"])
        assert frame.loc[side, f"{row['metric']} mean"] == row["mean"]
        assert frame.loc[side, f"{row['metric']} best"] == row["best"]
        for part in ("sd", "gain"):
            assert frame.loc[side, f"{row['metric']} {part}"] == pytest.approx(row[part], nan_ok=True)
    assert frame.loc[("", "most_popular"), "HR@5 mean"] == 0.0301


def test_the_most_popular_items_lead_and_then_the_baseline(make: Catalogue) -> None:
    frame = make.overall(at("paper"), "kept").frame
    assert frame["method"].tolist() == ["most_popular", *["none", "iadsr", "random_mask"] * 2]


def test_lost_runs_stay_with_their_reasons(make: Catalogue) -> None:
    paper = {tuple(row[:2]): row[2:] for row in shown(make.overall(at("paper"), "kept"))}
    assert paper["Caser", "IADSR"] == ["seeds 1, 2 diverged: loss is NaN at epoch 3", "0/2"]
    table = make.overall(at("strong"), "excluded")
    last = {tuple(cell.text for cell in cells[:2]): cells[-1] for _, cells in table.lines()}
    assert last["Caser", "IADSR, random mask"].text == "1/2"
    assert "seed 2 missing: no run record" in last["Caser", "IADSR, random mask"].sub


def test_every_expected_run_is_listed(results: Results, make: Catalogue) -> None:
    table = make.runs()
    assert len(table.frame) == len(results.select("cells", experiment=MAIN)) == 24
    states = [cells[5].text for _, cells in table.lines()]
    assert states.count("diverged: loss is NaN at epoch 3") == 2
    assert states.count("missing: no run record in the results tree") == 1


def test_the_answer_has_a_column_per_metric_and_baseline(results: Results, make: Catalogue) -> None:
    table = make.answer()
    assert [column.title for column in table.columns[3:]] == [
        f"{metric} vs {base}" for metric in ("HR@5", "NDCG@5") for base in ("none", "IADSR, random mask")
    ]
    frame = table.frame.set_index(["protocol", "backbone"])
    assert frame.index.tolist() == [(p, b) for p in ("paper", "strong") for b in ("gru4rec", "caser", "all")]
    row = results.select(
        "comparisons", kind="backbones", protocol="strong", ranking="excluded", metric="NDCG@5", method="iadsr"
    ).query("baseline_method == 'random_mask'")
    assert frame.loc[("strong", "all"), "NDCG@5 vs random_mask difference"] == row["difference"].item()
    assert frame.loc[("paper", "caser"), "HR@5 vs none outcome"] == "diverged"


def test_tests_are_under_the_protocol_s_own_rule(make: Catalogue) -> None:
    table = make.tests(at("paper"))
    assert set(table.frame["ranking"]) == {"kept"}
    assert set(table.frame["metric"]) == {"HR@5", "NDCG@5", "NDCG@10"}
    assert {tuple(row[:1]) for row in shown(table)} == {
        ("IADSR vs none",),
        ("IADSR, random mask vs none",),
        ("IADSR vs IADSR, random mask",),
    }
    assert "family" in table.frame and "p_holm" in table.frame
    effects = make.protocol_effects(at()).frame
    assert set(effects["ranking"]) == {"kept", "excluded"}
    assert set(zip(effects["protocol"], effects["baseline_protocol"], strict=True)) == {("strong", "paper")}


def test_coverage_groups_and_masks(make: Catalogue) -> None:
    coverage = make.coverage(at("strong")).frame.set_index(["backbone", "method"])
    assert coverage.loc[("gru4rec", "iadsr"), ["coverage@10 excluded mean", "tied_share kept mean"]].tolist() == [
        0.25,
        0.004,
    ]
    groups = make.groups(at("strong"))
    assert [column.title for column in groups.columns[2:]] == ["HR@10 cold", "cold", *(f"D{n}" for n in range(1, 11))]
    assert [column.note for column in groups.columns[2:4]] == ["n=10", "n=10"]
    assert all(f"NDCG@10 {group} mean" in groups.frame for group in BY_POPULARITY)
    masks = make.masks().frame
    assert "none" not in set(masks["method"])
    assert masks.query("method == 'iadsr' and protocol == 'strong'")["train_keep_rate mean"].tolist() == pytest.approx(
        [0.71] * 2
    )


def test_kept_says_whether_cold_items_are_dropped_more_often(make: Catalogue) -> None:
    table = make.kept(at())
    assert table is not None
    rows = {(row[0], row[1], row[2], row[3]): row[4:] for row in shown(table) if len(row) > 5}
    assert rows["strong", "GRU4Rec", "IADSR", "training"] == [
        "60.0\u202f%", "80.0\u202f%", "80.0\u202f%", "\u221220.0", "on average yes; in 2 of 2 seeds", "500",
    ]  # fmt: skip
    assert rows["strong", "GRU4Rec", "IADSR", "test"][3:5] == ["0.0", "on average no; in 0 of 2 seeds"]


def test_what_was_dropped_has_names_and_leaves_controls_out(make: Catalogue) -> None:
    items, histories = make.dropped(at()), make.histories(at())
    assert items is not None and histories is not None
    rows = {(row[0], row[1], row[2]): row[3:] for row in shown(items)}
    assert rows["strong", "GRU4Rec", "IADSR"] == ["Kite", "Yo-yo"]
    assert items.frame["keep least"].tolist() == [0.25] * len(items.frame)
    said = {(row[1], row[2], row[3]): (row[0], *row[4:]) for row in shown(histories)}
    assert said["strong", "GRU4Rec", "IADSR"] == ("u7", "[Kite]; Yo-yo", "Ball")
    methods = {*items.frame["method"], *histories.frame["method"]}
    assert "iadsr" in methods and not any(make.results.role(name) == "control" for name in methods)
    assert any(make.results.role(name) == "control" for name in set(make.results.tables["drops"]["method"])), (
        "one to leave out"
    )


def test_users_are_called_as_in_the_data(results: Results) -> None:
    """Not as methods and ranking rules are: these ids are among those that `label` words for a reader."""
    for user in ("kept", "a-b=c"):
        drops = results.tables["drops"].assign(user=user)
        changed = replace(results, tables={**results.tables, "drops": drops})
        histories = catalogue_of(changed).histories(at())
        assert histories is not None and {row[0] for row in shown(histories)} == {user}


def test_pairs_of_which_nothing_is_known_are_left_out_and_named(results: Results) -> None:
    rows = results.tables["comparisons"]
    numbers = ["gain", "gain_low", "gain_high"]
    gone = rows.assign(**{name: rows[name].where(rows["baseline_method"] != "none") for name in numbers})
    others = set(results.answered()[0]["baseline_method"]) - {"none"}
    left, lost = replace(results, tables={**results.tables, "comparisons": gone}).answered()
    assert lost == ["none"] and set(left["baseline_method"]) == others
    nothing = rows.assign(**dict.fromkeys(numbers, float("nan")))
    left, lost = replace(results, tables={**results.tables, "comparisons": nothing}).answered()
    assert not lost and len(left) == len(results.answered()[0]), "a page without any result shows its holes"


def test_the_accuracy_table_sets_protocols_side_by_side(results: Results, make: Catalogue) -> None:
    table = make.accuracy({"experiment": MAIN, "dataset": "beauty"})
    titles = [(column.title, column.note) for column in table.columns[2:]]
    assert titles == [(m, f"“{p}”") for p in ("paper", "strong") for m in ("HR@5", "NDCG@5", "HR@10", "NDCG@10")]
    place = {"experiment": MAIN, "protocol": "strong", "backbone": "gru4rec", "method": "iadsr", "headline": True}
    value = results.select("metrics", **place, metric="NDCG@10", group="all")["mean"].item()
    (test,) = results.select("comparisons", **place, metric="NDCG@10", baseline_method="none", kind="method")["outcome"]
    row = next(cells for _, cells in table.lines() if [cell.text for cell in cells[:2]] == ["GRU4Rec", "IADSR"])
    assert row[-1].text == f"{value:.4f}\u00a0{SIGNS.get(test, '')}".strip()


def test_significant_differences_are_marked_in_the_accuracy_table(results: Results) -> None:
    for outcome, sign in (("gain", "\u25b2"), ("loss", "\u25bc"), ("none", "")):
        rows = results.tables["comparisons"].assign(outcome=outcome)
        changed = replace(results, tables={**results.tables, "comparisons": rows})
        make = catalogue_of(changed)
        lines = shown(make.accuracy({"experiment": MAIN, "dataset": "beauty"}))
        own = next(row for row in lines if row[:2] == ["GRU4Rec", "IADSR"])
        assert all(text.endswith(sign) and text[0].isdigit() for text in own[2:])
        base = next(row for row in lines if row[:2] == ["GRU4Rec", "none"])
        assert not any(mark in text for text in base for mark in SIGNS.values()), (
            "the baseline is compared with nothing"
        )


def test_pulls_and_logged_figures_are_named_by_the_methods(make: Catalogue) -> None:
    pulls = make.pulls()
    assert pulls is not None
    rows = pulls.frame.query("protocol == 'strong' and backbone == 'gru4rec' and method == 'iadsr'").set_index("loss")
    assert rows.loc["alignment", "project mean"] == 0.5
    assert rows.loc["recommendation", "backbone mean"] == 0.25
    assert pd.isna(rows.loc["alignment", "backbone mean"])
    logged = make.logged().frame.query("method == 'iadsr' and protocol == 'strong'")
    assert logged["loss_alignment mean"].tolist() == pytest.approx([1.6] * 2)


def test_the_inflated_evaluation_and_the_signature(make: Catalogue) -> None:
    denoised = make.denoised(at())
    assert denoised is not None
    assert set(denoised.frame["method"]) == {"iadsr"}
    assert denoised.frame["HR@5 denoised mean"].tolist() == pytest.approx([0.6] * len(denoised.frame))
    tails = make.tails(at())
    assert tails is not None
    assert set(tails.frame["method"]) == {"iadsr", "random_mask"}
    assert all(row[-1].startswith(("on average ", "seeds 1, 2 diverged")) for row in shown(tails))


def test_methods_that_share_no_seed_with_the_baseline_say_so(results: Results) -> None:
    """As where runs of an experiment are still to come: done, and nothing to compare them with."""
    rows = results.tables["tails"]
    left = rows[(rows["experiment"] != MAIN) | (rows["method"] != "iadsr") | (rows["protocol"] != "strong")]
    changed = replace(results, tables={**results.tables, "tails": left})
    table = catalogue_of(changed).tails({"experiment": MAIN, "dataset": "beauty"})
    assert table is not None
    own = [row for row in shown(table) if row[:3] == ["strong", "GRU4Rec", "IADSR"]]
    assert [row[-1] for row in own] == ["no seed in common with the baseline"]


def test_costs_stand_beside_those_of_the_baseline(make: Catalogue) -> None:
    frame = make.costs().frame.set_index(SIDE)
    assert frame.loc[("beauty", "strong", "gru4rec", "iadsr"), "times_baseline mean"] == pytest.approx(1.2)
    assert frame.loc[("beauty", "strong", "gru4rec", "none"), "times_baseline mean"] == 1.0


def test_an_experiment_s_methods_are_read_against_its_baseline(results: Results, make: Catalogue) -> None:
    table = make.methods(at("paper", "defects"))
    assert table.name == "experiment-defects-methods-beauty-paper"
    rows = [row[1:] for row in shown(table) if row[0] == "GRU4Rec"]
    assert [row[0] for row in rows] == ["IADSR", "with R4"]
    assert rows[0][5:7] == ["\u2013", "\u2013"]
    frame = table.frame.query("backbone == 'gru4rec'").set_index("method")
    where = {"experiment": "defects", "protocol": "paper", "backbone": "gru4rec"}
    found = results.select("comparisons", **where, ranking="kept", metric="HR@5", kind="method")
    assert frame.loc["iadsr-defects=R4", "HR@5 vs baseline p_holm"] == found["p_holm"].item()
    assert next(cells for _, cells in table.lines() if cells[1].text == "with R4")[1].sub == "one-sided Gumbel noise"


def test_a_sweep_s_table_holds_the_swept_values(make: Catalogue) -> None:
    table = make.methods(at("paper", "theta"))
    assert table.frame.set_index(["backbone", "method"])["theta"].dropna().tolist() == [-0.5, 0.5] * 2
    assert [column.title for column in table.columns][:2] == ["Backbone", "Method"]


def test_a_ladder_goes_up_in_the_order_given_under_one_rule(results: Results, make: Catalogue) -> None:
    frame = make.ladder(at(experiment="ladder")).frame
    assert frame["rung"].tolist() == [1, 1, 2, 2]
    assert set(frame["ranking"]) == {"excluded"}
    factor = results.select("rungs", protocol="strong", metric="NDCG@10")["factor"].item()
    assert frame.query("rung == 2 and method == 'none'")["NDCG@10 factor"].item() == factor
    assert frame.query("method == 'iadsr'")["NDCG@10 factor"].isna().all()


def test_spread_and_budget(make: Catalogue) -> None:
    spread = make.spread(at(experiment="ties"))
    assert [row[2] for row in shown(spread)][:3] == ["none", "IADSR", "IADSR minus none"]
    budget = make.budget(at("paper", "budget"))
    assert [column.title for column in budget.columns][2:4] == ["NDCG@10, paper", "NDCG@10, paper_double"]
    assert set(budget.frame["larger"]) == {"paper_double"}


def test_detection(make: Catalogue) -> None:
    table = make.detection(at("paper_noise20", "noise"))
    titles = [column.title for column in table.columns]
    assert titles[2:8] == ["AUC", "AUC, untrained", "Precision", "Recall", "Dropped", "Times chance"]
    rows = {row[1]: row for row in shown(table)}
    assert rows["IADSR"][2:8] == ["0.625", "0.500", "25.0\u202f%", "50.0\u202f%", "22.0\u202f%", "1.25"]
    assert set(rows["none"][2:8]) == {"\u2013"}
    assert "20.0\u202f% of the test inputs are noise" in table.caption


def test_captions_name_what_made_the_numbers(make: Catalogue) -> None:
    caption = make.overall(at("paper"), "kept").caption
    for part in (
        "beauty",
        "“paper”",
        "objective last",
        "minilm (all-MiniLM-L6-v2, max_length 8)",
        "seeds 1 and 2",
        "history kept",
    ):
        assert part in caption


@pytest.mark.parametrize("kind", ["tables", "figures"])
def test_a_caption_has_at_most_25_words_and_no_number_that_code_decides(kind: str) -> None:
    for name, caption in CAPTIONS[kind].items():
        assert len(re.sub(r"{(context|about|encoder)}", "", caption).split()) <= 25, name
        assert not re.search(r"\d\s?%", caption), name


def test_captions_take_the_numbers_by_which_statistics_decides(results: Results) -> None:
    paper = {**results.findings["paper"], "gain": [0.11, 0.22]}
    findings = {**results.findings, "level": 0.8, "tolerance": 0.07, "paper": paper}
    make = Catalogue(replace(results, findings=findings), {"x": "{level} {tolerance} {low} {high} {cold}"}, None)
    percents = "80\u202f% 7\u202f% 11.0\u202f% 22.0\u202f%"
    assert make.caption("x") == f"{percents} {COLD_LIMIT}"


def test_encoders_of_one_model_are_named_together(results: Results) -> None:
    kinds = [("minilm", "m"), ("tfidf", ""), ("minilm-empty", "m"), ("minilm", "m")]
    table = pd.DataFrame(kinds, columns=["encoder", "details"])
    named = replace(results, tables={**results.tables, "encoders": table}).encoders()
    assert named == "minilm and minilm-empty (m); tfidf"
    assert replace(results, tables={**results.tables, "encoders": table[:0]}).encoders() == "none"


def test_one_seed_needs_a_second_whatever_its_interval_says(results: Results) -> None:
    words = make_environment(TEMPLATES, results.label, results=results, defects={}).get_template("wording.j2").module
    row = {"seeds": 1, "excluded": True, "needed": None, "sought": 0.246}
    assert words.decided_by(row) == "needs a second seed"
    assert words.decided_by({**row, "seeds": 2}) == "24.6\u202f% ruled out, less open"
    assert words.decided_by({**row, "seeds": 2, "excluded": False}) == "24.6\u202f% needs more users"


def test_protocols_stand_side_by_side(make: Catalogue) -> None:
    frame = make.protocols(["paper", "strong"]).frame.set_index("setting")
    assert frame.loc["objective"].tolist() == ["last", "all"]
    differences = make.protocols(["paper", "strong"], "x", only_differences=True).frame
    assert set(differences["setting"]) == {"description", "objective"}


def test_tuned_values_name_whose_they_are(results: Results) -> None:
    side = dict(zip(SIDE, ("beauty", "strong", "gru4rec"), strict=False))
    tuned = [
        {**side, "method": "iadsr", "like": "iadsr", "values": {"dropout": 0.3, "alignment": 0.1}},
        {**side, "method": "random_mask", "like": "iadsr", "values": {"dropout": 0.3}},
    ]
    settings = {**results.settings, "tuned": tuned}
    table = catalogue_of(replace(results, settings=settings)).tuned()
    assert table is not None
    rows = [[(cell.text, cell.sub) for cell in cells[3:]] for _, cells in table.lines()]
    assert rows[0] == [("IADSR", ""), ("0.3", ""), ("0.1", "")]
    assert rows[1] == [("IADSR, random mask", "as IADSR"), ("0.3", ""), ("\u2013", "")]


def test_claims_show_verdicts_numbers_and_what_was_not_run(results: Results, make: Catalogue) -> None:
    table = make.claims()
    verdicts = results.tables["verdicts"].set_index(["claim", "protocol"])
    shown = {row["claim"]: row for row in table.frame.to_dict("records")}
    assert list(shown) == [claim["id"] for claim in results.settings["claims"]]
    assert shown["over_the_backbone"]["verdict"] == verdicts.loc[("over_the_backbone", ""), "verdict"]
    cells = dict(zip(shown, ([(cell.text, cell.sub) for cell in cells] for _, cells in table.lines()), strict=True))
    assert cells["theta"][1:] == [("not run", "needs experiment theta"), ("\u2013", ""), ("\u2013", "")]
    one = verdicts.loc[("by_choosing", "paper")]
    text, why = cells["by_choosing"][2]
    assert text == one["verdict"]
    assert why == (
        f"{percent(one['least'])} to {percent(one['most'])} {percent_interval(one['low'], one['high'])} "
        f"vs IADSR, random mask; 2 seeds find {share(one['detectable'])}"
        f"; {share(one['sought'])} needs more users"
        f"; {one['lost']} comparisons without all runs"
    )
    weak = results.tables["verdicts"].assign(weak="sasrec, caser")
    told = catalogue_of(replace(results, tables={**results.tables, "verdicts": weak})).claims()
    assert any("; baseline below the most popular items: SASRec and Caser" in row[2].sub for _, row in told.lines())
    assert cells["gate"][2] == (
        verdicts.loc[("gate", "paper"), "verdict"],
        "Past the gate: 97.0\u202f%; 1 mean without all runs",
    )
    assert cells["cold_items"][2][1] == (
        "\u221220.0 to 0.0 points [\u221220.0, 0.0], cold inputs against popular ones; "
        "IADSR, random mask \u221220.0 to 0.0; 1 mean without all runs"
    )


def test_where_a_verdict_is_another_is_said_in_a_few_words(results: Results) -> None:
    environment = make_environment(TEMPLATES, results.label, results=results, defects={}, f=results.findings)
    said: Any = environment.get_template("sentences.html.j2").module
    rows = [
        {"dataset": dataset, "protocol": protocol, "verdict": "not run"}
        for dataset, protocol in (("toys", "strong"), ("", "paper"), ("beauty", "paper"))
    ]
    assert str(said.elsewhere(rows[1:2])) == "“paper”: not run"
    assert str(said.elsewhere(rows[:2])) == "toys, “strong”: not run; “paper”: not run"
    assert str(said.elsewhere(rows)) == "not everywhere"


def test_every_verdict_has_a_tone() -> None:
    assert set(VERDICT_TONES) == set(get_args(Verdict))


def test_masks_that_stored_no_names_are_listed(results: Results, make: Catalogue) -> None:
    assert make.without_names(at()) == []
    drops = results.tables["drops"]
    drops = drops[(drops["protocol"] != "strong") | (drops["experiment"] != "main")]
    older = catalogue_of(replace(results, tables={**results.tables, "drops": drops}))
    assert older.without_names(at()) == [
        {"protocol": "strong", "method": "iadsr", "backbones": ["GRU4Rec", "Caser"]},
    ]


def test_keep_rates_where_no_input_is_cold(make: Catalogue) -> None:
    assert make.words.drops_cold({}, "cold minus decile_10") == "no cold inputs"


NARROW = "\u202f%"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "3 seeds find 30.0 %; 5 seeds find 24.6 %"),
        ({"excluded": True}, "24.6 % ruled out, less open"),
        ({"needed": np.nan}, "24.6 % needs more users"),
        ({"needed": 3.0}, "24.6 % would probably have been found"),
        ({"same": 2, "verdict": "not reproduced"}, "3 seeds find 30.0 %; 2 are the very same runs"),
        ({"needed": np.nan, "seeds": 1.0}, "needs a second seed"),
        ({"verdict": "not reproduced"}, "3 seeds find 30.0 %"),
        ({"lost": 1}, "5 seeds find 24.6 %; 1 comparison without all runs"),
        (
            {"contrary": 1, "verdict": "not reproduced"},
            "3 seeds find 30.0 %; 1 of 2 significantly the other way",
        ),
        ({"contrary": 2, "verdict": "opposite"}, "3 seeds find 30.0 %"),
        ({"least": np.nan}, "a baseline without any hit: more users are needed"),
        ({"least": np.nan, "judged": 0, "lost": 2}, "2 comparisons without all runs"),
    ],
)
def test_what_decides_a_claim_is_said_beside_its_verdict(
    make: Catalogue, changes: dict[str, object], said: str
) -> None:
    row: dict[str, object] = {
        "verdict": "underpowered", "against": "none", "least": 0.01, "most": 0.02, "low": -0.1, "high": 0.3,
        "beside_least": np.nan, "beside_most": np.nan, "detectable": 0.3, "sought": 0.246, "needed": 5.0,
        "users": 943.0, "seeds": 3.0, "excluded": False, "same": 0, "contrary": 0, "judged": 2, "lost": 0, "weak": "",
    }  # fmt: skip
    words = make.words
    told = str(words.verdict({"rule": "compared", "group": "all"}, row | changes)).replace(NARROW, " %")
    assert told.endswith(said)
    cold = str(words.verdict({"rule": "compared", "group": "cold"}, row | changes))
    assert (", 943 users" in cold) == (changes.get("judged") != 0)


def test_the_method_beside_a_mask_is_said_and_what_is_lost(make: Catalogue) -> None:
    row: dict[str, object] = {
        "verdict": "opposite", "against": "random_mask", "least": -0.02, "most": -0.02, "low": -0.03, "high": -0.01,
        "beside_least": -0.05, "beside_most": 0.001, "judged": 1, "lost": 2, "weak": "",
    }  # fmt: skip
    told = str(make.words.verdict({"rule": "spared"}, row))
    assert told.startswith("\u22122.0 points [\u22123.0, \u22121.0], cold inputs against popular ones; ")
    assert told.endswith("\u22125.0 to +0.1; 2 means without all runs")
