# The validated configuration, the grid that follows from it, and the code that each stage depends on.
import logging
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake_interface_executor_plugins.settings import DeploymentMethod

HERE = Path(workflow.basedir)
# The package of this checkout, not another one that may be installed: here, and in every job's Python.
sys.path.insert(0, str(HERE))
# Methods of the user's own, as `python -m iadsr` finds them.
sys.path.append(os.getcwd())

try:
    from iadsr.config.cell import Cell
    from iadsr.config.run import backbone_alone, distinct, load_run
    from iadsr.core.errors import IadsrError
    from iadsr.machine.disk import check_writable
    from iadsr.machine.faults import explain
    from iadsr.core.files import value_digest, write_json
    from iadsr.config.identity import source_digest, sources
    from iadsr.formats.statistics import FINDINGS, STATISTICS
    from iadsr.machine.locks import release_stale_lock
    from iadsr.describe import describe_methods
    from iadsr.plan import KILLED, announcement, check_folders, metric_digests
    from iadsr.plan import plan, shell_prefix
except ModuleNotFoundError as error:
    raise WorkflowError(
        f"{sys.executable}, which runs Snakemake, lacks the package '{error.name}': install pydantic and pyyaml there, "
        "or run `make setup` and use .venv/bin/snakemake"
    ) from None

CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
# A path, not text: Snakemake compares parameters of plain types alone, and another Python must not repeat anything.
PYTHON = Path("python" if CONDA else sys.executable)
if CONDA:
    # Packages in ~/.local neither shadow those of an environment nor stand in for them when pip fills it.
    os.environ |= {"PYTHONNOUSERSITE": "1", "PIP_USER": "0"}
if workflow.is_main_process:
    # Snakemake copies what it says to .snakemake/log: on a full disk each line would also be a traceback.
    logging.raiseExceptions = False
    if release_stale_lock(Path(".snakemake")):
        print("Snakemake was killed here before; its lock is removed.", file=sys.stderr)

CONFIG_FOLDER = HERE / "workflow" / "config"

try:
    # read anew by the package: Snakemake takes 1e-2 for text, and a default that it knows of is merged with any file
    RUN = load_run(
        *(workflow.overwrite_configfiles or [CONFIG_FOLDER / "laptop.yaml"]),
        overrides=workflow.config_settings.config,
    )
    GRIDS = plan(RUN, CONFIG_FOLDER)
    CELLS = {cell.address: cell for cell in distinct(GRIDS)}
    METHODS = describe_methods(RUN, GRIDS, CONFIG_FOLDER)
    # by folder below tuning/; a search reads what the grid's first seed reads
    SEARCHES = {
        cell.folder: cell.model_copy(update={"seed": RUN.seeds[0]})
        for cell in RUN.searches(CONFIG_FOLDER)
    }
    # every (dataset, embeddings) that some cell reads, and what the encoder is
    EMBEDDINGS = {
        (cell.dataset, cell.embeddings): cell.encoder
        for cell in CELLS.values()
        if cell.encoder
    }
    check_folders(RUN, CELLS)
    shell.prefix(shell_prefix(HERE, CELLS.values(), RUN.metrics))
    os.environ |= {"IADSR_KILLED": KILLED}
    if workflow.is_main_process:
        check_writable(Path(".snakemake"))
except IadsrError as error:
    raise WorkflowError(str(error)) from None
except OSError as error:
    raise WorkflowError(explain(error)) from None

ROOT = RUN.results
# A name of its own for each configuration: calls for different targets may run side by side. A path, as above.
SETTINGS = Path(
    f"{ROOT}/settings/{value_digest(RUN.model_dump(mode='json'))[:12]}.json"
)
RECORDS = [f"{ROOT}/runs/{address}/record.json" for address in CELLS]


wildcard_constraints:
    dataset="|".join(re.escape(name) for name in RUN.all_datasets),
    address=r"[^/]+/[^/]+/[^/]+/[^/]+/seed\d+",


def source(room: str, **choices: str) -> str:
    """Digest of the code that decides a stage's outcome.

    A parameter, not input files: a rerun follows from a change of content, not of a file's time, and the paper's grid
    is planned several times faster.
    """
    return source_digest(sources(room, **choices))


def encoder_source(wildcards) -> str:
    encoder = EMBEDDINGS[wildcards.dataset, wildcards.embedding]
    return source("embeddings", embeddings=encoder["kind"])


def cell_of(wildcards) -> Cell:
    return CELLS[wildcards.address]


def search_of(wildcards) -> Cell:
    names = ("dataset", "protocol", "backbone", "method")
    return SEARCHES["/".join(getattr(wildcards, name) for name in names)]


def text_files(cell: Cell) -> list[str]:
    if cell.encoder is None:
        return []
    catalogue = f"{ROOT}/data/{cell.dataset}/items.parquet"
    if cell.reads_prefixes:
        stem = f"{ROOT}/prefixes/{cell.dataset}/{cell.embeddings}"
        return [catalogue, f"{stem}.safetensors", f"{stem}.npz"]
    return [
        catalogue,
        f"{ROOT}/embeddings/{cell.dataset}/{cell.embeddings}.safetensors",
    ]


def matched_files(cell: Cell) -> list[str]:
    """The run whose keep rates a control copies."""
    if cell.matched is None:
        return []
    return [
        f"{ROOT}/runs/{cell.matched}/{name}" for name in ("record.json", "curve.csv")
    ]


def alone_files(cell: Cell) -> list[str]:
    """The search of the backbone alone, from whose settings those of methods start."""
    alone = backbone_alone(cell, SEARCHES.values())
    return [] if alone is None else [f"{ROOT}/tuning/{alone.folder}/trials.csv"]


if workflow.is_main_process:
    print(announcement(RUN, GRIDS), file=sys.stderr)
