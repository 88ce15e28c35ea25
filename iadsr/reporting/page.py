"""The page: puts sentences, tables and figures in order and writes one self-contained HTML file with its downloads."""

from __future__ import annotations

import itertools
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from iadsr.core import columns as c
from iadsr.core.errors import ConfigError, DataError
from iadsr.core.files import write_text
from iadsr.formats.statistics import STATISTICS
from iadsr.formats.tables import read_parquet, visible, write_csv
from iadsr.reporting import format as formats
from iadsr.reporting.catalogue import Catalogue
from iadsr.reporting.charts import Figure, inline
from iadsr.reporting.dictionary import describe_columns
from iadsr.reporting.format import label, listed, slug
from iadsr.reporting.pictures import Pictures
from iadsr.reporting.results import Results, load
from iadsr.reporting.tables import Table, to_latex, to_markdown

ALL_CURVES = "curves-all"  # every epoch of every run with everything that was logged, as a download
_FILTERS = ("fixed", "signed", "percent", "share", "interval", "percent_interval", "integer", "listed")


@dataclass(frozen=True)
class PageBlock:
    """A table, a figure or neither, under a heading (with an `anchor`, a part's) and sentences, perhaps folded."""

    item: Table | Figure | None = None
    heading: str = ""
    folded: str = ""
    anchor: str = ""
    said: Markup | str = ""

    @property
    def table(self) -> Table | None:
        """The item, if it is a table."""
        return self.item if isinstance(self.item, Table) else None

    @property
    def figure(self) -> Figure | None:
        """The item, if it is a figure."""
        return self.item if isinstance(self.item, Figure) else None


def build_report(
    root: Path,
    settings: Mapping[str, Any],
    templates: Path,
    out: Path,
    experiments: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the report to `out` and its tables to `tables/` beside it. The same inputs give the same bytes.

    Args:
        root: the results folder; its statistics are read.
        settings: what describes the run: `name`, `baseline`, `protocols` (protocol -> description and settings),
            `datasets` (dataset -> what its file says in words) and anything else worth showing.
        templates: the folder of page sources.
        experiments: further grids in order, each with `name`, `title`, `question`, `view` (table, sweep, ladder,
            spread, budget or detection), `baseline`, and for a sweep `points` (method -> swept value) and `option`.

    Raises:
        DataError: a file is absent or damaged that an earlier stage must have written.
    """
    results = load(root, settings, experiments)
    captions, meanings = (_source(templates, name) for name in ("captions.toml", "columns.toml"))
    environment = _environment(templates, results)
    sentences: Any = environment.get_template("sentences.html.j2").make_module(
        {"results": results, "f": results.findings}
    )
    make = Catalogue(results, captions["tables"], captions["defects"])
    draw = Pictures(results, captions["figures"], captions["defects"])
    sections = _main_sections(results, make, draw)
    sections["results"].append(
        PageBlock(make.not_run(captions["not-run"]), folded="Methods of the literature that are not run here")
    )
    provenance = sections.pop("provenance")
    if experiments:
        sections["experiments"] = [
            block for one in experiments for block in _experiment(results, make, draw, one, sentences.experiment(one))
        ]
    sections = _numbered(sections | {"provenance": provenance})
    claims, downloads = make.claims(), _downloads(results, root)
    page = environment.get_template("page.html.j2").render(
        claims=claims,
        style=Markup((templates / "style.css").read_text(encoding="utf-8")),
        sentences=sentences,
        sections=sections,
        titles=captions["titles"],
        intros=captions["intros"],
        results=results,
        runs=os.path.relpath((root / "runs").resolve(), out.resolve().parent),
        downloads=list(downloads),
    )
    shown = [claims, *(block.table for blocks in sections.values() for block in blocks if block.table)]
    dictionary = describe_columns(meanings, downloads, results.numbers)
    answer = f"**{results.findings['title']}.**\n\n{to_markdown(claims)}"
    _write_tables(shown, {"claims.md": answer}, {**downloads, "columns": dictionary}, out.parent / "tables")
    write_text(out, visible(page))


def put_claims(path: Path, report: Path) -> None:
    """Put the table of claims of the report in folder `report` into a Markdown file, between its two marks.

    Raises:
        ConfigError: the file has not both marks.
    """
    old = path.read_text(encoding="utf-8")
    before, start, rest = old.partition("<!-- verdicts -->\n")
    _, end, after = rest.partition("<!-- end of verdicts -->")
    if not end:
        raise ConfigError(f"{path} lacks the marks <!-- verdicts --> and <!-- end of verdicts -->")
    table = (report / "tables" / "claims.md").read_text(encoding="utf-8")
    write_text(path, f"{before}{start}\n{table}\n{end}{after}")


def _source(templates: Path, name: str) -> Mapping[str, Mapping[str, str]]:
    path = templates / name
    if not path.is_file():
        raise DataError(f"{path} is missing: `templates` must be the folder of the report's page sources")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _environment(templates: Path, results: Results) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {name: getattr(formats, name) for name in _FILTERS} | {"label": results.label}
    environment.filters["svg"] = Markup  # panels come from charts.py, which escapes their text
    return environment


def _main_sections(results: Results, make: Catalogue, draw: Pictures) -> dict[str, list[PageBlock]]:
    """Make the blocks of the main experiment's sections, by name, in order."""
    datasets = results.values(c.DATASET, experiment=c.MAIN)
    protocols = {name: results.values(c.PROTOCOL, dataset=name, experiment=c.MAIN) for name in datasets}
    places = {(name, one): f"{name}, protocol “{one}”" for name in datasets for one in protocols[name]}
    every_protocol = results.values(c.PROTOCOL, experiment=c.MAIN)
    others = make.environments("others", "environments-experiments")
    sections: dict[str, list[PageBlock | Table | Figure | None]] = {
        "evidence": [*map(draw.answer, datasets), PageBlock(make.answer(), folded="The numbers")],
        "results": [block for place, heading in places.items() for block in _overall(results, make, place, heading)],
        "effects": [],
        "popularity": [],
        "masks": [],
        "tests": [PageBlock(make.tests(*place), folded=heading) for place, heading in places.items()],
        "training": [],
        "data": [
            PageBlock(make.datasets(datasets), folded="About the data"),
            PageBlock(make.encoders(), folded="Encoders of the item names"),
            PageBlock(make.protocols(every_protocol), folded="What each protocol fixes"),
            PageBlock(make.tuned(), folded="What was tuned, by method"),
            PageBlock(make.settings(), folded="All other settings of this run"),
        ],
        "provenance": [
            PageBlock(make.environments(c.MAIN, "environments"), folded="Where the runs were made"),
            PageBlock(make.costs(), folded="What the methods cost"),
            PageBlock(make.runs(), folded="Every run, and what it cost"),
            PageBlock(make.digests(), folded="Digests of inputs and source code"),
            PageBlock(others if len(others.frame) else None, folded="Where the experiments' other runs were made"),
        ],
    }
    for name in datasets:
        by_protocol = f"{name}, by protocol and method"
        sections["effects"] += [
            make.protocol_effects(name),
            PageBlock(draw.effects(name), folded=f"Protocol and method side by side: {by_protocol}"),
        ]
        groups = [(one, make.groups(name, one)) for one in protocols[name]]
        sections["popularity"] += [
            draw.popularity(name),
            *(
                PageBlock(table, folded=f"Accuracy by popularity of the target: {places[name, one]}")
                for one, table in groups
            ),
            PageBlock(draw.kept(c.MAIN, name), folded=f"Kept by popularity of the input item: {name}"),
            PageBlock(make.kept(c.MAIN, name), folded=f"Kept by popularity of the input item, as numbers: {name}"),
        ]
        sections["masks"] += [
            draw.masks(name),
            PageBlock(draw.traces(c.MAIN, name), folded=f"Alignment and the pull of each loss: {name}"),
            PageBlock(make.dropped(name), folded=f"What was dropped: items of {name}"),
            PageBlock(make.histories(name), folded=f"What was dropped: five histories of {name}"),
            PageBlock(make.tails(c.MAIN, name), folded=f"HR@5 up while HR@20 down: {name}"),
            PageBlock(make.denoised(c.MAIN, name), folded=f"The release's inflated evaluation (R2): {name}"),
        ]
        sections["training"] += [
            PageBlock(draw.validation(name), folded=f"Validation while training: {name}"),
            PageBlock(draw.losses(name), folded=f"Losses while training: {name}"),
        ]
    sections["masks"] += [
        PageBlock(make.masks(c.MAIN), folded="Keep rates, and figures on known noise"),
        PageBlock(make.pulls(), folded="Gradient norm of each loss in each part"),
    ]
    sections["training"].append(PageBlock(make.logged(), folded="Loss parts and logged figures at the kept epoch"))
    return {
        name: [one if isinstance(one, PageBlock) else PageBlock(one) for one in blocks]
        for name, blocks in sections.items()
    }


def _overall(results: Results, make: Catalogue, place: tuple[str, str], heading: str) -> Iterator[PageBlock]:
    """Yield the tables of a place, the protocol's own ranking rule first."""
    own = results.headline(c.MAIN, place[1])
    yield PageBlock(make.overall(*place, own), f"{heading}, {label(own)}")
    for ranking in (name for name in c.RANKINGS if name != own):
        yield PageBlock(make.overall(*place, ranking), folded=f"{heading}, {label(ranking)}")
    yield PageBlock(make.coverage(*place), folded=f"{heading}, coverage and ties")


def _experiment(
    results: Results, make: Catalogue, draw: Pictures, experiment: Mapping[str, Any], said: Markup
) -> Iterator[PageBlock]:
    """Yield an experiment's sentences and view and, folded, how its protocols differ and its masks behaved."""
    name = str(experiment["name"])
    yield PageBlock(None, str(experiment["title"]), anchor=slug("experiment", name), said=said)
    protocols, datasets = (results.values(column, experiment=name) for column in (c.PROTOCOL, c.DATASET))
    for dataset in datasets:
        yield from _view(results, make, draw, experiment, dataset)
    if len(protocols) > 1:
        table = make.protocols(protocols, slug("experiment", name, "protocols"), only_differences=True)
        yield PageBlock(table if len(table.frame) else None, folded="Settings in which these protocols differ")
    if further := [one for one in datasets if one not in results.values(c.DATASET, experiment=c.MAIN)]:
        table = make.datasets(further, slug("experiment", name, "datasets"))
        yield PageBlock(table, folded=f"About the data: {listed(further)}")
    for dataset in datasets:
        yield PageBlock(draw.traces(name, dataset), folded=f"How the masks learned: {dataset}")
        fold = f"Kept by popularity of the input item: {dataset}"
        yield PageBlock(draw.kept(name, dataset), folded=fold)
        yield PageBlock(make.kept(name, dataset), folded=f"{fold}, as numbers")
        yield PageBlock(make.tails(name, dataset), folded=f"HR@5 up while HR@20 down: {dataset}")
        yield PageBlock(make.denoised(name, dataset), folded=f"The release's inflated evaluation (R2): {dataset}")


def _view(
    results: Results, make: Catalogue, draw: Pictures, experiment: Mapping[str, Any], dataset: str
) -> Iterator[PageBlock]:
    """Yield what an experiment shows of a dataset, by its view."""
    where = {c.EXPERIMENT: experiment["name"], c.DATASET: dataset}
    view = experiment["view"]
    if view in ("sweep", "ladder", "spread", "budget", "detection"):
        yield PageBlock(getattr(draw, view)(experiment, dataset))
    if view in ("ladder", "spread"):
        yield PageBlock(getattr(make, view)(experiment, dataset), folded=f"The numbers: {dataset}")
    elif view in ("budget", "detection"):
        for protocol in results.select(f"{view}s", **where)[c.PROTOCOL].unique():
            table = getattr(make, view)(experiment, dataset, protocol)
            yield PageBlock(table, folded=f"The numbers: {dataset}, protocol “{protocol}”")
    else:
        for protocol in results.values(c.PROTOCOL, **where):
            if view == "table":
                yield PageBlock(draw.gains(experiment, dataset, protocol))
            folded = f"The numbers: {dataset}, protocol “{protocol}”"
            yield PageBlock(make.methods(experiment, dataset, protocol), folded=folded)


def _numbered(sections: Mapping[str, Sequence[PageBlock]]) -> dict[str, list[PageBlock]]:
    """Drop blocks that have nothing to show, and make every panel's ids unique on the page."""
    number, numbered = itertools.count(1), {}
    for name, blocks in sections.items():
        shown = [block for block in blocks if block.item or block.anchor]
        for place, block in enumerate(shown):
            if figure := block.figure:
                start = f"f{next(number)}"
                panels = [inline(panel, f"{start}-{part}") for part, panel in enumerate(figure.panels)]
                shown[place] = replace(block, item=replace(figure, panels=panels))
        numbered[name] = shown
    return numbered


def _downloads(results: Results, root: Path) -> dict[str, pd.DataFrame]:
    """Collect the tables that the page selects from, by the names of their files."""
    tables = {f"all-{name}": results.tables[name] for name in STATISTICS}
    tables["all-datasets"] = pd.json_normalize([dict(one) for one in results.summaries.values()])
    return tables | {ALL_CURVES: read_parquet(root / "evaluation" / "curves.parquet", [*c.ADDRESS, "epoch"])}


def _write_tables(
    shown: Sequence[Table], texts: Mapping[str, str], downloads: Mapping[str, pd.DataFrame], folder: Path
) -> None:
    """Write CSV and LaTeX of every table shown, further texts by name, and the downloads as CSV.

    What an earlier report left goes.
    """
    texts = {**texts, **{f"{table.name}.tex": to_latex(table) for table in shown}}
    tables = {f"{table.name}.csv": table.frame for table in shown}
    tables |= {f"{name}.csv": frame for name, frame in downloads.items()}
    for name, frame in tables.items():
        write_csv(folder / name, frame)
    for name, text in texts.items():
        write_text(folder / name, text)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".csv", ".tex", ".md") and path.name not in {*tables, *texts}:
            path.unlink()
