"""The page: gathers results, words, tables and figures, and writes one self-contained HTML file with its downloads."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from iadsr.core.columns import ADDRESS, DATASET, PROTOCOL, SEED
from iadsr.core.errors import DataError
from iadsr.core.files import write_text
from iadsr.formats.tables import visible, write_csv
from iadsr.reporting import diagnostics, figures, tables
from iadsr.reporting.answer import Answer, Comparisons, answer, untrained_warnings
from iadsr.reporting.budgets import budget_warnings
from iadsr.reporting.drawing import styles
from iadsr.reporting.experiment import Experiment, experiments_of
from iadsr.reporting.experiments import experiment_blocks
from iadsr.reporting.latex import to_latex
from iadsr.reporting.layout import Block, Section
from iadsr.reporting.load import Results, Scores, done_only, load_all, lost_counts, rankings
from iadsr.reporting.words import label, listed, plain

ALL_TESTS = "tests-all"  # every comparison, as a download only: a page cannot show some hundred rows usefully
EXPERIMENT_TESTS = "tests-experiments"
ALL_CURVES = "curves-all"  # every epoch of every run with every figure, of experiments too
_DOWNLOADS = (".csv", ".tex")


def build_report(
    root: Path,
    cells: Sequence[tuple[str, str, str, str, int]],
    settings: Mapping[str, Any],
    templates: Path,
    out: Path,
    experiments: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the report to `out` and its tables to `tables/` beside it.

    `cells` are the expected addresses (dataset, protocol, backbone, method, seed) of the main grid; those without
    results are shown as missing. `experiments` are further grids by name, each with `title`, `question`, `view` (table,
    sweep, ladder, spread or budget), `baseline`, `cells`, for a sweep `points` (method -> swept value) and `option`,
    and for a budget `pairs` of protocols, the second with more steps; they have a section of their own, and every other
    one shows the main grid alone. `settings` describes the run: `name`, `protocols` (protocol -> objective, loss,
    length, budget, `ranking` "excluded" or "kept", ...), `datasets` (dataset -> what its file says in words) and
    anything else worth showing. `templates` is the folder of page sources.
    Raises ConfigError without cells, DataError if a file is absent that an earlier stage must have written. The same
    inputs give the same bytes.
    """
    given = experiments or {}
    cells_of = {name: described["cells"] for name, described in given.items()}
    results, grids = load_all(root, cells, cells_of, settings.get("datasets"))
    further = experiments_of(given, grids, settings)
    compared = Comparisons(results)
    said = answer(results, compared, settings)
    untrained = untrained_warnings(_cells_of([results, *(item.results for item in further)]))
    said = replace(said, warnings=[*untrained, *said.warnings, *budget_warnings(further)])
    captions = _captions(templates)
    sections = _sections(results, compared, further, settings, captions)
    page = _render(templates, results, said, sections, further, settings, out)
    _write_tables(sections, results, further, out.parent / "tables")
    write_text(out, visible(page))


def _captions(templates: Path) -> Mapping[str, Mapping[str, str]]:
    path = templates / "captions.toml"
    if not path.is_file():
        raise DataError(f"{path} is missing: `templates` must be the folder of the report's page sources")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _sections(
    results: Results,
    compared: Comparisons,
    further: Sequence[Experiment],
    settings: Mapping[str, Any],
    captions: Mapping[str, Mapping[str, str]],
) -> list[Section]:
    numbers = count(1)
    scores = Scores(results.metrics)
    made = {
        "evidence": _answer_blocks(results, compared, settings, numbers),
        "data": _data_blocks(results, settings),
        "results": _overall_blocks(results, settings),
        "effects": _effect_blocks(results, compared, settings, numbers),
        "tests": _test_blocks(results, compared, settings),
        "popularity": _popularity_blocks(results, settings, numbers),
        "training": _training_blocks(results, numbers),
        "masks": _mask_blocks(results, compared, scores, settings, numbers),
        **({"experiments": experiment_blocks(further, results, numbers)} if further else {}),
        "provenance": _provenance_blocks(results, further),
    }
    return [
        Section(
            name,
            captions["titles"][name],
            captions["intros"][name],
            [_captioned(block, captions["figures"]) for block in blocks],
        )
        for name, blocks in made.items()
    ]


def _captioned(block: Block, captions: Mapping[str, str]) -> Block:
    if block.figure is None:
        return block
    text = captions[block.figure.kind]
    return replace(block, figure=replace(block.figure, caption=f"{text} {block.figure.caption}".strip()))


def _answer_blocks(
    results: Results, compared: Comparisons, settings: Mapping[str, Any], numbers: Iterator[int]
) -> list[Block]:
    drawn = [
        figures.answer_figure(results, compared, settings, name, next(numbers)) for name in results.values(DATASET)
    ]
    return [
        *(Block(figure=figure) for figure in drawn),
        Block(table=tables.answer_table(results, compared, settings)),
    ]


def _data_blocks(results: Results, settings: Mapping[str, Any]) -> list[Block]:
    rest = {key: value for key, value in settings.items() if key not in ("protocols", "datasets", "tuned")}
    return [
        Block(table=tables.dataset_table(results.summaries)),
        Block(table=tables.encoder_table(results.encoders)),
        Block(table=tables.protocol_table(settings.get("protocols", {}), results.values(PROTOCOL))),
        *([Block(table=tables.tuned_table(tuned))] if (tuned := settings.get("tuned")) else []),
        Block(table=tables.settings_table(rest), folded="All other settings of this run"),
    ]


def _overall_blocks(results: Results, settings: Mapping[str, Any]) -> list[Block]:
    blocks = []
    for dataset in results.values(DATASET):
        for protocol in results.values(PROTOCOL, dataset=dataset):
            for ranking in rankings(protocol, settings):
                heading = f"{dataset}, protocol “{protocol}”, {label(ranking)}"
                blocks.append(Block(heading, table=tables.overall_table(results, settings, dataset, protocol, ranking)))
            beside = tables.beside_table(results, settings, dataset, protocol)
            if beside is not None:
                blocks.append(Block(f"{dataset}, protocol “{protocol}”, coverage and ties", table=beside))
    return blocks


def _effect_blocks(
    results: Results, compared: Comparisons, settings: Mapping[str, Any], numbers: Iterator[int]
) -> list[Block]:
    blocks = []
    for dataset in results.values(DATASET):
        blocks.append(Block(figure=figures.effect_figure(results, compared, settings, dataset, next(numbers))))
        blocks.append(Block(table=tables.effects_table(results, compared, settings, dataset)))
    return blocks


def _test_blocks(results: Results, compared: Comparisons, settings: Mapping[str, Any]) -> list[Block]:
    return [
        Block(
            f"{dataset}, protocol “{protocol}”",
            table=tables.tests_table(results, compared, settings, dataset, protocol),
        )
        for dataset in results.values(DATASET)
        for protocol in results.values(PROTOCOL, dataset=dataset)
    ]


def _popularity_blocks(results: Results, settings: Mapping[str, Any], numbers: Iterator[int]) -> list[Block]:
    blocks = []
    for dataset in results.values(DATASET):
        blocks.append(Block(figure=figures.popularity_figure(results, settings, dataset, next(numbers))))
        for protocol in results.values(PROTOCOL, dataset=dataset):
            blocks.append(Block(table=tables.groups_table(results, settings, dataset, protocol)))
        methods = figures.main_methods(results, dataset)
        kept = diagnostics.kept_methods(results, dataset, methods)
        if kept:
            name, look = diagnostics.table_name("", "kept", dataset), styles(methods)
            blocks.append(Block(figure=diagnostics.kept_figure(results, dataset, next(numbers), kept, look)))
            blocks.append(Block(table=diagnostics.kept_table(results, dataset, kept, name)))
    return blocks


def _training_blocks(results: Results, numbers: Iterator[int]) -> list[Block]:
    drawn = [
        Block(figure=draw(results, dataset, next(numbers)))
        for dataset in results.values(DATASET)
        for draw in (figures.validation_figure, figures.loss_figure)
    ]
    return [*drawn, Block(table=tables.logged_table(results))]


def _mask_blocks(
    results: Results, compared: Comparisons, scores: Scores, settings: Mapping[str, Any], numbers: Iterator[int]
) -> list[Block]:
    pulls = tables.pulls_table(results)
    blocks = [Block(table=table) for table in (tables.mask_table(results.cells), pulls) if table]
    datasets = results.values(DATASET)
    blocks += [Block(figure=figures.mask_figure(results, dataset, next(numbers))) for dataset in datasets]
    for dataset in datasets:
        methods = figures.main_methods(results, dataset)
        traced = diagnostics.traced_methods(results, dataset, methods)
        if traced:
            figure = diagnostics.curves_figure(results, dataset, next(numbers), traced, styles(methods))
            blocks.append(Block(figure=figure))
            name = diagnostics.table_name("", "signature", dataset)
            table = diagnostics.signature_table(
                results, compared, scores, settings, dataset, results.methods(dataset=dataset), name
            )
            blocks.append(Block(table=table))
        inflated = diagnostics.inflated_methods(results, dataset, results.methods(dataset=dataset))
        if inflated:
            name = diagnostics.table_name("", "denoised-target", dataset)
            blocks.append(Block(table=diagnostics.inflated_table(results, scores, dataset, inflated, name)))
    return blocks


def _provenance_blocks(results: Results, further: Sequence[Experiment]) -> list[Block]:
    made = [
        Block(table=tables.environment_table(results.records.values())),
        Block(table=tables.cost_by_method_table(results.cells)),
        Block(table=tables.cost_table(results.cells), folded="Every run, and what it cost"),
        Block(table=tables.digest_table(results), folded="Digests of inputs and source code"),
    ]
    beside = {address: item for one in further for address, item in one.results.records.items()}
    beside = {address: item for address, item in beside.items() if address not in results.records}
    if beside:
        table = tables.environment_table(beside.values(), "environments-experiments")
        made.append(Block(table=table, folded="Where the experiments' other runs were made"))
    return made


def _render(
    templates: Path,
    results: Results,
    said: Answer,
    sections: Sequence[Section],
    further: Sequence[Experiment],
    settings: Mapping[str, Any],
    out: Path,
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["svg"] = Markup  # panels come from figures.py, which escapes their text
    style = Markup((templates / "style.css").read_text(encoding="utf-8"))
    return environment.get_template("page.html.j2").render(
        style=style,
        answer=said,
        sections=sections,
        facts=_facts(results, further, settings),
        records=_records([results, *(item.results for item in further)], out),
        datasets=listed(results.values(DATASET)),
        all_tests=ALL_TESTS,
        experiment_tests=EXPERIMENT_TESTS,
        all_curves=ALL_CURVES,
    )


def _facts(results: Results, further: Sequence[Experiment], settings: Mapping[str, Any]) -> dict[str, str]:
    """The header's list: what was run, with what."""
    commits = {
        str((record.get("commit") or {}).get("hash") or "none recorded")[:13] for record in results.records.values()
    }
    encoders = [f"{name}: {tables.encoder_text(results, name)}" for name in results.values(DATASET)]
    texts = list(dict.fromkeys(text.split(": ", 1)[1] for text in encoders))
    return {
        "Settings": plain(settings.get("name")),
        "Data": listed(results.values(DATASET)),
        "Encoder": texts[0] if len(texts) == 1 else "; ".join(encoders),
        "Protocols": listed(results.values(PROTOCOL)),
        "Backbones": listed([label(name) for name in results.values("backbone")]),
        "Methods": "; ".join(label(name) for name in results.methods()),
        "Seeds": listed([str(seed) for seed in sorted(results.values(SEED))]),
        "Runs": _runs(results.cells),
        "Commit": listed(sorted(commits)) or "no run",
        **({"Experiments": _experiment_fact(further)} if further else {}),
    }


def _experiment_fact(further: Sequence[Experiment]) -> str:
    """How many experiments there are, and how many of their runs are done, each counted once."""
    return f"{len(further)}, their runs: {_runs(_cells_of([item.results for item in further]))}"


def _cells_of(grids: Sequence[Results]) -> pd.DataFrame:
    """The cells of several grids, each once."""
    return pd.concat([grid.cells for grid in grids]).drop_duplicates(list(ADDRESS))


def _runs(cells: pd.DataFrame) -> str:
    """`50 done of 54 expected, 3 diverged, 1 missing`."""
    return ", ".join([f"{len(done_only(cells))} done of {len(cells)} expected", *lost_counts(cells)])


def _records(grids: Sequence[Results], out: Path) -> list[tuple[str, str]]:
    """Address and relative link of every run record that exists, each once."""
    start = out.resolve().parent
    paths = {address: results.record_paths[address] for results in grids for address in results.records}
    return [
        ("/".join([*address[:4], f"seed{address[4]}"]), Path(os.path.relpath(path.resolve(), start)).as_posix())
        for address, path in paths.items()
    ]


def _write_tables(sections: Sequence[Section], results: Results, further: Sequence[Experiment], folder: Path) -> None:
    """CSV and LaTeX of every table; what an earlier report left there goes."""
    kept = {ALL_TESTS, ALL_CURVES}
    curves = pd.concat([results.curves, *(item.results.curves for item in further)])
    write_csv(folder / f"{ALL_CURVES}.csv", curves.drop_duplicates([*ADDRESS, "epoch"]))
    write_csv(folder / f"{ALL_TESTS}.csv", results.comparisons.drop(columns="experiment"))
    if further:
        kept.add(EXPERIMENT_TESTS)
        write_csv(folder / f"{EXPERIMENT_TESTS}.csv", pd.concat([item.results.comparisons for item in further]))
    for section in sections:
        for block in section.blocks:
            if block.table is not None:
                kept.add(block.table.name)
                write_csv(folder / f"{block.table.name}.csv", block.table.frame)
                write_text(folder / f"{block.table.name}.tex", to_latex(block.table))
    for path in sorted(folder.iterdir()):
        if path.suffix in _DOWNLOADS and path.stem not in kept:
            path.unlink()
