"""Writes the stage's tidy tables and findings, from evaluation's tables and the runs' ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from iadsr.config.claims import Published
from iadsr.core import columns as c
from iadsr.core.files import write_json
from iadsr.evaluation.collect import DENOISED_COLUMNS, ENCODER_COLUMNS, MASK_COLUMNS
from iadsr.evaluation.drops import TYPES as DROP_TYPES
from iadsr.evaluation.runs import Address, Run
from iadsr.formats.statistics import FINDINGS, STATISTICS
from iadsr.formats.summary import read_summary
from iadsr.formats.tables import read_parquet, write_parquet
from iadsr.statistics import crossed, findings, summaries, views
from iadsr.statistics.claims import check_metrics, choose_title, judge_claims, list_by_verdict
from iadsr.statistics.compare import MISSING, SIGNIFICANCE, comparison_tables, read_scores
from iadsr.statistics.grids import Grid

ENVIRONMENT = ["commit", "dirty", "device", "threads", "machine", "versions"]
ENCODER = ["encoder", *ENCODER_COLUMNS, "encoder_options"]
DENOISED_METRICS = {name: metric for name, metric in DENOISED_COLUMNS.items() if name != "denoised_changed"}


def write_statistics(root: Path, grids: Sequence[Grid], find: Callable[[Address], Run], published: Published) -> None:
    """Write `formats.statistics.STATISTICS` and `FINDINGS` to `statistics/` below the results folder `root`.

    Args:
        find: reads a run that evaluation has scored.
        published: the paper, the claims to judge, and titles.

    Raises:
        DataError: a file of an earlier stage is missing or damaged, or compared runs rank different users.
    """
    evaluated = {
        name: read_parquet(root / "evaluation" / f"{name}.parquet", [*needs])
        for name, needs in {
            "runs": [*c.ADDRESS, "status", "reason"],
            "metrics": [*c.ADDRESS, c.RANKING, c.GROUP, c.METRIC, c.VALUE, c.USERS],
            "curves": [*c.ADDRESS, "epoch"],
            "keep": [*c.ADDRESS, "stage", c.GROUP, "keep", "inputs"],
            "drops": [*c.ADDRESS, *DROP_TYPES],
            "inputs": [*c.ADDRESS, "name", "digest"],
            "popularity": [c.DATASET, c.RANKING, c.METRIC, c.VALUE, c.USERS],
        }.items()
    }
    known = {Address(*key) for key in evaluated["runs"][list(c.ADDRESS)].itertuples(index=False, name=None)}
    expected = dict.fromkeys(cell for grid in grids for cell in grid.cells)
    scores = {cell: read_scores(find(cell)) for cell in expected if cell in known}
    facts = {name: read_summary(root, name) for name in dict.fromkeys(cell.dataset for cell in expected)}
    compared = comparison_tables(grids, scores, published.paper.sought)
    tables, found = derive_tables(grids, evaluated, compared, facts, published)
    for name in STATISTICS:
        write_parquet(root / "statistics" / f"{name}.parquet", tables[name])
    write_json(root / "statistics" / FINDINGS, found | {"unexpected_runs": len(known - set(expected))})


def derive_tables(
    grids: Sequence[Grid],
    evaluated: Mapping[str, pd.DataFrame],
    compared: Mapping[str, pd.DataFrame],
    facts: Mapping[str, Mapping[str, Any]],
    published: Published,
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Make the other tables from the comparisons: by the names of `formats.statistics.STATISTICS`, and the findings.

    Args:
        evaluated: evaluation's tables by name.
        compared: tables of comparisons by name.
        facts: each dataset's summary.
        published: the paper, the claims to judge, and titles.
    """
    paper = published.paper
    check_metrics(paper.metrics, "the paper of the claims")
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in STATISTICS}
    comparisons, metrics, curves = compared["comparisons"], evaluated["metrics"], evaluated["curves"]
    for grid in grids:
        cells = summaries.expected_cells(grid, evaluated["runs"])
        parts["cells"].append(cells)
        parts["sides"].append(summaries.side_states(cells, grid.baseline))
        parts["metrics"].append(summaries.metric_summaries(grid, cells, metrics, evaluated["popularity"]))
        figures = [*MASK_COLUMNS, *DENOISED_COLUMNS]
        parts["quantities"].append(summaries.run_summaries(cells, curves, figures, grid.baseline))
        parts["keep"].append(summaries.keep_summaries(cells, evaluated["keep"]))
        if grid.name == c.MAIN:
            parts["drops"].append(summaries.first_drops(cells, evaluated["drops"]))
        parts["denoised"].append(summaries.denoised_targets(cells, metrics, DENOISED_METRICS))
        parts["detections"].append(views.detections(cells))
        parts["tails"].append(summaries.head_for_tail(grid, cells, metrics))
        parts["curves"].append(views.curve_means(cells, curves))
        if grid.view == "ladder":
            parts["rungs"].append(views.rung_factors(grid, cells, metrics))
        if grid.view == "spread":
            parts["spreads"].append(views.spreads(grid, cells, metrics))
        if grid.view == "budget":
            parts["budgets"].append(views.budget_changes(grid, cells))
    tables = {name: _stacked(name, own) for name, own in parts.items()} | {**compared}
    gains, sds = findings.main_gains(comparisons, tables["metrics"], paper.method)
    clear = [
        views.clear_gains(spread, gains, sds).assign(**{c.EXPERIMENT: name})
        for name, spread in tables["spreads"].groupby(c.EXPERIMENT, sort=False)
    ]
    tables["clear_gains"] = _stacked("clear_gains", clear)
    tables["verdicts"] = judge_claims(published.claims, tables, paper.sought)
    tables |= provenance(tables["cells"], evaluated["inputs"])
    floors = findings.release_floors(grids, tables["metrics"])
    return tables, {
        "title": choose_title(published.titles, tables["verdicts"]),
        "by_verdict": list_by_verdict(published.claims, tables["verdicts"]),
        "tallies": findings.tallies(comparisons, floors, paper.sought),
        "protocol_effects": findings.protocol_effects(comparisons, paper.method),
        "above_popular": findings.above_popular(tables["metrics"]),
        "floors": floors,
        "mask_learning": findings.mask_learning(tables["cells"], paper.method),
        "noise_finders": findings.noise_finders(tables["detections"]),
        "ladders": [
            row for grid in grids if grid.view == "ladder" for row in findings.ladder_ends(grid, tables["metrics"])
        ],
        "warnings": [
            *findings.warnings(tables["cells"], tables["metrics"], tables["budgets"], facts, published),
            *findings.uneven_runs(comparisons, paper.metrics),
        ],
        "level": crossed.LEVEL,
        "power": crossed.POWER,
        "margin": crossed.MARGIN,
        "significance": SIGNIFICANCE,
        "tolerance": views.TOLERANCE,
        "paper": paper.model_dump(),
    }


def _stacked(name: str, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Stack the experiments' tables; without any, make an empty one with its columns."""
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(STATISTICS[name]))


def provenance(cells: pd.DataFrame, inputs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Count the `runs` of each distinct environment, input digest and encoder.

    Environments are given for the main experiment and for all further runs (`part` main, others), digests for the main
    experiment, encoders for each experiment.
    """
    ran = cells[cells["status"] != MISSING]
    first = ran.drop_duplicates(list(c.ADDRESS))  # the main experiment leads
    first = first.assign(part=first[c.EXPERIMENT].where(first[c.EXPERIMENT] == c.MAIN, "others"))
    main = first.loc[first["part"] == c.MAIN, list(c.ADDRESS)]
    digests = inputs.merge(main, on=list(c.ADDRESS))
    read = ran[ran["encoder"].notna()]
    texts = read.groupby(
        [c.EXPERIMENT, c.DATASET, *(name for name in ENCODER if name != "encoder_text_digest")], sort=False
    )
    encoders = texts.agg(
        text_digests=("encoder_text_digest", lambda own: ", ".join(sorted(set(own)))), runs=(c.SEED, "size")
    )
    encoders = encoders.reset_index()
    return {
        "environments": counted(first, ["part", *ENVIRONMENT]),
        "digests": counted(digests, [c.DATASET, "name", "digest"]),
        "encoders": encoders.assign(details=_details(encoders)),
    }


def _details(encoders: pd.DataFrame) -> list[str]:
    """Tell encoders apart by model and changed options, and by revision where two would else be called alike."""
    names = ["encoder_model", "encoder_options"]
    revisions = encoders.groupby(names, dropna=False)["encoder_revision"].nunique(dropna=False)
    told = []
    for row in encoders.to_dict("records"):
        details = [str(row[name]) for name in names if row[name]]
        if revisions[row["encoder_model"], row["encoder_options"]] > 1 and row["encoder_revision"]:
            details.append(f"revision {row['encoder_revision']}")
        told.append(", ".join(details))
    return told


def counted(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Count the distinct rows of `keys`, as `runs`."""
    return table.groupby(list(keys), sort=False, dropna=False).size().rename("runs").reset_index()
