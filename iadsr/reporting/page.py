"""The page: puts sentences, tables and figures in order and writes one self-contained HTML file with its downloads."""

from __future__ import annotations

import base64
import hashlib
import inspect
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import pandas as pd
from markupsafe import Markup

from iadsr.core import columns as c
from iadsr.core.errors import DataError
from iadsr.core.files import reading, write_text
from iadsr.formats.markdown import literal
from iadsr.formats.statistics import STATISTICS
from iadsr.formats.tables import read_parquet, visible, write_csv
from iadsr.reporting import format as formats
from iadsr.reporting.catalogue import MASKS, Catalogue
from iadsr.reporting.charts import inline
from iadsr.reporting.dictionary import describe_columns
from iadsr.reporting.pictures import Pictures
from iadsr.reporting.results import Results, load
from iadsr.reporting.tables import VERDICT_TONES, Table, to_latex

ALL_CURVES = "curves-all"  # every epoch of every run with everything that was logged, as a download
RELIABILITY = "reliability.csv"  # a page source, written by a simulation


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
    environment = make_environment(templates, results.label, results=results, defects=captions["defects"])
    words = environment.get_template("wording.j2").module
    make = Catalogue(results, captions["tables"], words)
    simulated = read_reliability(templates / RELIABILITY)
    claims = make.claims()
    tables: list[Table] = []  # that the page shows
    downloads = _downloads(results, root) | {"all-reliability": simulated}
    template = environment.get_template("page.html.j2")
    with mpl.rc_context(fname=templates / "figures.mplstyle"):
        page = template.render(
            claims=claims,
            style=Markup((templates / "style.css").read_text(encoding="utf-8")),
            script=Markup((templates / "sort.js").read_text(encoding="utf-8")),
            simulated=simulated,
            tables=tables,
            figures=[],
            make=make,
            draw=Pictures(results, captions["figures"], words, captions["figure-titles"]),
            captions=captions,
            results=results,
            f=results.findings,
            rankings=c.RANKINGS,
            runs=os.path.relpath((root / "runs").resolve(), out.resolve().parent),
            downloads=list(downloads),
        )
    dictionary = describe_columns(meanings, downloads, results.numbers)
    latex = (templates / "table.tex").read_text(encoding="utf-8")
    texts = {f"{table.name}.tex": to_latex(table, latex) for table in tables}
    texts["claims.md"] = environment.get_template("claims.md.j2").render(table=claims, title=results.findings["title"])
    frames = {table.name: table.frame for table in tables} | downloads | {"columns": dictionary}
    _write_tables(frames, texts, out.parent / "tables")
    write_text(out, visible(page))


def _source(templates: Path, name: str) -> Mapping[str, Mapping[str, str]]:
    path = templates / name
    if not path.is_file():
        raise DataError(f"{path} is missing: `templates` must be the folder of the report's page sources")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def read_reliability(path: Path) -> pd.DataFrame:
    """Read what `benchmarks/reliability.py` found: shares by metric, number of seeds and their standard deviation.

    Raises:
        DataError: the file is missing or damaged.
    """
    with reading(path):
        return pd.read_csv(path).astype({"seeds": "int64", "seed_sd": "float64"})


def integrity(script: str) -> str:
    """Return the source expression by which a page's security policy allows this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def make_environment(templates: Path, label: Callable[[str], str], **known: object) -> jinja2.Environment:
    """Make what renders the page sources: HTML escaped, all else as it is. The functions of `format.py` are filters.

    Args:
        label: names anything for a reader.
        known: what else the sources may name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= dict(inspect.getmembers(formats, inspect.isfunction))
    environment.filters |= {"label": label, "quoted": "“{}”".format, "literal": literal, "tone": VERDICT_TONES.get}
    environment.filters |= {"integrity": integrity, "inline": lambda panel, name: Markup(inline(panel, name))}
    environment.globals |= {**known, "nothing": formats.NOTHING, "quantities": MASKS}
    return environment


def _downloads(results: Results, root: Path) -> dict[str, pd.DataFrame]:
    """Collect the tables that the page selects from, by the names of their files."""
    tables = {f"all-{name}": results.tables[name] for name in STATISTICS}
    tables["all-datasets"] = pd.json_normalize([dict(one) for one in results.summaries.values()])
    return tables | {ALL_CURVES: read_parquet(root / "evaluation" / "curves.parquet", [*c.ADDRESS, "epoch"])}


def _write_tables(tables: Mapping[str, pd.DataFrame], texts: Mapping[str, str], folder: Path) -> None:
    """Write tables as CSV, and texts by the names of their files. What an earlier report left goes."""
    for name, frame in tables.items():
        write_csv(folder / f"{name}.csv", frame)
    for name, text in texts.items():
        write_text(folder / name, text)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".csv", ".tex", ".md") and path.name not in {*(f"{name}.csv" for name in tables), *texts}:
            path.unlink()
