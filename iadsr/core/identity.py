"""Which source files a stage can import, and the identity that follows from them.

`ALLOWED` is the project's architecture: a room may import the rooms listed behind it and nothing else
of ours. The workflow gives their digest to its rules as a parameter, so that an edit reruns what it can change and
nothing else; a test holds both to the imports that are really in the code.
"""

from __future__ import annotations

import functools
from pathlib import Path

from iadsr.core.files import file_digest, value_digest

PACKAGE = Path(__file__).resolve().parent.parent

ALLOWED: dict[str, tuple[str, ...]] = {
    "core": (),
    "datasets": ("core",),
    "embeddings": ("core",),
    "sequences": ("core",),
    "models": ("core",),
    "methods": ("core", "models"),
    "training": ("core", "sequences", "models", "methods"),
    "evaluation": ("core", "sequences"),
    "statistics": ("core", "sequences", "evaluation"),
    "reporting": ("core",),
}
DECISIVE = ("columns", "seeding")  # modules of core that decide outcomes
# Modules of these rooms that every choice uses; any other module serves one backbone or method, whose runs alone an
# edit retrains.
SHARED = {
    "models": ("__init__", "backbone", "dropout", "loss", "recurrence"),
    "methods": ("__init__", "method", "masks"),
}


@functools.cache
def sources(room: str, network: str | None = None, kind: str | None = None) -> tuple[Path, ...]:
    """Source files that decide the outcome of a stage, sorted.

    `network` and `kind` narrow `models` and `methods` to what one training cell can reach.
    """
    chosen = {"models": network, "methods": kind}
    files: list[Path] = [PACKAGE / "cli.py"] if room == "reporting" else []  # it words the settings that a page shows
    for name in (room, *ALLOWED[room]):
        if name == "core":  # settings count through the cell's digest, and the rest only reads and writes
            files += [PACKAGE / "core" / f"{module}.py" for module in DECISIVE]
            continue
        for path in sorted((PACKAGE / name).glob("*.py")):
            choice = chosen.get(name)
            if choice is None or path.stem in SHARED[name] or path.stem == choice:
                files.append(path)
    return tuple(sorted(files))


@functools.cache
def source_digest(files: tuple[Path, ...]) -> str:
    """Digest of names and contents."""
    return value_digest({str(path.relative_to(PACKAGE)): file_digest(path) for path in files})
