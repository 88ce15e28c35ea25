"""A source digest follows what the code does, not how it is written down."""

import subprocess
import sys
from pathlib import Path

import pytest

from iadsr.config import identity

CODE = '''
"""Module."""

RATE = 0.1


class Rule:
    """Class."""

    limit: int = 3


def scale(value, name="x"):
    """Function."""
    label = "text"
    return f"{value * RATE}{label}"
'''


def digest(text: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    """The digest of a package that holds `text` alone."""
    path = folder / f"case{len(list(folder.iterdir()))}" / "module.py"
    path.parent.mkdir()
    path.write_text(text)
    monkeypatch.setattr(identity, "PACKAGE", path.parent)
    return identity.source_digest((path,))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Module."""', '"""Another module."""'),
        ('"""Module."""', ""),
        ('"""Class."""', "'Other words.'"),
        ('    """Function."""\n', ""),
        ("    limit: int = 3", '    limit: int = 3\n    """An attribute\'s docstring."""'),
        ("RATE = 0.1", "RATE = 0.10  # a comment"),
        ("RATE = 0.1", "\n\n\nRATE = (\n    0.1\n)"),
        ('def scale(value, name="x")', "def scale(\n    value,\n    name='x',\n)"),
        ("return f", "pass\n    return f"),
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert old in CODE
    assert digest(CODE, monkeypatch, tmp_path) == digest(CODE.replace(old, new), monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.1", "0.2"),
        ('"text"', '"Text"'),
        ('"text"', '"""Function."""'),
        ('name="x"', 'name="y"'),
        ('name="x"', "name=1"),
        ('name="x"', "name=True"),
        ("limit: int = 3", "limit: int = 4"),
        ("limit: int = 3", "limit: int = 3.0"),
        ("limit: int = 3", 'limit: int = "3"'),
        ("limit: int = 3", "limit: int = None"),
        ("limit: int = 3", "limit: float = 3"),
        ("limit: int = 3", "limit: int"),
        ("value * RATE", "value + RATE"),
        ("value * RATE", "value * RATE:.2f"),
        ("def scale", "async def scale"),
        ("RATE = 0.1", "RATE = 0.1\nRATE += 1"),
    ],
)
def test_what_the_code_does_counts(old: str, new: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert old in CODE
    assert digest(CODE, monkeypatch, tmp_path) != digest(CODE.replace(old, new), monkeypatch, tmp_path)


def test_function_of_docstring_alone_equals_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bodies = ['"""Words."""', '"""Other words."""', "pass", '"""Words."""\n    pass']
    made = {digest(f"def nothing():\n    {body}\n", monkeypatch, tmp_path) for body in bodies}
    assert len(made) == 1
    assert digest("def nothing():\n    return 1\n", monkeypatch, tmp_path) not in made


def test_digest_covers_file_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(identity, "PACKAGE", tmp_path)
    paths = [tmp_path / name for name in ("a.py", "b.py")]
    for path in paths:
        path.write_text(CODE)
    assert len({identity.source_digest((path,)) for path in paths}) == 2


def test_workflow_s_imports_need_only_pydantic_and_yaml() -> None:
    """Snakemake may run under a Python of its own, which has no pandas, numpy or torch."""
    heavy = ("pandas", "numpy", "torch", "scipy", "sklearn", "pyarrow", "matplotlib", "typer", "requests", "tqdm")
    modules = [
        line.split()[1]
        for line in (identity.PACKAGE.parent / "workflow/rules/common.smk").read_text().splitlines()
        if line.strip().startswith("from iadsr")
    ]
    assert "iadsr.core.files" in modules
    code = f"""
import sys; sys.modules.update(dict.fromkeys({heavy})); import {", ".join(modules)}
from pathlib import Path
folder = Path("workflow/config")
iadsr.plan.plan(iadsr.config.run.load_run(folder / "paper.yaml"), folder)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=identity.PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
