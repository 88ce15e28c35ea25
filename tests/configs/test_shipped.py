"""Every shipped configuration validates, and every setting of every cell reaches its run."""

import re
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from iadsr.config.claims import Between, Compared, load_claims
from iadsr.config.datasets import load_spec
from iadsr.config.methods import load_method
from iadsr.config.options import known_backbones, known_methods
from iadsr.config.parse import parse
from iadsr.config.protocol import Protocol, budget_pairs, load_protocol, resolve_settings
from iadsr.config.run import RunConfig, load_run
from iadsr.config.yaml_files import load_yaml
from iadsr.core.errors import ConfigError
from iadsr.evaluation.collect import MASK_COLUMNS
from iadsr.evaluation.metrics import METRICS
from iadsr.tuning.adopt import merge_trials, tuned_text
from iadsr.tuning.trials import read_trials

FOLDER = Path(__file__).resolve().parents[2] / "workflow" / "config"
RUNS = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_run_files(path: Path) -> None:
    run = load_run(path)
    assert run.name == path.stem
    cells = run.cells(FOLDER)
    assert len({cell.address for cell in cells}) == len({cell.digest for cell in cells}) == len(cells)
    for name in run.datasets:
        assert load_spec(FOLDER / "datasets" / f"{name}.yaml").name == name


def test_the_required_grids() -> None:
    laptop = load_run(FOLDER / "laptop.yaml")
    assert len(laptop.cells(FOLDER)) == 3 * 4 * 2 * 2 + 3 * 3 * 2, "the grid, and three methods more under `paper`"
    paper = load_run(FOLDER / "paper.yaml")
    assert len(paper.datasets) == 4
    assert len(paper.seeds) == 5
    assert len(paper.cells(FOLDER)) == 4 * 2 * 3 * (4 + 20) * 5
    for name in ("paper", "diagnostics"):
        (sweep,) = load_run(FOLDER / f"{name}.yaml").experiments["theta"].sweeps
        assert [round(value * 10) for value in sweep.values] == list(range(-10, 10))  # type: ignore[operator]
    assert paper.encoder.kind == "llm2vec"


def test_beauty_is_laid_over_the_diagnostics() -> None:
    below, above = (load_yaml(FOLDER / name) for name in ("diagnostics.yaml", "additions/beauty.yaml"))
    merged = {**below, **above, "experiments": {**below["experiments"], **above["experiments"]}}
    cells = parse(RunConfig, merged, "both").cells(FOLDER)
    alone = {cell.address for cell in load_run(FOLDER / "diagnostics.yaml").cells(FOLDER)}
    assert alone < {cell.address for cell in cells}, "nothing is lost"
    beauty = [cell for cell in cells if cell.dataset == "beauty"]
    assert len(beauty) == 2 * 5 * 3 + 2 + 10 + 3 + 3
    objectives = {cell.protocol: cell.settings.objective for cell in beauty}
    assert objectives == {"paper": "last", "strong": "prefix", "strong_all": "all", "released_trained": "last"}
    steps = {cell.settings.steps for cell in beauty if cell.protocol == "released_trained"}
    assert steps == {14_000}, "as many epochs as on MovieLens-100K, of 700 steps and not 30"


def test_shuffled_ties_on_amazon_are_an_experiment_over_any_run_file() -> None:
    merged = {**load_yaml(FOLDER / "laptop.yaml"), **load_yaml(FOLDER / "additions/amazon_ties.yaml")}
    cells = [cell for cell in parse(RunConfig, merged, "both").cells(FOLDER) if cell.dataset == "beauty"]
    assert {cell.settings.tie_break for cell in cells} == set(range(6))
    (budget,) = {cell.settings.steps for cell in cells}
    assert budget == described("paper", "gru4rec", "beauty")["steps"], "that of “paper” on Beauty"


def test_steam_is_an_experiment_over_any_run_file() -> None:
    merged = {**load_yaml(FOLDER / "laptop.yaml"), **load_yaml(FOLDER / "additions/steam.yaml")}
    grids = parse(RunConfig, merged, "both").grids(FOLDER)
    runs = {name: {(cell.protocol, cell.method) for cell in grids[name]} for name in ("steam", "steam_next")}
    assert runs["steam"] == {(name, label) for name in ("paper", "strong") for label in ("steam", "steam_plain")}
    assert runs["steam_next"] == {("paper", "steam_next"), ("paper", "steam_next_plain")}
    assert {cell.backbone for name in runs for cell in grids[name]} == {"own"}


@pytest.mark.parametrize(
    ("name", "backbones", "runs"),
    [
        ("dcrec", {"own"}, 3),
        ("fmlp", {"gru4rec", "sasrec", "fmlp"}, 12),
        ("ssdrec", {"gru4rec", "sasrec", "caser"}, 12),
    ],
)
def test_what_looks_ahead_is_an_experiment_over_any_run_file(name: str, backbones: set[str], runs: int) -> None:
    merged = {**load_yaml(FOLDER / "laptop.yaml"), **load_yaml(FOLDER / f"additions/{name}.yaml")}
    cells = [cell for cell in parse(RunConfig, merged, "both").grids(FOLDER)[name] if cell.seed == 0]
    assert {cell.backbone for cell in cells} == backbones
    assert {(cell.protocol, cell.settings.objective) for cell in cells} == {
        ("paper", "last"),
        ("strong_prefix", "prefix"),
    }
    assert len(cells) == 2 * runs


# what each rung of the ladder changes
RUNGS: dict[str, set[str]] = {
    "ladder_softmax": {"loss", "bounded", "rank_padding"},
    "ladder_stopping": {"stopping", "patience", "validations"},
    "ladder_networks": {"networks", "backbone"},
    "ladder_optimiser": {"optimiser", "learning_rate", "weight_decay"},
    "ladder_schedule": {"schedule", "warmup"},
    "ladder_dropout": {"dropout"},
    "ladder_weights": {"iadsr"},
    "ladder_regularised": {"learning_rate", "weight_decay", "dropout", "average"},
    "ladder_prefix": {"objective", "batching", "batch_size"},
    "ladder_all": {"objective", "batch_size"},
    "ladder_length": {"max_length"},
}


def described(name: str, backbone: str, dataset: str = "movielens-100k") -> dict[str, Any]:
    """Every setting of a protocol, without tuned values."""
    protocol = load_protocol(FOLDER, name)
    settings, options = resolve_settings(protocol, backbone, dataset, None)
    return {**settings.model_dump(), "backbone": options, "iadsr": protocol.methods.get("iadsr", {})}


def changed(ours: dict[str, Any], theirs: dict[str, Any]) -> set[str]:
    return {name for name in ours if ours[name] != theirs[name]}


@pytest.mark.parametrize("backbone", known_backbones("released"))
def test_each_rung_of_the_ladder_changes_what_it_says(backbone: str) -> None:
    rungs = load_run(FOLDER / "diagnostics.yaml").experiments["ladder"].protocols
    assert rungs == ["ladder_released", *RUNGS]
    for before, name in pairwise(rungs):
        found = changed(described(name, backbone), described(before, backbone))
        assert found and found <= RUNGS[name], name
    assert "iadsr" not in set().union(*(RUNGS[name] for name in RUNGS if name != "ladder_weights"))
    for name in rungs:
        assert load_protocol(FOLDER, name).tuned is None, "tuned values would hide a rung's own"
        assert (described(name, backbone)["ranking"], described(name, backbone)["steps"]) == ("excluded", 2800), name
    chosen = {"learning_rate", "weight_decay", "dropout", "average", "iadsr"}
    assert changed(described(rungs[-1], backbone), described("strong", backbone)) <= chosen | {"steps"}
    fair = {"ranking", "steps", "validations"}
    assert changed(described("ladder_dropout", backbone), described("paper", backbone)) <= chosen | fair


def test_one_defect_alone_changes_no_batch() -> None:
    """R5 pairs texts wrongly; who shares a batch is the protocol's to say."""
    grids = load_run(FOLDER / "diagnostics.yaml").grids(FOLDER)["defects"]
    assert {cell.settings.batching for cell in grids} == {"shuffled"}


def test_every_dataset_protocol_and_method_file() -> None:
    for path in (FOLDER / "datasets").glob("*.yaml"):
        load_spec(path)
    for path in (FOLDER / "protocols").glob("*.yaml"):
        assert parse(Protocol, load_yaml(path), path.name).name == path.stem
        load_protocol(FOLDER, path.stem)
    kinds = {}
    for path in (FOLDER / "methods").glob("*.yaml"):
        method = load_method(FOLDER, path.stem)
        kinds[path.stem] = method.kind
        known_methods()[method.kind].model_validate(method.options)
    assert {name for name, kind in kinds.items() if name == kind} == set(known_methods()), (
        "every kind has a file of its name"
    )


def test_tuned_values_follow_from_the_tables_of_trials_beside_them() -> None:
    files = {path for path in (FOLDER / "tuned").rglob("*") if path.is_file()}
    assert {path.suffix for path in files} <= {".yaml", ".csv"}
    for path in files:
        assert path.with_suffix(".yaml").read_text() == tuned_text(
            merge_trials([], [read_trials(path.with_suffix(".csv"))], None, path.name)
        )


def test_the_budget_experiment_doubles_every_budget_of_the_main_grid() -> None:
    run = load_run(FOLDER / "evidence.yaml")
    assert budget_pairs(FOLDER, run.experiments["budget"].protocols or []) == [
        ("paper", "paper_double"),
        ("strong", "strong_double"),
    ]
    grids = run.grids(FOLDER)
    steps = {
        (cell.protocol, cell.backbone, cell.method, cell.seed): cell.settings.steps * cell.settings.budget
        for cell in (*grids["main"], *grids["budget"])
    }
    doubled = [key for key in steps if key[0].endswith("_double")]
    assert len(doubled) == 2 * 3 * 4 * 3
    for protocol, *rest in doubled:
        assert steps[protocol, *rest] == 2 * steps[protocol.removesuffix("_double"), *rest]


def test_a_budget_experiment_without_a_larger_budget_is_refused() -> None:
    values = load_yaml(FOLDER / "evidence.yaml")
    values["experiments"]["budget"]["protocols"] = ["paper", "strong"]
    with pytest.raises(ConfigError, match="larger `budget`"):
        parse(RunConfig, values, "mine").grids(FOLDER)


def test_claims_name_what_some_run_file_has() -> None:
    """A misspelt experiment or method would be 'not run' for ever."""
    experiments: dict[str, set[str]] = {}
    for path in [*RUNS, *(FOLDER / "additions").glob("*.yaml")]:
        values = load_yaml(path) if path in RUNS else load_yaml(FOLDER / "laptop.yaml") | load_yaml(path)
        for name, cells in parse(RunConfig, values, str(path)).grids(FOLDER).items():
            experiments.setdefault(name, set()).update(cell.method for cell in cells)
    for claim in load_claims(FOLDER).claims:
        rule = claim.judged
        named = {method for name in rule.experiments for method in experiments[name]}
        patterns = [one for pair in rule.pairs for one in pair] if isinstance(rule, Compared) else [rule.method]
        for pattern in patterns:
            assert any(fnmatchcase(method, pattern) for method in named), (claim.id, pattern)
        if isinstance(rule, Compared):
            assert set(rule.metrics) <= set(METRICS), claim.id
        if isinstance(rule, Between):
            assert rule.quantity in MASK_COLUMNS, claim.id


def test_every_title_can_be_the_page_s() -> None:
    """Two that hold alike would leave the later one unseen; a condition on a protocol names one that there is."""
    published = load_claims(FOLDER)
    seen = set()
    for title in published.titles:
        assert tuple(title.when.items()), "one without conditions would hide those below it"
        key = tuple(sorted((name, tuple(among)) for name, among in title.when.items()))
        assert key not in seen
        seen.add(key)
        for name in title.when:
            claim, _, protocol = name.partition("/")
            assert claim in {one.id for one in published.claims}
            assert not protocol or (FOLDER / "protocols" / f"{protocol}.yaml").is_file()


PAPER = "paper: {method: iadsr, gain: [0.1, 0.2], metrics: [HR@5], source: x, copies: [random_mask]}"
CLAIM = "{id: gate, title: t, sentence: s, source: x, judged: {rule: spared, experiments: [main], method: iadsr}}"


def test_a_title_of_an_unknown_claim_is_refused(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "a.yaml").write_text(
        f"{PAPER}\nclaims: [{CLAIM}]\ntitles: [{{title: t, when: {{gates/paper: []}}}}]"
    )
    with pytest.raises(ConfigError, match="unknown claim 'gates'; did you mean 'gate'"):
        load_claims(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("published: [0.4, 0.2]", r"published: .*the least published gain comes first"),
        (
            "judged: {rule: between, experiments: [main], method: iadsr, quantity: q, low: 2, high: 1}",
            "low 2.0 is above",
        ),
    ],
)
def test_claims_that_nothing_could_confirm_are_refused(tmp_path: Path, changes: str, message: str) -> None:
    judged = "judged: {rule: spared, experiments: [main], method: iadsr}"
    parts = ["id: a", "title: t", "sentence: s", "source: x", *([] if "judged" in changes else [judged]), changes]
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "a.yaml").write_text(f"claims: [{{{', '.join(parts)}}}]")
    with pytest.raises(ConfigError, match=message):
        load_claims(tmp_path)


def test_the_claim_that_contributing_shows_is_one(tmp_path: Path) -> None:
    text = (FOLDER.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(claims:.*?)```", text, re.DOTALL)
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "mine.yaml").write_text(shown)
    (tmp_path / "claims" / "paper.yaml").write_text(f"{PAPER}\nclaims: [{CLAIM}]")
    one, _ = load_claims(tmp_path).claims
    assert isinstance(one.judged, Compared)
    assert {name for pair in one.judged.pairs for name in pair} <= {
        path.stem for path in (FOLDER / "methods").glob("*.yaml")
    }


def test_a_file_of_claims_holds_one(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "a.yaml").write_text("claims: []")
    with pytest.raises(ConfigError, match=r"claims: .*at least 1"):
        load_claims(tmp_path)


def test_one_file_of_claims_says_which_paper_is_replicated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 files have the key `paper`; one must"):
        load_claims(tmp_path)
    (tmp_path / "claims").mkdir()
    for name in ("a", "b"):
        claim = CLAIM.replace("id: gate", f"id: {name}")
        (tmp_path / "claims" / f"{name}.yaml").write_text(f"{PAPER}\nclaims: [{claim}]")
    with pytest.raises(ConfigError, match="2 files have the key `paper`; one must"):
        load_claims(tmp_path)
    (tmp_path / "claims" / "b.yaml").unlink()
    assert load_claims(tmp_path).paper.sought == 0.1
    backwards = PAPER.replace("[0.1, 0.2]", "[0.2, 0.1]")
    (tmp_path / "claims" / "a.yaml").write_text(f"{backwards}\nclaims: [{CLAIM}]")
    with pytest.raises(ConfigError, match=r"gain: .*the least published gain comes first"):
        load_claims(tmp_path)
