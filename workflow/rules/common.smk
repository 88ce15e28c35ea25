# The validated configuration, the grid that follows from it, and the source files that each stage depends on.
import logging
import os
import shlex
import sys
from pathlib import Path

HERE = Path(workflow.basedir)
sys.path.insert(
    0, str(HERE)
)  # the package of this checkout, not another one that may be installed

from iadsr.core import config as schema
from iadsr.core.errors import IadsrError
from iadsr.core.identity import sources
from snakemake.exceptions import WorkflowError

CONFIG_FOLDER = HERE / "workflow" / "config"

try:
    RUN = schema.parse(schema.RunConfig, config, "the run's configuration")
    CELLS = {cell.address: cell for cell in RUN.cells(CONFIG_FOLDER)}
except IadsrError as error:
    raise WorkflowError(str(error)) from None

ROOT = RUN.results
SETTINGS = f"{ROOT}/settings.json"
ENCODER = RUN.encoder["kind"]
IADSR = f"PYTHONPATH={shlex.quote(str(HERE))} python -m iadsr"
RECORDS = [f"{ROOT}/runs/{address}/record.json" for address in CELLS]


wildcard_constraints:
    dataset="|".join(RUN.datasets),
    address=r"[^/]+/[^/]+/[^/]+/[^/]+/seed\d+",


def room(name: str) -> list[str]:
    """Source files of a stage, as paths from the working directory where they lie below it."""
    return [os.path.relpath(path) for path in sources(name)]


def cell_of(wildcards) -> schema.Cell:
    return CELLS[wildcards.address]


def announce() -> None:
    """Say what is about to run and how to run the rest."""
    grid = f"{len(CELLS)} training runs: {', '.join(RUN.datasets)} x {', '.join(RUN.protocols)}"
    print(
        f"Run '{RUN.name}': {RUN.description}.\n{grid} x {', '.join(RUN.backbones)} x "
        f"{len({cell.method for cell in CELLS.values()})} methods x {len(RUN.seeds)} seeds, encoder {ENCODER}. "
        f"Report: {ROOT}/report/index.html\n"
        "The paper's whole grid: snakemake --cores 8 --use-conda --configfile workflow/config/paper.yaml",
        file=sys.stderr,
    )


if workflow.is_main_process:
    announce()


localrules:
    settings,


rule settings:
    output:
        SETTINGS,
    log:
        f"{ROOT}/logs/settings.log",
    params:
        run=RUN.model_dump(),
    message:
        "Writing the resolved run file"
    script:
        "../scripts/settings.py"
