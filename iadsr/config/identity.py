"""Which source files a stage can import, and the identity that follows from them.

`ALLOWED` is the project's architecture: a room may import the rooms listed behind it and nothing else
of ours. The workflow gives their digest to its rules as a parameter, so that an edit reruns what it can change and
nothing else; a test holds both to the imports that are really in the code.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iadsr.core.errors import ConfigError
from iadsr.core.files import value_digest

PACKAGE = Path(__file__).resolve().parent.parent

_BASE = ("core", "machine", "config", "formats")
ALLOWED: dict[str, tuple[str, ...]] = {
    "core": (),
    "machine": ("core",),
    "config": ("core",),
    "formats": ("core", "config"),
    "datasets": _BASE,
    "embeddings": _BASE,
    "sequences": _BASE,
    "models": _BASE,
    "methods": (*_BASE, "models"),
    "training": (*_BASE, "sequences", "models", "methods"),
    "tuning": (*_BASE, "sequences", "models", "methods", "training"),
    "conformance": ("core", "config", "datasets", "sequences", "models", "methods", "training"),
    "evaluation": (*_BASE, "sequences"),
    "statistics": (*_BASE, "sequences", "evaluation"),
    "reporting": _BASE,
}
# Of the rooms below all others these modules alone decide outcomes. Configuration counts through the digests of what it
# resolves; the rest only reads and writes.
DECISIVE = {"core": ("columns", "seeding")}
# Modules of these rooms that every choice uses; any other module serves one format of data, one encoder, backbone or
# method, whose jobs alone an edit repeats.
SHARED = {
    "datasets": ("__init__", "digests", "download", "filter", "prepare", "raw", "wheel"),
    "embeddings": ("__init__", "encoder", "prefixes", "store", "texts", "vectors"),
    "models": ("__init__", "backbone", "dropout", "loss", "recurrence"),
    "methods": ("__init__", "cutoff", "method", "masks"),
}
_ROOMS = {"items": "models"}  # choices beside the one that is called like its room


@functools.cache
def sources(room: str, **choices: str) -> tuple[Path, ...]:
    """List the source files that decide the outcome of a stage, sorted.

    `choices` narrow rooms to what one job can reach: `models=...` leaves out the other backbones; `items=...` adds a
    module to that room's. A choice `module:Class` outside of this package adds its module's file, and leaves nothing
    out: it can import everything.
    """
    files: list[Path] = [PACKAGE / "describe.py"] if room == "reporting" else []  # what a page says of a run file
    for name in (room, *ALLOWED[room]):
        wanted = [choice for key, choice in choices.items() if _ROOMS.get(key, key) == name] or [":"]
        # options count as `config` does
        modules = {path.stem: path for path in (PACKAGE / name).glob("*.py") if not path.stem.endswith("_options")}
        chosen = DECISIVE.get(name, ()) if name in _BASE else _reach(name, wanted, modules)
        files += [modules[module] for module in chosen]
    files += [module_file(choice.partition(":")[0]) for choice in choices.values() if ":" in choice]
    return tuple(sorted(files))


def module_file(module: str) -> Path:
    """Find the source file of an importable module.

    Raises:
        ConfigError: it has none.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ConfigError(f"module {module} has no source file")
    return Path(spec.origin)


def _reach(room: str, choices: Sequence[str], modules: Mapping[str, Path]) -> set[str]:
    """Collect the modules that choices need: the shared ones, `<choice>`, `<choice>_*` and what they import."""
    if any(":" in choice for choice in choices):
        return {*modules}
    reached = {*SHARED[room]}
    following = {name for name in modules for choice in choices if name == choice or name.startswith(f"{choice}_")}
    while following:
        reached |= following
        following = {name for module in following for name in _imports(modules[module], room)} & {*modules} - reached
    return reached


@functools.cache
def _imports(path: Path, room: str) -> frozenset[str]:
    """List the modules of a room that a file imports."""
    statements = (node for node in ast.walk(_parse(path)) if isinstance(node, ast.ImportFrom))
    # of `from iadsr.room import module` the module is last, of `from iadsr.room.module import name` it is third
    names = (f"{node.module}.{alias.name}" for node in statements for alias in node.names)
    return frozenset(name.split(".")[2] for name in names if name.startswith(f"{PACKAGE.name}.{room}."))


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


@functools.cache
def source_digest(files: tuple[Path, ...]) -> str:
    """Digest names and syntax trees: comments, docstrings and formatting do not count."""
    names = [str(path.relative_to(PACKAGE)) if path.is_relative_to(PACKAGE) else path.name for path in files]
    return value_digest({name: _syntax_digest(path) for name, path in zip(names, files, strict=True)})


@functools.cache
def _syntax_digest(path: Path) -> str:
    return hashlib.sha256(repr(_canonical(_parse(path))).encode()).hexdigest()


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
