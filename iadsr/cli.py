"""`iadsr`: one subcommand for each stage. The workflow's rules call them, and so can you."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from iadsr.config.cell import Cell
from iadsr.config.claims import load_claims
from iadsr.config.datasets import Size, dataset_file, load_spec
from iadsr.config.encoder_spec import EncoderSpec
from iadsr.config.encoders import embeddings_name, parse_encoder
from iadsr.config.fields import Texts
from iadsr.config.reuse import earlier_than
from iadsr.config.run import TUNING_SEED, RunConfig, distinct, load_run, pick
from iadsr.core.columns import (
    DATASET,
    ITEM,
    PROTOCOL,
    RANKS,
    RECORD,
    TEXT,
    TIMESTAMP,
    USER,
)
from iadsr.core.errors import ConfigError, DataError, IadsrError, one_line, suggest
from iadsr.describe import describe_experiments, describe_run
from iadsr.machine.faults import SMALLER, explain, is_out_of_memory
from iadsr.machine.termination import STATUS, Terminated, raise_on_sigterm
from iadsr.plan import plan

if TYPE_CHECKING:
    from iadsr.statistics.grids import Grid

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

CONFIG_FOLDER = Path(__file__).resolve().parent.parent / "workflow" / "config"
TEMPLATES = Path(__file__).resolve().parent.parent / "report"

ARCHIVE = CONFIG_FOLDER.parent.parent / "results" / "reference"

ConfigOption = Annotated[Path, typer.Option("--config", help="A run file.", show_default=True)]
DEFAULT = CONFIG_FOLDER / "laptop.yaml"


def _known_dataset(name: str) -> str:
    dataset_file(CONFIG_FOLDER, name, "--dataset")
    return name


DatasetOption = Annotated[
    str,
    typer.Option("--dataset", help="A dataset's name.", callback=_known_dataset),
]
EmbeddingOption = Annotated[
    str,
    typer.Option("--name", help="File name without suffix, such as minilm-shuffled; default: the run's encoder."),
]


ArchiveOption = Annotated[Path, typer.Option(help="The folder of archived runs.", show_default=False)]


def _read(config: Path) -> RunConfig:
    run = load_run(config)
    mirror = os.environ.get("IADSR_MIRROR")
    return run.model_copy(update={"mirror": os.path.expanduser(mirror)}) if mirror else run


@app.command()
def datasets(dataset: DatasetOption, config: ConfigOption = DEFAULT) -> None:
    """Obtain a dataset's files, verify them, and write its interactions, items and summary."""
    from iadsr.datasets.prepare import build

    run = _read(config)
    root = Path(run.results)
    spec = load_spec(dataset_file(CONFIG_FOLDER, dataset, "--dataset"))
    build(spec, root / "data" / dataset, root / "raw" / dataset, run.mirror)


@app.command()
def embeddings(
    dataset: DatasetOption,
    name: EmbeddingOption = "",
    config: ConfigOption = DEFAULT,
) -> None:
    """Encode a dataset's item names, or what a method puts in their place."""
    from iadsr.embeddings.store import embed
    from iadsr.machine.disk import check_writable

    run = _read(config)
    folder = Path(run.results) / "embeddings" / dataset
    check_writable(folder)  # before a model of gigabytes is loaded
    wanted, spec, names, variant = _to_embed(run, dataset, name)
    embed(names, spec, folder / f"{wanted}.safetensors", run.device, variant)


@app.command()
def prefixes(
    dataset: DatasetOption,
    name: EmbeddingOption = "",
    config: ConfigOption = DEFAULT,
) -> None:
    """Encode the joined names of every history's beginning, for methods with `interest_text: prefixes`."""
    from iadsr.embeddings.encoder import make_encoder
    from iadsr.embeddings.prefixes import distinct_prefixes
    from iadsr.embeddings.store import embed_with
    from iadsr.embeddings.texts import vary_texts
    from iadsr.formats.embeddings import describe_source, texts_digest
    from iadsr.machine.disk import check_writable
    from iadsr.sequences.split import load_sequences
    from iadsr.sequences.text_rows import save_text_rows

    run = _read(config)
    root = Path(run.results)
    folder = root / "prefixes" / dataset
    check_writable(folder)
    wanted, spec, names, variant = _to_embed(run, dataset, name)
    sequences = load_sequences(root / "sequences" / dataset / "sequences.npz")
    encoder = make_encoder(spec, run.device)
    texts, rows = distinct_prefixes(vary_texts(names, variant), sequences.items, sequences.offsets, encoder)
    logging.getLogger("iadsr.embeddings").info("%s: %d texts, %d of them distinct", dataset, len(rows), len(texts))
    source = describe_source(spec, names, variant)
    embed_with(texts, encoder, folder / f"{wanted}.safetensors", source, device=run.device)
    save_text_rows(folder / f"{wanted}.npz", rows, sequences, texts_digest(texts))


@app.command()
def sequences(dataset: DatasetOption, config: ConfigOption = DEFAULT) -> None:
    """Sort interactions into one sequence per user."""
    from iadsr.core.files import reading
    from iadsr.formats.tables import read_catalogue, read_parquet
    from iadsr.sequences.split import build_sequences, save_sequences

    root = Path(_read(config).results)
    data = root / "data" / dataset
    items = read_catalogue(data / "items.parquet")
    interactions = read_parquet(data / "interactions.parquet", [USER, ITEM, TIMESTAMP])
    with reading(data / "interactions.parquet"):
        built = build_sequences(interactions, items)
    save_sequences(root / "sequences" / dataset / "sequences.npz", built)


@app.command()
def train(
    address: Annotated[str, typer.Argument(help="dataset/protocol/backbone/method/seedN")],
    config: ConfigOption = DEFAULT,
) -> None:
    """Train, score and record one cell of the grid; a killed run goes on where it stopped."""
    from iadsr.training.run import run_cell

    run = _read(config)
    cells = distinct(plan(run, CONFIG_FOLDER))
    cell = pick(cells, address)
    run_cell(cell, Path(run.results), run.device, run.threads, earlier_than(cell, cells))


@app.command()
def tune(
    dataset: DatasetOption,
    protocol: Annotated[str, typer.Option(help="One of the run's that has `tuned`.")],
    backbone: Annotated[str, typer.Option(help="One of the run's.")],
    method: Annotated[str, typer.Option(help="One of the run's main grid.")],
    trials: Annotated[int | None, typer.Option(help="Instead of the run file's number.", min=1)] = None,
    config: ConfigOption = DEFAULT,
) -> None:
    """Search a method's settings and options on validation; a killed search goes on where it stopped."""
    from iadsr.tuning.search import run_search

    run = _read(config)
    address = f"{dataset}/{protocol}/{backbone}/{method}/seed{TUNING_SEED}"
    run_search(run, CONFIG_FOLDER, pick(run.searches(CONFIG_FOLDER), address), trials or run.trials)


@app.command()
def adopt(
    trials: Annotated[int | None, typer.Option(help="Keep the first N of each search.", min=1)] = None,
    config: ConfigOption = DEFAULT,
) -> None:
    """Copy the run's searches into the committed tables of trials, and the best values into the tuned values."""
    from iadsr.tuning.adopt import adopt_searches

    run = _read(config)
    for path in adopt_searches(run, CONFIG_FOLDER, trials):
        typer.echo(f"wrote {path}")


@app.command()
def evaluate(config: ConfigOption = DEFAULT) -> None:
    """Turn every run's ranks into metrics, and find those of the most popular items."""
    from iadsr.evaluation.collect import collect
    from iadsr.evaluation.metrics import add_metrics
    from iadsr.evaluation.popularity import write_popularity
    from iadsr.evaluation.runs import read_runs

    run = _read(config)
    add_metrics(run.metrics)
    root = Path(run.results)
    names = {name: _item_names(root, name) for name in run.all_datasets}
    sizes = {name: len(own) for name, own in names.items()}
    collect(read_runs(root / "runs" / cell.address for cell in _cells(run)), sizes, root / "evaluation", names)
    write_popularity({name: root / "sequences" / name / "sequences.npz" for name in sizes}, root / "evaluation")


@app.command("statistics")
def decide(config: ConfigOption = DEFAULT) -> None:
    """Test every method against its baselines, and summarise what the runs reached."""
    from iadsr.evaluation.metrics import add_metrics
    from iadsr.evaluation.runs import runs_below
    from iadsr.statistics.write import write_statistics

    run = _read(config)
    add_metrics(run.metrics)
    write_statistics(Path(run.results), _grids(run), runs_below(Path(run.results)), load_claims(CONFIG_FOLDER))


@app.command()
def report(config: ConfigOption = DEFAULT) -> None:
    """Render results/report/index.html and its tables."""
    run = _read(config)
    _report(run, Path(run.results))


@app.command()
def claims(
    config: ConfigOption = DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every number.")] = False,
    results: Annotated[Path | None, typer.Option(help="Of this results folder; default: the run file's.")] = None,
) -> None:
    """Print the verdict on each published claim; exit with 3 if one that was judged does not hold."""
    from iadsr.formats.statistics import STATISTICS
    from iadsr.formats.tables import read_parquet
    from iadsr.statistics.claims import REFUTED
    from iadsr.terminal import print_verdicts

    root = results or Path(_read(config).results)
    if not (path := root / "statistics" / "verdicts.parquet").is_file():
        raise DataError(
            f"there are no verdicts in {root}: `make evidence` makes those of the archive, for "
            "`--results results/recomputed/laptop`; a run's own come with its report"
        )
    table = read_parquet(path, STATISTICS["verdicts"])
    whole = table.loc[table[PROTOCOL] == "", "verdict"]
    if as_json:
        typer.echo(table.to_json(orient="records", indent=2))
    else:
        known = {claim.id: claim for claim in load_claims(CONFIG_FOLDER).claims}
        if not known.keys() >= set(table["claim"]):
            raise DataError(f"{root} was judged by other claims; make its statistics anew")
        print_verdicts(table, known, TEMPLATES)
    raise typer.Exit(3 if whole.isin(REFUTED).any() else 0)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A results folder, or an archive of runs.")],
    second: Annotated[Path, typer.Argument(help="The reference; default: the archive.", show_default=False)] = ARCHIVE,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every number.")] = False,
) -> None:
    """Tell whether the runs of two folders agree; exit with 3 if seeds and machines do not explain a difference."""
    from iadsr.evaluation.archive import read_folder
    from iadsr.statistics.agreement import EXPLAINED, LEVEL, SeedGroup, group_seeds, judge_agreement
    from iadsr.terminal import print_agreement

    sets = read_folder(first), read_folder(second)
    table = judge_agreement(*sets)
    if table.empty:
        raise DataError(f"{first} and {second} have no cell in common")
    if as_json:
        typer.echo(table.to_json(orient="records", indent=2))
    else:
        print_agreement(table)
        places = {SeedGroup(*map(str, row)) for row in table[list(SeedGroup._fields)].itertuples(index=False)}
        for folder, runs in zip((first, second), sets, strict=True):
            if alone := len(group_seeds(runs).keys() - places):
                typer.echo(f"{alone} cells are in {folder} only and not compared")
        good = table["verdict"].isin(EXPLAINED).groupby([table[name] for name in SeedGroup._fields]).all()
        typer.echo(
            f"{good.sum()} of {len(good)} cells agree; where all do and their seeds spread alike, this is said in "
            f"{1 - LEVEL:.0%} of cases"
        )
    raise typer.Exit(0 if table["verdict"].isin(EXPLAINED).all() else 3)


@app.command()
def power(
    folder: Annotated[Path, typer.Argument(help="A results folder, or an archive of runs.")] = ARCHIVE,
    config: ConfigOption = DEFAULT,
    seeds: Annotated[str, typer.Option(help="Numbers of seeds to forecast for.")] = "3,5,10,20",
    metric: Annotated[list[str], typer.Option(help="Repeat it for several.")] = ["NDCG@10"],  # noqa: B006
    each: Annotated[bool, typer.Option("--each-backbone", help="Not only on average over them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every number.")] = False,
) -> None:
    """Forecast from pilot runs which gains other numbers of seeds would find, and how many find the one claimed."""
    from iadsr.evaluation.archive import read_folder, select_runs
    from iadsr.evaluation.metrics import METRICS, add_metrics
    from iadsr.statistics.compare import read_scores
    from iadsr.statistics.power import forecast
    from iadsr.terminal import print_forecast

    run = _read(config)
    add_metrics(run.metrics)
    metric = list(dict.fromkeys(metric))
    for name in metric:
        if name not in METRICS:
            raise ConfigError(f"--metric: there is no metric '{name}'; {suggest(name, METRICS)}")
    numbers = [int(word) if word.strip().isdecimal() else 0 for word in seeds.split(",")]
    numbers = list(dict.fromkeys(numbers))
    if min(numbers) < 2:
        raise ConfigError(f"--seeds must be whole numbers from 2 on, such as 3,5,10, not '{seeds}'")
    grid = _grids(run)[0]
    cells = {address: record for address, record in _records(run).items() if address in set(map(str, grid.cells))}
    runs, others = select_runs(read_folder(folder), cells)
    if others:
        typer.echo(f"{len(others)} runs have other settings than the run file's, such as {others[0].address}", err=True)
    if not runs:
        raise DataError(f"{folder} has no run of {config}")
    table = forecast(grid, map(read_scores, runs), numbers, metric, load_claims(CONFIG_FOLDER).paper.sought, each)
    if as_json:
        typer.echo(table.to_json(orient="records", indent=2))
    else:
        print_forecast(table)


@app.command()
def cells(
    config: ConfigOption = DEFAULT,
    full: Annotated[bool, typer.Option("--full", help="With every setting.")] = False,
    unarchived: Annotated[
        bool, typer.Option("--unarchived", help="Those that the archive lacks, as targets for Snakemake.")
    ] = False,
    archive: ArchiveOption = ARCHIVE,
) -> None:
    """List the training runs of a run file."""
    run = _read(config)
    if unarchived:
        from iadsr.evaluation.archive import read_archive, select_runs

        records = _records(run)
        archived, _ = select_runs(read_archive(archive, run.all_datasets), records)
        for address in sorted(set(records) - {str(one.address) for one in archived}):
            typer.echo(f"{run.results}/runs/{address}/{RECORD}")
        return
    for cell in _cells(run):
        typer.echo(json.dumps(cell.model_dump()) if full else cell.address)


@app.command("archive")
def archive_runs(config: ConfigOption = DEFAULT, archive: ArchiveOption = ARCHIVE) -> None:
    """Add the trained runs of a run file to the archive, in place of those with the same addresses and encoders."""
    from iadsr.evaluation.archive import add_to_archive, select_runs
    from iadsr.evaluation.drops import shown_items
    from iadsr.evaluation.metrics import add_metrics
    from iadsr.evaluation.popularity import popularity_table
    from iadsr.evaluation.runs import read_runs
    from iadsr.formats.summary import read_summary

    run = _read(config)
    root = Path(run.results)
    folders = [root / "runs" / cell.address for cell in _cells(run)]
    add_metrics(run.metrics)  # popularity has them too
    runs, _ = select_runs(read_runs(folder for folder in folders if (folder / RECORD).is_file()), _records(run))
    if not runs:
        raise DataError(f"there is no trained run below {root / 'runs'}; train some: snakemake --cores 2")
    facts = {}
    for name in dict.fromkeys(one.address.dataset for one in runs):
        names = _item_names(root, name)
        shown = shown_items(one for one in runs if one.address.dataset == name)
        facts[name] = {
            "items": len(names),
            "names": {item: names[item] for item in sorted(shown)},
            "summary": read_summary(root, name),
            "popularity": popularity_table({name: root / "sequences" / name / "sequences.npz"}).to_dict("records"),
        }
    add_to_archive(archive, runs, facts)
    typer.echo(f"archived {len(runs)} of {len(folders)} runs in {archive}")


@app.command()
def recompute(
    config: ConfigOption = DEFAULT,
    archive: ArchiveOption = ARCHIVE,
    out: Annotated[Path | None, typer.Option(help="A results folder; default: results/recomputed/NAME.")] = None,
    readme: Annotated[Path | None, typer.Option(help="Put the table of claims between its marks here.")] = None,
) -> None:
    """Make a run file's statistics and report from archived runs alone: no data, no training, no torch."""
    import pandas as pd

    from iadsr.core.files import write_json
    from iadsr.evaluation.archive import read_archive, read_facts, select_runs
    from iadsr.evaluation.collect import collect
    from iadsr.evaluation.metrics import add_metrics
    from iadsr.evaluation.popularity import POPULARITY_FILE
    from iadsr.formats.markdown import put_between
    from iadsr.formats.summary import summary_file
    from iadsr.formats.tables import write_parquet
    from iadsr.statistics.write import write_statistics

    run = _read(config)
    out = out or Path("results/recomputed") / run.name
    if trained := next((out / "runs").glob(f"**/{RANKS}"), None):
        raise ConfigError(f"--out {out} has trained runs, such as {trained.parent}; choose another folder")
    add_metrics(run.metrics)
    facts = {name: read_facts(archive, name) for name in run.all_datasets}
    runs, others = select_runs(read_archive(archive, run.all_datasets), _records(run))
    if others:
        typer.echo(
            "archived runs that were trained with other settings than the run file's, and count as missing: "
            f"{len(others)}, such as {others[0].address}",
            err=True,
        )
    for name, told in facts.items():
        write_json(summary_file(out, name), told["summary"])
    for one in runs:  # the page links to them
        write_json(out / "runs" / str(one.address) / RECORD, one.record)
    sizes, names = ({name: told[key] for name, told in facts.items()} for key in ("items", "names"))
    collect(runs, sizes, out / "evaluation", names)
    popular = pd.DataFrame([row for told in facts.values() for row in told["popularity"]])
    write_parquet(out / "evaluation" / POPULARITY_FILE, popular)
    write_statistics(out, _grids(run), {one.address: one for one in runs}.__getitem__, load_claims(CONFIG_FOLDER))
    _report(run, out)
    if readme:
        table = (out / "report" / "tables" / "claims.md").read_text(encoding="utf-8")
        put_between(readme, f"<!-- verdicts {run.name} -->", f"<!-- end of verdicts {run.name} -->", table)


@app.command("plan")
def estimate(
    config: Annotated[Path, typer.Argument(help="A run file.")] = DEFAULT,
    nodes: Annotated[int, typer.Option(help="Machines that share the work.", min=1)] = 1,
    cores: Annotated[int | None, typer.Option(help="Of each machine; default: those of this one.", min=1)] = None,
    archive: Annotated[Path, typer.Option(help="Records to learn from: an archive.", show_default=False)] = ARCHIVE,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every number.")] = False,
) -> None:
    """Estimate what a run file costs, from records: runs, core-hours, memory, disk and hours on so many machines."""
    from iadsr.costs import as_json as as_object
    from iadsr.costs import cost_of, fit
    from iadsr.evaluation.archive import read_facts, read_folder
    from iadsr.machine.cpus import allotted_cpus
    from iadsr.terminal import print_costs

    run = _read(config)
    cells = distinct(plan(run, CONFIG_FOLDER))
    records = [one.record for one in read_folder(archive)]
    facts = {name: read_facts(archive, name) for name in {record["cell"][DATASET] for record in records}}
    model = fit(records, {name: Size(**told["summary"]["counts"]) for name, told in facts.items()})
    sizes = {name: _size(run, name) for name in run.all_datasets}
    slots = nodes * max(1, (cores or allotted_cpus(os.environ)) // run.threads)
    searches = run.searches(CONFIG_FOLDER)
    costs = {
        "runs": cost_of(model, cells, sizes, slots, run.threads),
        "searches": cost_of(model, searches, sizes, slots, run.threads, run.trials),
    }
    lacking = model.unknown(cells)
    if as_json:
        typer.echo(json.dumps(as_object(model, costs, lacking), indent=2))
        return
    print_costs(model, costs, slots)
    for name, values in lacking.items():
        typer.echo(f"No record has {name} {', '.join(values)}: what concerns these is extrapolated, its error unknown")
    if run.device == "cuda":
        typer.echo("No GPU is modelled: hours are those of CPU cores")


@app.command("check-method")
def check_method(
    method: Annotated[str, typer.Argument(help="A kind of method, package.module:Class, or a module with methods.")],
) -> None:
    """Check that a method leaks no target, trains every parameter and resumes exactly; exit with 1 if it does not."""
    from iadsr.conformance.suite import check_method, find_kinds
    from iadsr.training.run import set_up_torch

    sys.path.insert(0, os.getcwd())
    set_up_torch("cpu", 1)
    logging.getLogger("iadsr.training").setLevel(logging.WARNING)  # no line for each epoch
    failed = False
    for kind in find_kinds(method):
        results = list(check_method(kind))
        failures = [(case, check, what) for case, check, what in results if what is not None]
        for case, check, what in failures:
            typer.echo(f"{kind} with {case.backbone} under '{case.objective}' fails '{check}': {what}")
        typer.echo(f"{kind}: {len(results) - len(failures)} of {len(results)} checks passed")
        failed |= bool(failures)
    raise typer.Exit(failed)


@app.command()
def doctor(config: ConfigOption = DEFAULT) -> None:
    """Say what this installation and machine lack and what that disables; exit with 1 if a run cannot work."""
    from iadsr.machine.doctor import FAILS, examine

    run = _read(config)
    specs = [load_spec(dataset_file(CONFIG_FOLDER, name, run.where)) for name in run.all_datasets]
    files = {file.name: file.urls for spec in specs for file in spec.files}
    findings = list(examine(CONFIG_FOLDER.parent.parent, Path(run.results), run.device, run.mirror, files))
    for finding in findings:
        typer.echo(f"{finding.state:7}{finding.part:10}{finding.text}")
    raise typer.Exit(any(finding.state == FAILS for finding in findings))


@app.command("schemas")
def write_reference(
    folder: Annotated[Path, typer.Option(help="Where to write them.")] = CONFIG_FOLDER.parent / "schemas",
) -> None:
    """Write the JSON schema of each kind of configuration file, and the tables of keys in its README."""
    from iadsr.config.reference import fill_tables, schemas
    from iadsr.core.files import write_json, write_text

    for name, schema in schemas().items():
        write_json(folder / f"{name}.schema.json", schema)
    readme = CONFIG_FOLDER / "README.md"
    write_text(readme, fill_tables(readme.read_text(encoding="utf-8")))


def _size(run: RunConfig, dataset: str) -> Size:
    """Find the size of a dataset: as prepared, else as published.

    Raises:
        DataError: nobody knows it yet.
    """
    from iadsr.formats.summary import read_summary, summary_file

    path = summary_file(Path(run.results), dataset)
    if path.is_file():
        return Size(**read_summary(Path(run.results), dataset)["counts"])
    if size := load_spec(dataset_file(CONFIG_FOLDER, dataset, "datasets")).stated_size:
        return size
    raise DataError(f"the size of {dataset} is not known yet; prepare it: snakemake --cores 1 {path}")


def _to_embed(run: RunConfig, dataset: str, name: str) -> tuple[str, EncoderSpec, list[str], Texts]:
    """Find an embeddings file's name, its encoder, the catalogue's item names, and the variant of them that is read.

    Raises:
        ConfigError: no method of the run reads it.
    """
    from iadsr.formats.tables import read_catalogue

    read = {cell.embeddings: (cell.encoder, cell.texts) for cell in distinct(plan(run, CONFIG_FOLDER)) if cell.encoder}
    wanted = name or embeddings_name(run.encoder.options())
    if wanted not in read:
        raise ConfigError(f"no method of this run reads embeddings '{wanted}'; {suggest(wanted, map(str, read))}")
    encoder, variant = read[wanted]
    names = read_catalogue(Path(run.results) / "data" / dataset / "items.parquet")[TEXT].tolist()
    return wanted, parse_encoder(encoder), names, variant


def _cells(run: RunConfig) -> list[Cell]:
    return distinct(plan(run, CONFIG_FOLDER))


def _records(run: RunConfig) -> dict[str, dict[str, object]]:
    """Return what the record of each run of a run file says of its cell, by address."""
    return {cell.address: cell.record for cell in _cells(run)}


def _item_names(root: Path, dataset: str) -> dict[int, str]:
    """Return the names of a dataset's items by index, from 1 on."""
    from iadsr.formats.tables import read_catalogue

    return dict(enumerate(read_catalogue(root / "data" / dataset / "items.parquet")[TEXT], 1))


def _grids(run: RunConfig) -> list[Grid]:
    """Describe the experiments of a run for statistics."""
    from iadsr.statistics.grids import grids_of

    return grids_of(run, plan(run, CONFIG_FOLDER), CONFIG_FOLDER)


def _report(run: RunConfig, root: Path) -> None:
    """Render the report from the statistics in the results folder `root`."""
    from iadsr.reporting.page import build_report

    out = root / "report" / "index.html"
    settings = describe_run(run, plan(run, CONFIG_FOLDER), CONFIG_FOLDER)
    build_report(root, settings, TEMPLATES, out, describe_experiments(run))
    typer.echo(f"report: {out}")


def _own_environment() -> None:
    """Override what a shell may have set for other programs: a notebook's plots, threads that would change digits."""
    os.environ["MPLBACKEND"] = "Agg"
    for library in ("OMP", "OPENBLAS", "MKL", "VECLIB", "NUMEXPR"):
        os.environ[f"{library}_NUM_THREADS"] = "1"  # training sets its own number


def main() -> None:
    """Run the command line; an expected error is one clear message and exit code 1, SIGTERM is 143."""
    _own_environment()
    raise_on_sigterm()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except (IadsrError, OSError) as error:
        if isinstance(error, OSError) and error.errno is None:  # not of the system, but of a library: a fault of ours
            raise
        _fail(explain(error) if isinstance(error, OSError) else str(error))
    except Terminated:
        _fail("ended by SIGTERM: repeat the command, and it goes on where it stopped", STATUS)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _fail(f"out of memory ({one_line(error)}): {SMALLER}")


def _fail(message: str, status: int = 1) -> NoReturn:
    typer.secho(f"error: {message}", fg=typer.colors.RED, err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
