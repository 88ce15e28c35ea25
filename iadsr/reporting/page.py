"""The page: puts sentences, tables and figures in order and writes one self-contained HTML file with its downloads."""

from __future__ import annotations

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
from iadsr.core.errors import DataError
from iadsr.core.files import write_text
from iadsr.core.tables import STATISTICS
from iadsr.formats.tables import read_parquet, visible, write_csv
from iadsr.reporting import format as formats
from iadsr.reporting.catalogue import Catalogue
from iadsr.reporting.charts import Figure, inline
from iadsr.reporting.format import label, listed, plain, slug
from iadsr.reporting.pictures import Pictures
from iadsr.reporting.results import Results, load
from iadsr.reporting.tables import Table, to_latex

ALL_CURVES = "curves-all"  # every epoch of every run with everything that was logged, as a download
_FILTERS = ("label", "fixed", "signed", "percent", "share", "interval", "percent_interval", "integer", "listed")


@dataclass(frozen=True)
class Block:
    """One thing in a section: a heading, what is said, a table or a figure.

    A `folded` block opens on request. A heading with an `anchor` begins a part of the section and is listed under it in
    the contents.
    """

    heading: str = ""
    said: Markup | str = ""
    table: Table | None = None
    figure: Figure | None = None
    folded: str = ""
    anchor: str = ""


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
        experiments: further grids in order, each with `name`, `title`, `question`, `view` (table, sweep, ladder, spread
            or budget), `baseline`, and for a sweep `points` (method -> swept value) and `option`.

    Raises:
        DataError: a file is absent or damaged that an earlier stage must have written.
    """
    results = load(root, settings, experiments)
    captions = _captions(templates)
    environment = _environment(templates)
    sentences = environment.get_template("sentences.html.j2").make_module({"results": results, "f": results.findings})
    sections = {
        name: list(blocks)
        for name, blocks in _sections(
            results, Catalogue(results, captions["tables"]), Pictures(results, captions["figures"]), sentences
        ).items()
    }
    sections = {name: blocks for name, blocks in sections.items() if blocks}
    sections = _numbered(sections)
    page = environment.get_template("page.html.j2").render(
        style=Markup((templates / "style.css").read_text(encoding="utf-8")),
        sentences=sentences,
        sections=sections,
        titles=captions["titles"],
        intros=captions["intros"],
        facts=_facts(results),
        records=_records(results, root, out),
        datasets=listed(results.values(c.DATASET, experiment=c.MAIN)),
        downloads=[*(f"all-{name}" for name in (*STATISTICS, "datasets")), ALL_CURVES],
    )
    _write_tables(sections, results, root, out.parent / "tables")
    write_text(out, visible(page))


def _captions(templates: Path) -> Mapping[str, Mapping[str, str]]:
    path = templates / "captions.toml"
    if not path.is_file():
        raise DataError(f"{path} is missing: `templates` must be the folder of the report's page sources")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _environment(templates: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {name: getattr(formats, name) for name in _FILTERS}
    environment.filters["svg"] = Markup  # panels come from charts.py, which escapes their text
    return environment


def _sections(results: Results, make: Catalogue, draw: Pictures, sentences: Any) -> dict[str, Iterator[Block]]:
    """The page's sections by name, in order."""
    return {
        "evidence": _evidence(results, make, draw),
        "data": _data(results, make),
        "results": _overall(results, make),
        "effects": _effects(results, make, draw),
        "tests": _tests(results, make),
        "popularity": _popularity(results, make, draw),
        "training": _training(results, make, draw),
        "masks": _masks(results, make, draw),
        "experiments": _experiments(results, make, draw, sentences),
        "provenance": _provenance(results, make),
    }


def _places(results: Results) -> Iterator[tuple[str, str]]:
    """Dataset and protocol of every part of the main experiment."""
    for dataset in results.values(c.DATASET, experiment=c.MAIN):
        for protocol in results.values(c.PROTOCOL, experiment=c.MAIN, dataset=dataset):
            yield dataset, protocol


def _evidence(results: Results, make: Catalogue, draw: Pictures) -> Iterator[Block]:
    for dataset in results.values(c.DATASET, experiment=c.MAIN):
        yield Block(figure=draw.answer(dataset))
    yield Block(table=make.answer())


def _data(results: Results, make: Catalogue) -> Iterator[Block]:
    yield Block(table=make.datasets(results.values(c.DATASET, experiment=c.MAIN)))
    yield Block(table=make.encoders())
    yield Block(table=make.protocols(results.values(c.PROTOCOL, experiment=c.MAIN)))
    yield Block(table=make.tuned())
    yield Block(table=make.settings(), folded="All other settings of this run")


def _overall(results: Results, make: Catalogue) -> Iterator[Block]:
    for dataset, protocol in _places(results):
        own = results.headline(c.MAIN, protocol)
        for ranking in (own, *(name for name in c.RANKINGS if name != own)):
            heading = f"{dataset}, protocol “{protocol}”, {label(ranking)}"
            yield Block(heading, table=make.overall(dataset, protocol, ranking))
        yield Block(f"{dataset}, protocol “{protocol}”, coverage and ties", table=make.coverage(dataset, protocol))


def _effects(results: Results, make: Catalogue, draw: Pictures) -> Iterator[Block]:
    for dataset in results.values(c.DATASET, experiment=c.MAIN):
        yield Block(figure=draw.effects(dataset))
        yield Block(table=make.protocol_effects(dataset))


def _tests(results: Results, make: Catalogue) -> Iterator[Block]:
    for dataset, protocol in _places(results):
        yield Block(f"{dataset}, protocol “{protocol}”", table=make.tests(dataset, protocol))


def _popularity(results: Results, make: Catalogue, draw: Pictures) -> Iterator[Block]:
    for dataset in results.values(c.DATASET, experiment=c.MAIN):
        yield Block(figure=draw.popularity(dataset))
        for protocol in results.values(c.PROTOCOL, experiment=c.MAIN, dataset=dataset):
            yield Block(table=make.groups(dataset, protocol))
        if kept := make.kept(c.MAIN, dataset):
            yield Block(figure=draw.kept(c.MAIN, dataset))
            yield Block(table=kept)


def _training(results: Results, make: Catalogue, draw: Pictures) -> Iterator[Block]:
    for dataset in results.values(c.DATASET, experiment=c.MAIN):
        yield Block(figure=draw.validation(dataset))
        yield Block(figure=draw.losses(dataset))
    yield Block(table=make.logged())


def _masks(results: Results, make: Catalogue, draw: Pictures) -> Iterator[Block]:
    yield Block(table=make.masks(c.MAIN))
    yield Block(table=make.pulls())
    for dataset in results.values(c.DATASET, experiment=c.MAIN):
        yield Block(figure=draw.masks(dataset))
        yield Block(figure=draw.traces(c.MAIN, dataset))
        yield Block(table=make.tails(c.MAIN, dataset))
        yield Block(table=make.denoised(c.MAIN, dataset))


def _experiments(results: Results, make: Catalogue, draw: Pictures, sentences: Any) -> Iterator[Block]:
    for experiment in results.experiments:
        name = str(experiment["name"])
        yield Block(str(experiment["title"]), anchor=slug("experiment", name), said=sentences.experiment(experiment))
        protocols = results.values(c.PROTOCOL, experiment=name)
        for dataset in results.values(c.DATASET, experiment=name):
            yield from _view(results, make, draw, experiment, dataset)
        if len(protocols) > 1:
            table = make.protocols(protocols, slug("experiment", name, "protocols"), only_differences=True)
            yield Block(table=table if len(table.frame) else None, folded="Settings in which these protocols differ")
        further = [
            dataset
            for dataset in results.values(c.DATASET, experiment=name)
            if dataset not in results.values(c.DATASET, experiment=c.MAIN)
        ]
        if further:
            table = make.datasets(further, slug("experiment", name, "datasets"))
            yield Block(table=table, folded=f"About the data: {listed(further)}")
        for dataset in results.values(c.DATASET, experiment=name):
            yield Block(figure=draw.traces(name, dataset), folded=f"How the masks learned: {dataset}")
            kept = make.kept(name, dataset)
            fold = f"Kept by popularity of the input item: {dataset}"
            yield Block(figure=draw.kept(name, dataset) if kept else None, folded=fold)
            yield Block(table=kept, folded=f"{fold}, as numbers")
            yield Block(table=make.tails(name, dataset), folded=f"HR@5 up while HR@20 down: {dataset}")
            yield Block(table=make.denoised(name, dataset), folded=f"The release's inflated evaluation (R2): {dataset}")


def _view(
    results: Results, make: Catalogue, draw: Pictures, experiment: Mapping[str, Any], dataset: str
) -> Iterator[Block]:
    """What an experiment shows of a dataset, by its view."""
    where = {c.EXPERIMENT: experiment["name"], c.DATASET: dataset}
    view = experiment["view"]
    if view == "sweep":
        yield Block(figure=draw.sweep(experiment, dataset))
    elif view == "ladder":
        yield Block(figure=draw.ladder(experiment, dataset))
        yield Block(table=make.rungs(experiment, dataset))
        yield Block(table=make.ladder(experiment, dataset))
    elif view == "spread":
        yield Block(figure=draw.spread(experiment, dataset))
        yield Block(table=make.spread(experiment, dataset))
    elif view == "budget":
        yield Block(figure=draw.budget(experiment, dataset))
        for protocol in dict.fromkeys(results.select("budgets", **where)[c.PROTOCOL]):
            yield Block(table=make.budget(experiment, dataset, protocol))
    if view not in ("table", "sweep"):
        return
    for protocol in results.values(c.PROTOCOL, **where):
        backbones = results.values(c.BACKBONE, **where, protocol=protocol)
        if view == "table":
            yield Block(figure=draw.gains(experiment, dataset, protocol))
        for part in [backbones] if view == "sweep" else [[name] for name in backbones]:
            folded = f"The numbers: {dataset}, protocol “{protocol}”" if view == "sweep" else ""
            yield Block(table=make.methods(experiment, dataset, protocol, part), folded=folded)


def _provenance(results: Results, make: Catalogue) -> Iterator[Block]:
    yield Block(table=make.environments(c.MAIN, "environments"))
    yield Block(table=make.costs())
    yield Block(table=make.runs(), folded="Every run, and what it cost")
    yield Block(table=make.digests(), folded="Digests of inputs and source code")
    others = make.environments("others", "environments-experiments")
    yield Block(table=others if len(others.frame) else None, folded="Where the experiments' other runs were made")


def _numbered(sections: Mapping[str, Sequence[Block]]) -> dict[str, list[Block]]:
    """The sections without blocks that have nothing to show; every panel's ids are made unique on the page."""
    number, numbered = 0, {}
    for name, blocks in sections.items():
        shown: list[Block] = []
        for block in blocks:
            if block.figure is not None:
                number += 1
                panels = [inline(panel, f"f{number}-{place}") for place, panel in enumerate(block.figure.panels)]
                block = replace(block, figure=replace(block.figure, panels=panels))
            if block.table or block.figure or block.anchor:
                shown.append(block)
        numbered[name] = shown
    return numbered


def _facts(results: Results) -> dict[str, str]:
    """The header's list: what was run, with what."""
    cells = results.select("cells", experiment=c.MAIN)
    encoders = dict.fromkeys(results.encoders(c.MAIN, name) for name in results.values(c.DATASET, experiment=c.MAIN))
    commits = sorted({str(commit)[:13] for commit in cells["commit"].dropna()})
    facts = {
        "Settings": plain(results.settings.get("name")),
        "Data": listed(results.values(c.DATASET, experiment=c.MAIN)),
        "Encoder": "; ".join(encoders),
        "Protocols": listed(results.values(c.PROTOCOL, experiment=c.MAIN)),
        "Backbones": listed([label(name) for name in results.values(c.BACKBONE, experiment=c.MAIN)]),
        "Methods": "; ".join(label(name) for name in results.values(c.METHOD, experiment=c.MAIN)),
        "Seeds": listed(sorted(results.values(c.SEED, experiment=c.MAIN))),
        "Runs": runs_done(cells),
        "Commit": listed(commits) or "no run",
    }
    if results.experiments:
        others = results.tables["cells"]
        others = others[others[c.EXPERIMENT] != c.MAIN].drop_duplicates(list(c.ADDRESS))
        facts["Experiments"] = f"{len(results.experiments)}, their runs: {runs_done(others)}"
    return facts


def runs_done(cells: pd.DataFrame) -> str:
    """`50 done of 54 expected, 3 diverged, 1 missing`."""
    counts = cells["status"].value_counts()
    lost = [f"{number} {status}" for status, number in counts.items() if status != c.DONE]
    return ", ".join([f"{counts.get(c.DONE, 0)} done of {len(cells)} expected", *lost])


def _records(results: Results, root: Path, out: Path) -> list[tuple[str, str]]:
    """Address and relative link of every run record that exists, each once."""
    cells = results.tables["cells"].drop_duplicates(list(c.ADDRESS))
    cells = cells[cells["status"] != "missing"]
    links = []
    for *folders, seed in cells[list(c.ADDRESS)].itertuples(index=False, name=None):
        address = "/".join([*folders, f"seed{seed}"])
        path = os.path.relpath((root / "runs" / address / c.RECORD).resolve(), out.resolve().parent)
        links.append((address, Path(path).as_posix()))
    return links


def _write_tables(sections: Mapping[str, Sequence[Block]], results: Results, root: Path, folder: Path) -> None:
    """CSV and LaTeX of every table, and every table of the statistics; what an earlier report left there goes."""
    tables = {f"{name}.csv": results.tables[name.removeprefix("all-")] for name in (f"all-{one}" for one in STATISTICS)}
    tables["all-datasets.csv"] = pd.json_normalize([dict(one) for one in results.summaries.values()])
    tables[f"{ALL_CURVES}.csv"] = read_parquet(root / "evaluation" / "curves.parquet")
    texts = {}
    for block in (block for blocks in sections.values() for block in blocks if block.table):
        assert block.table is not None
        tables[f"{block.table.name}.csv"] = block.table.frame
        texts[f"{block.table.name}.tex"] = to_latex(block.table)
    for name, frame in tables.items():
        write_csv(folder / name, frame)
    for name, text in texts.items():
        write_text(folder / name, text)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".csv", ".tex") and path.name not in {*tables, *texts}:
            path.unlink()
