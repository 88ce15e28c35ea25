"""Every command of the README runs as written, in a new shell, after `make setup`."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]


def cheap(line: str) -> str:
    """The line as a dry run or with its help, where it would work for long; of the paper's grid one seed."""
    program = shlex.split(line)[0]
    if program == "make":
        return line.replace("make", "make -n", 1)
    if program.endswith("iadsr"):
        return line if "--help" in line else f"{line} --help"
    if program.endswith("snakemake"):
        words, _, overrides = line.partition(" --config ")
        overrides += " seeds=[0]" if "paper.yaml" in line else ""
        line = f"{words} -n --quiet rules" + (f" --config {overrides}" if overrides else "")
    return line


def test_first_screen_has_two_commands() -> None:
    first = README.split("## ")[0]
    assert [line.split()[1] for line in LINES if line in first] == ["reproduce", "test"]


def test_bibtex_has_what_the_citation_file_has() -> None:
    (block,) = re.findall(r"^```bibtex\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = cited["references"][0]
    names = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"])
    texts = [cited["title"], cited["version"], cited["authors"][0]["name"], names]
    for text in [*texts, *(paper[key] for key in ("title", "collection-title", "year", "doi"))]:
        assert f"{{{text}}}" in block, text


@pytest.fixture(scope="module")
def recomputed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `iadsr recompute` makes of the archive, with a README that lost its verdicts."""
    folder = tmp_path_factory.mktemp("recomputed")
    copy = folder / "README.md"
    copy.write_text(re.sub(r"(<!-- verdicts -->\n).*?(?=<!-- end)", r"\1", README, flags=re.DOTALL))
    assert copy.read_text() != README
    options = ["--config", "workflow/config/evidence.yaml", "--out", folder, "--readme", copy]
    subprocess.run([sys.executable, "-m", "iadsr", "recompute", *options], cwd=ROOT, check=True, capture_output=True)
    return folder


def test_verdicts_are_those_of_the_archive(recomputed: Path) -> None:
    """After new runs or rules: `iadsr recompute --config workflow/config/evidence.yaml --readme README.md`."""
    assert (recomputed / "README.md").read_text() == README


def test_every_column_of_the_archives_page_is_described(recomputed: Path) -> None:
    with (recomputed / "report" / "tables" / "columns.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["column"] for row in rows} >= {"texts", "order_note", "guessing_loss"}
    unknown = [row for row in rows if not row["meaning"] or "a method logs under this name" in row["meaning"]]
    assert not unknown


@pytest.mark.parametrize("line", sorted({cheap(line) for line in LINES if line}))
def test_line_runs_as_written(line: str) -> None:
    folder = ROOT / ".venv" / "bin"
    if not (folder / "snakemake").exists():
        pytest.skip("this checkout has no .venv: `make setup` makes it")
    if "llm2vec_python" in line and not (ROOT / ".venv-llm2vec" / "bin" / "python").exists():
        pytest.skip("this checkout has no .venv-llm2vec: `make setup-llm2vec` makes it")
    paths = [path for path in os.environ["PATH"].split(os.pathsep) if not (Path(path) / "snakemake").exists()]
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", line],
        cwd=ROOT,
        env={**os.environ, "PATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
