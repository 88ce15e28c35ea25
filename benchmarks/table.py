"""From pytest-benchmark's JSON to a table and a picture: `python -m benchmarks.table results/benchmarks.json`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from iadsr.core.files import atomic_path


@dataclass(frozen=True)
class Row:
    """A timing or a ratio of two, and what it should be."""

    name: str
    ours: float
    reference: float | None
    value: float
    goal: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def rows(benchmarks: list[dict[str, Any]]) -> list[Row]:
    """One row a pair, in the order of the benchmark; the fastest round stands for a timing."""
    pairs: dict[str, dict[str, dict[str, Any]]] = {}
    for benchmark in benchmarks:
        info = benchmark["extra_info"]
        pairs.setdefault(info["pair"], {})[info["side"]] = benchmark
    found = []
    for name, sides in pairs.items():
        if "ours" not in sides:
            continue  # a selection with -k may leave half a pair
        info = sides["ours"]["extra_info"]
        ours = _timing(sides["ours"])
        reference = info["reference"] if "reference" not in sides else _timing(sides["reference"])
        if reference is None and info["kind"] != "seconds":
            continue
        ratio = ours / (reference or 1.0)
        faster = info["kind"] == "speedup"
        found.append(Row(name, ours, reference, 1 / ratio if faster else ratio, info["goal"], faster))
    return found


def _timing(benchmark: dict[str, Any]) -> float:
    return float(benchmark["stats"]["min"] * benchmark["extra_info"]["scale"])


def markdown(found: list[Row], machine: str) -> str:
    """The table, with the machine above it."""
    lines = [
        f"# Benchmarks\n\n{machine}\n",
        "| what | ours | reference | value | goal | |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in found:
        reference = "" if row.reference is None else _seconds(row.reference)
        value = _seconds(row.value) if row.reference is None else f"{row.value:.2f}x"
        sign = "≥" if row.at_least else "≤"
        goal = f"{sign} {row.goal:g}{' s' if row.reference is None else 'x'}"
        verdict = "met" if row.met else "**missed**"
        lines.append(f"| {row.name} | {_seconds(row.ours)} | {reference} | {value} | {goal} | {verdict} |")
    return "\n".join(lines) + "\n"


def picture(found: list[Row], path: Path) -> None:
    """Each value over its goal, so that every bar left of the line is met."""
    shares = [row.goal / row.value if row.at_least else row.value / row.goal for row in found]
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(found) + 1))
    colours = ["#2b7a5b" if row.met else "#b8442c" for row in found]
    axes.barh([row.name for row in found], shares, color=colours)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("share of the goal that is used (1: just met)")
    axes.invert_yaxis()
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="svg")


def _seconds(value: float) -> str:
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def main(source: Path) -> None:
    """Write the table and the picture beside the JSON, and print the table."""
    measured = json.loads(source.read_text())
    info = measured["machine_info"]
    cpu = info["cpu"]
    machine = (
        f"{cpu.get('brand_raw', info['machine'])}, {cpu['count']} cores, Python {info['python_version']}; one thread"
    )
    found = rows(measured["benchmarks"])
    text = markdown(found, machine)
    with atomic_path(source.with_suffix(".md")) as temporary:
        temporary.write_text(text)
    picture(found, source.with_suffix(".svg"))
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
