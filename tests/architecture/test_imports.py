"""The rooms import only what `ALLOWED` says, and the workflow's source lists follow from it."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from iadsr.config.encoders import ENCODERS
from iadsr.config.identity import ALLOWED, PACKAGE, SHARED, _imports, sources
from iadsr.config.options import known_backbones, known_methods

MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "import_module":
            named = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            names |= {named.value} if isinstance(named, ast.Constant) else set()  # else a name that options give
    return names


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    for name in imported(path):
        assert not name.startswith("snakemake"), "the package never imports snakemake"
        if name.startswith("iadsr.") and room in ALLOWED:
            other = name.split(".")[1] or room  # nothing: of `iadsr.{room}`, by which option classes are found
            assert other == room or other in ALLOWED[room], f"{room} may not import {other}"


def test_the_list_has_no_cycle_and_names_every_room() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ALLOWED)
    order = list(ALLOWED)
    for room, others in ALLOWED.items():
        assert all(order.index(other) < order.index(room) for other in others)


def test_no_two_classes_have_one_name() -> None:
    trees = {path: ast.parse(path.read_text()) for path in MODULES}
    names = [node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert {name for name, times in Counter(names).items() if times > 1 and not name.startswith("_")} == set()


def test_a_module_imported_by_name_counts(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("from iadsr import reporting\nfrom iadsr.methods import hsd\n")
    assert imported(path) == {"iadsr.reporting", "iadsr.methods.hsd"}
    assert _imports(path, "methods") == {"hsd"}
    path.write_text('importlib.import_module("iadsr.models.gru4rec")\nimportlib.import_module(f"iadsr.methods.{x}")\n')
    assert imported(path) == {"iadsr.models.gru4rec", "iadsr.methods."}


def test_a_cell_depends_on_its_own_backbone_and_method_alone() -> None:
    names = {str(path.relative_to(PACKAGE)) for path in sources("training", models="gru4rec", methods="none")}
    assert {"models/gru4rec.py", "methods/none.py", "training/loop.py", "sequences/samples.py"} <= names
    assert not names & {"models/sasrec.py", "methods/iadsr.py", "evaluation/metrics.py"}


CHOICES = {
    "datasets": ("table", "planted"),
    "embeddings": tuple(ENCODERS),
    "models": (*known_backbones(), "released", "text_tables"),
    "methods": tuple(known_methods()),
}


def test_a_choice_takes_along_what_it_imports() -> None:
    names = {str(path.relative_to(PACKAGE)) for path in sources("training", models="gru4rec", methods="iadsr")}
    assert {"methods/iadsr.py", "methods/iadsr_choices.py", "methods/defects.py"} <= names
    assert "methods/random_drop.py" not in names


@pytest.mark.parametrize("room", SHARED)
def test_an_edit_of_one_choice_leaves_the_others_alone(room: str) -> None:
    reached = {choice: {path.stem for path in sources(room, **{room: choice})} for choice in CHOICES[room]}
    modules = {path.stem for path in (PACKAGE / room).glob("*.py") if not path.stem.endswith("_options")}
    assert modules <= set().union(*reached.values()), "every module serves something"
    for choice, names in reached.items():
        others = {name for other in CHOICES[room] if other != choice for name in (other, f"{other}_encoder")}
        assert not names & others


@pytest.mark.parametrize(
    "room", ["evaluation.collect", "statistics.compare", "reporting.page", "datasets.prepare", "embeddings.store"]
)
def test_light_stages_never_load_torch(room: str) -> None:
    code = f"import sys, iadsr.{room}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=False).returncode == 0


def test_scripts_stay_thin() -> None:
    assert not (PACKAGE.parent / "workflow" / "scripts").exists(), "rules call `python -m iadsr`"
    assert len((PACKAGE.parent / "Snakefile").read_text().splitlines()) < 50
    assert len((PACKAGE.parent / "workflow" / "rules" / "common.smk").read_text().splitlines()) < 150


@pytest.mark.parametrize("module", ["core.files", "config.identity", "machine.provenance"])
def test_the_workflow_needs_no_table_library(module: str) -> None:
    """A Snakemake of the user's own, without pandas, must be able to read the workflow."""
    code = f"import sys, iadsr.{module}; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=False).returncode == 0


@pytest.mark.parametrize("room", ["core", "machine", "config", "formats"])
def test_rooms_below_know_no_method_no_backbone_and_no_defect(room: str) -> None:
    names = "|".join([*known_backbones(), *(set(known_methods()) - {"none", "iadsr"}), r"R\d+"])
    for path in (PACKAGE / room).glob("*.py"):
        assert not re.search(rf"\b({names})\b", path.read_text()), path


@pytest.mark.parametrize("room", ["core", "machine", "formats"])
def test_rooms_at_the_bottom_know_no_file_s_name(room: str) -> None:
    """However it is written: `GRU4Rec`, `"random_mask"`, `HSD_RELEASED`."""
    folder = PACKAGE.parent / "workflow" / "config"
    files = {path.stem for kind in ("methods", "datasets") for path in (folder / kind).glob("*.yaml")}
    names = "|".join(map(re.escape, {*files, *known_backbones()} - {"none", "iadsr"}))
    for path in (PACKAGE / room).glob("*.py"):
        assert not re.search(rf"(?<![a-z])({names})(?![a-z])", path.read_text(), re.IGNORECASE), path


@pytest.mark.parametrize("room", ["sequences", "training", "tuning", "evaluation", "statistics", "reporting"])
def test_no_room_asks_which_backbone_it_is(room: str) -> None:
    """What is special about a backbone, its title too, stands beside it."""
    names = {name for networks in ("ours", "released") for name in known_backbones(networks)}
    titles = {known_backbones()[name].title for name in known_backbones()}
    quoted = "|".join(map(re.escape, filter(None, names | titles)))
    for path in (PACKAGE / room).glob("*.py"):
        assert not re.search(rf"""["']({quoted})["']""", path.read_text()), path


def test_core_is_small() -> None:
    assert sum(len(path.read_text().splitlines()) for path in (PACKAGE / "core").glob("*.py")) <= 300
