"""What the report reads: the tables of the stage `statistics`, its findings, and the datasets' summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from iadsr.core import columns as c
from iadsr.core.files import read_json
from iadsr.formats.statistics import FINDINGS, STATISTICS
from iadsr.formats.summary import read_summary
from iadsr.formats.tables import read_parquet
from iadsr.reporting.format import LABELS, label, listed, share, unswept

Where = Mapping[str, str]  # an address, or the beginning of one, by its columns: what a table or figure is of
SIDE = [c.DATASET, c.PROTOCOL, c.BACKBONE, c.METHOD]


@dataclass(frozen=True)
class Results:
    """Everything that the page shows: tables and findings of `statistics`, dataset summaries, settings.

    Attributes:
        settings: what the run file and its protocols say, for captions and tables of settings.
        experiments: what the run file says of each further experiment.
    """

    tables: Mapping[str, pd.DataFrame]
    findings: Mapping[str, Any]
    summaries: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    experiments: Sequence[Mapping[str, Any]]

    @cached_property
    def titles(self) -> dict[str, str]:
        """Names for readers: of methods and backbones what they say themselves, of all else `LABELS`."""
        methods = {name: said["title"] for name, said in self.settings.get("method_files", {}).items()}
        return {**LABELS, **self.settings.get("backbones", {}), **methods}

    @cached_property
    def numbers(self) -> dict[str, str]:
        """The numbers by which statistics decides, as texts have them."""
        names = ("level", "power", "tolerance", "margin")
        low, high = map(share, self.findings["paper"]["gain"])
        said = {"cold": str(c.COLD_LIMIT), "significance": str(self.findings["significance"]), "low": low, "high": high}
        return said | {name: share(self.findings[name], 0) for name in names}

    def label(self, name: str) -> str:
        """Name anything for a reader; see `format.label`."""
        return label(name, self.titles)

    def role(self, method: str) -> str:
        """Tell whether a method is a control, a form of IADSR or a rival, as `describe_methods` says."""
        return str(self.settings.get("method_files", {}).get(unswept(method), {}).get("role", "rival"))

    def select(self, table: str, **where: object) -> pd.DataFrame:
        """Return the rows of a table whose columns equal the given values; a list allows several."""
        frame = self.tables[table]
        for column, value in where.items():
            frame = frame[frame[column].isin(value) if isinstance(value, list) else frame[column] == value]
        return frame

    def answered(self, **where: object) -> tuple[pd.DataFrame, list[str]]:
        """Return IADSR's comparisons in the claim's metrics, and the baselines left out, none of whose has a value."""
        paper = self.findings["paper"]
        where = {c.EXPERIMENT: c.MAIN, c.METHOD: paper["method"], c.METRIC: list(paper["metrics"]), **where}
        rows = self.select("comparisons", headline=True, **where)
        rows = rows[rows["kind"] != "protocol"]
        known = rows["gain"].notna().groupby(rows["baseline_method"], sort=False).any()
        lost = [self.label(name) for name in known.index[~known]] if known.any() else []
        return rows[rows["baseline_method"].map(known).astype(bool)] if lost else rows, lost

    def experiment(self, where: Where) -> Mapping[str, Any]:
        """Return what the run file says of the further experiment in which `where` is."""
        return next(one for one in self.experiments if one["name"] == where[c.EXPERIMENT])

    def against_baseline(self, where: Where, **further: object) -> pd.DataFrame:
        """Return an experiment's comparisons with its baseline, each under its protocol's own ranking rule."""
        base = self.experiment(where)["baseline"]
        return self.select("comparisons", **where, **further, headline=True, kind="method", baseline_method=base)

    def values(self, column: str, **where: object) -> list[Any]:
        """Return the distinct values of an address column, in the order of the expected runs."""
        return list(dict.fromkeys(self.select("cells", **where)[column]))

    def places(self, *columns: str, **where: object) -> list[Where]:
        """Return the distinct places of the expected runs, by some columns of their addresses, in order."""
        found = self.select("cells", **where)[list(columns)].drop_duplicates()
        return [dict(zip(columns, row, strict=True)) for row in found.itertuples(index=False)]

    def beside(self, where: Where, *values: pd.DataFrame) -> pd.DataFrame:
        """Join columns to a grid's methods, one row each, the baseline first in each backbone: status, note, seeds."""
        sides = self.select("sides", **where)
        for table in values:
            sides = sides.merge(table, on=SIDE, how="left")
        return sides

    def encoders(self, **where: object) -> str:
        """Name each encoder that runs used, as `minilm and minilm-empty (model, max_length 8)`."""
        kinds = self.select("encoders", **where).groupby("details", sort=False)["encoder"].unique()
        return "; ".join(listed(own) + f" ({details})" * bool(details) for details, own in kinds.items()) or "none"

    def headline(self, where: Where) -> str:
        """Return the ranking rule under which an experiment's protocol is shown."""
        of_it = {column: where[column] for column in (c.EXPERIMENT, c.PROTOCOL)}
        found = self.select("metrics", **of_it, headline=True)[c.RANKING]
        return str(found.iloc[0]) if len(found) else c.RANKINGS[0]

    @property
    def every_cell(self) -> pd.DataFrame:
        """The expected runs of all experiments, each once."""
        return self.tables["cells"].drop_duplicates(list(c.ADDRESS))

    def shuffles_ties(self, experiment: str) -> bool:
        """Tell whether an experiment's protocols differ in the order of tied interactions."""
        facts, names = self.settings["protocols"], self.values(c.PROTOCOL, experiment=experiment)
        return any(facts.get(name, {}).get("tie_break", "0") != "0" for name in names)


@dataclass(frozen=True)
class Maker:
    """Makes tables or figures of one page.

    Attributes:
        captions: of each kind, with places for `str.format`.
        words: the macros of `wording.j2`.
        titles: of each kind, with places too; none of tables, whose captions suffice.
    """

    results: Results
    captions: Mapping[str, str]
    words: Any
    titles: Mapping[str, str] = field(default_factory=dict)

    def label(self, name: str) -> str:
        """Name anything for a reader; see `format.label`."""
        return self.results.label(name)

    def caption(self, kind: str, **what: str) -> str:
        """Fill the places of a caption: `what`, and the numbers by which statistics decides."""
        known = {"context": "", "encoder": f"Encoder {self.results.encoders()}.", **self.results.numbers}
        return self.captions[kind].format_map({**known, **what}).strip()


def load(root: Path, settings: Mapping[str, Any], experiments: Sequence[Mapping[str, Any]]) -> Results:
    """Read the statistics of a results tree.

    Raises:
        DataError: a file is absent or damaged that an earlier stage must have written.
    """
    folder = root / "statistics"
    tables = {name: read_parquet(folder / f"{name}.parquet", columns) for name, columns in STATISTICS.items()}
    findings = read_json(folder / FINDINGS, {"warnings": list, "tallies": list, "level": float, "paper": dict})
    datasets = list(dict.fromkeys(tables["cells"][c.DATASET]))
    return Results(tables, findings, {name: _summary(root, name, settings) for name in datasets}, settings, experiments)


def _summary(root: Path, dataset: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Join what was measured of a dataset and what its file says."""
    summary, notes = read_summary(root, dataset), settings.get("datasets", {}).get(dataset, {})
    return {**notes, **summary, "placeholder_note": notes.get("mirror_note") if summary["reconstructed"] else None}
