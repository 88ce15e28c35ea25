"""An experiment: a grid beside the main one that asks one question, has a baseline and tests of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iadsr.core.columns import BACKBONE, DATASET, PROTOCOL, SEED
from iadsr.core.errors import ConfigError, suggest
from iadsr.reporting.answer import Comparisons, Row
from iadsr.reporting.load import Results, Scores, mean_and_sd, own_ranking, protocol_values, select
from iadsr.reporting.tables import context, encoder_text
from iadsr.reporting.words import CLAIM_METRICS, defect_key, is_number, label, listed, short_labels

VIEWS = ("table", "sweep", "ladder", "spread", "budget")
FLOOR_METRIC = "NDCG@10"


@dataclass(frozen=True)
class Floor:
    """A method's mean NDCG@10 over seeds beside that of the most-popular baseline; NaN where unknown."""

    method: str
    value: float
    popular: float

    @property
    def is_beaten(self) -> bool:
        """Whether the method learned more than which items are popular. Unknown counts as no."""
        return self.value > self.popular


@dataclass(frozen=True)
class Experiment:
    """One experiment and what came of it.

    `points` maps the methods of a sweep to the value of its `option`; `pairs` holds protocols and those that extend
    them with a larger budget; `results` holds the experiment's own cells and comparisons.
    """

    name: str
    title: str
    question: str
    view: str
    baseline: str
    option: str
    points: Mapping[str, Any]
    pairs: Sequence[tuple[str, str]]
    results: Results
    compared: Comparisons
    scores: Scores
    settings: Mapping[str, Any]

    def datasets(self) -> list[str]:
        """Its datasets."""
        return self.results.values(DATASET)

    def protocols(self, dataset: str) -> list[str]:
        """Its protocols on a dataset, in the order given."""
        return self.results.values(PROTOCOL, dataset=dataset)

    def backbones(self, dataset: str, **where: object) -> list[str]:
        """Its backbones on a dataset."""
        return self.results.values(BACKBONE, dataset=dataset, **where)

    def methods(self, **where: object) -> list[str]:
        """Its methods; the baseline leads, for every other one is read against it."""
        return sorted(self.results.methods(**where), key=lambda name: name != self.baseline)

    def ranking(self, protocol: str) -> str:
        """The ranking rule under which one of its protocols is shown: its own, or on a ladder that of the last rung.

        A ladder compares protocols, and figures of two ranking rules are never compared.
        """
        shown = self.results.values(PROTOCOL)[-1] if self.view == "ladder" else protocol
        return own_ranking(shown, self.settings)

    def values(self, dataset: str, protocol: str, backbone: str, method: str, metric: str) -> Mapping[int, float]:
        """A metric by seed, under `ranking`."""
        return self.scores.of(dataset, protocol, backbone, method, self.ranking(protocol), metric)

    def against(self, dataset: str, protocol: str, backbone: str, method: str, metric: str) -> Row:
        """`method` against the baseline, under `ranking`."""
        ranking = self.ranking(protocol)
        return self.compared.method(dataset, protocol, backbone, ranking, metric, method, self.baseline)

    def is_released(self, protocol: str) -> bool:
        """Whether a protocol has the networks of the release."""
        return any(key == "networks" and value == "released" for key, value in protocol_values(protocol, self.settings))

    def floor(self, dataset: str, protocol: str, backbone: str) -> Floor:
        """How `none`, or else the baseline, stands beside the most-popular baseline."""
        methods = self.methods(dataset=dataset, protocol=protocol, backbone=backbone)
        method = "none" if "none" in methods else self.baseline
        value, _ = mean_and_sd(self.values(dataset, protocol, backbone, method, FLOOR_METRIC).values())
        return Floor(method, value, self.results.popular(dataset, self.ranking(protocol), FLOOR_METRIC))

    def same_as(self, dataset: str, protocol: str, backbone: str, method: str) -> str:
        """The earlier method with the very same runs, in whose place this one is not tested again; "" if none."""
        row = self.against(dataset, protocol, backbone, method, CLAIM_METRICS[0])
        return str(row.get("same_as") or "")

    def ordered_points(self) -> list[str]:
        """The methods of a sweep by value: numbers by size, anything else in the order given."""
        names = [name for name in self.points if name in set(self.results.methods())]
        return sorted(names, key=lambda name: float(self.points[name])) if self.numeric() else names

    def numeric(self) -> bool:
        """Whether every swept value is a number."""
        return all(is_number(value) and not isinstance(value, bool | str) for value in self.points.values())

    def short(self) -> Mapping[str, str]:
        """Its methods' names for figures."""
        return short_labels(self.methods())

    def key(self) -> str:
        """What the short names of defects stand for, for a caption; empty if there are none."""
        found = defect_key(self.methods())
        return f"Defects: {found}." if found else ""

    def context(self, dataset: str, protocols: Sequence[str]) -> str:
        """The part of a caption that says what made the numbers, of one protocol or of several."""
        if len(protocols) == 1:
            return context(self.results, self.settings, dataset, protocols[0], self.ranking(protocols[0]))
        seeds = sorted(set(select(self.results.cells, dataset=dataset)[SEED]))
        rules = list(dict.fromkeys(label(self.ranking(name)) for name in protocols))
        return (
            f"Dataset {dataset}; protocols {listed([f'“{name}”' for name in protocols])}; encoder "
            f"{encoder_text(self.results, dataset)}; {'seed' if len(seeds) == 1 else 'seeds'} "
            f"{listed([str(seed) for seed in seeds])}; ranking: "
            f"{rules[0] if len(rules) == 1 else 'of each protocol its own'}."
        )


def experiments_of(
    given: Mapping[str, Mapping[str, Any]], grids: Mapping[str, Results], settings: Mapping[str, Any]
) -> list[Experiment]:
    """The experiments of a report, in the order given.

    Raises:
        ConfigError: a view that there is not.
    """
    found = []
    for name, described in given.items():
        view = str(described["view"])
        if view not in VIEWS:
            raise ConfigError(f"experiment '{name}' has an unknown view '{view}'; {suggest(view, VIEWS)}")
        results = grids[name]
        found.append(
            Experiment(
                name=name,
                title=str(described["title"]),
                question=str(described["question"]),
                view=view,
                baseline=str(described["baseline"]),
                option=str(described.get("option") or ""),
                points=dict(described.get("points") or {}),
                pairs=[(protocol, larger) for protocol, larger in described.get("pairs") or ()],
                results=results,
                compared=Comparisons(results),
                scores=Scores(results.metrics),
                settings=settings,
            )
        )
    return found
