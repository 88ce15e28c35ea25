"""Reports of synthetic results trees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iadsr.reporting.page import build_report
from tests.unit.reporting.synthetic import DIVERGED, MISSING, SETTINGS, TEMPLATES, grid, make_tree


@pytest.fixture(scope="session")
def cells() -> list[tuple[str, str, str, str, int]]:
    return grid()


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory, cells: Any) -> Path:
    """The usual grid, with one method diverged and one run missing."""
    return make_tree(tmp_path_factory.mktemp("results"), cells, DIVERGED, MISSING)


@pytest.fixture(scope="session")
def page(tree: Path, cells: Any) -> Path:
    """The report of `tree`."""
    out = tree / "report" / "index.html"
    build_report(tree, cells, SETTINGS, TEMPLATES, out)
    return out


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Make a tree and its report in one go; the page's text."""

    def made(cells: Any, settings: Any = SETTINGS, **options: Any) -> str:
        root = make_tree(tmp_path_factory.mktemp("results"), cells, epochs=4, **options)
        out = root / "report" / "index.html"
        build_report(root, cells, settings, TEMPLATES, out)
        return out.read_text(encoding="utf-8")

    return made
