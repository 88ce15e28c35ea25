"""Which source files a stage can import, and the identity that follows from them.

`ALLOWED` is the project's architecture: a room may import the rooms listed behind it and nothing else
of ours. The workflow gives their digest to its rules as a parameter, so that an edit reruns what it can change and
nothing else; a test holds both to the imports that are really in the code.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path
from typing import Any

from iadsr.core.files import value_digest

PACKAGE = Path(__file__).resolve().parent.parent

ALLOWED: dict[str, tuple[str, ...]] = {
    "core": (),
    "config": ("core",),
    "formats": ("core", "config"),
    "datasets": ("core", "config"),
    "embeddings": ("core", "config", "formats"),
    "sequences": ("core", "config"),
    "models": ("core", "config"),
    "methods": ("core", "config", "models"),
    "training": ("core", "config", "formats", "sequences", "models", "methods"),
    "tuning": ("core", "config", "formats", "sequences", "models", "methods", "training"),
    "evaluation": ("core", "config", "sequences"),
    "statistics": ("core", "sequences", "evaluation"),
    "reporting": ("core", "config"),
}
DECISIVE = ("columns", "seeding")  # modules of core that decide outcomes
# Modules of these rooms that every choice uses; any other module serves one format of data, one encoder, backbone or
# method, whose jobs alone an edit repeats.
SHARED = {
    "datasets": ("__init__", "download", "filter", "prepare", "raw", "wheel"),
    "embeddings": ("__init__", "devices", "encoder", "prefixes", "store", "texts", "vectors"),
    "models": ("__init__", "backbone", "dropout", "loss", "recurrence"),
    "methods": ("__init__", "method", "masks"),
}


@functools.cache
def sources(room: str, **choices: str) -> tuple[Path, ...]:
    """Source files that decide the outcome of a stage, sorted.

    `choices` narrow rooms to what one job can reach: `models="gru4rec"` leaves out the other backbones.
    """
    files: list[Path] = [PACKAGE / "cli.py"] if room == "reporting" else []  # it words the settings that a page shows
    for name in (room, *ALLOWED[room]):
        if name in (
            "config",
            "formats",
        ):  # the first counts through what it resolves, the digests of cells and encoders
            continue
        if name == "core":  # the rest, as `formats`, only reads and writes
            files += [PACKAGE / "core" / f"{module}.py" for module in DECISIVE]
            continue
        for path in sorted((PACKAGE / name).glob("*.py")):
            choice = choices.get(name)
            if path.stem.endswith("_options"):  # as `config`
                continue
            if choice is None or path.stem in SHARED[name] or path.stem.removesuffix("_encoder") == choice:
                files.append(path)
    return tuple(sorted(files))


@functools.cache
def source_digest(files: tuple[Path, ...]) -> str:
    """Digest of names and syntax trees: comments, docstrings and formatting do not count."""
    return value_digest({str(path.relative_to(PACKAGE)): _syntax_digest(path) for path in files})


@functools.cache
def _syntax_digest(path: Path) -> str:
    tree = ast.parse(path.read_bytes(), filename=str(path))
    return hashlib.sha256(repr(_canonical(tree)).encode()).hexdigest()


def _canonical(node: Any) -> Any:
    """Convert a syntax tree to nested tuples without positions and statements that do nothing, docstrings among them.

    Unlike `ast.dump`, equal under every Python: empty fields, which newer versions add, are left out.
    """
    if isinstance(node, list):
        return tuple(_canonical(part) for part in node if not _does_nothing(part))
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return type(node).__name__, *((name, _canonical(value)) for name, value in fields)


def _does_nothing(node: Any) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
