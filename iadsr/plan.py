"""What the workflow does with a run file before any job: checks, an announcement, the shell of its jobs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from iadsr.config.cell import Cell
from iadsr.config.datasets import dataset_file, load_spec
from iadsr.config.identity import module_file, source_digest
from iadsr.config.run import RunConfig, distinct
from iadsr.core.columns import MAIN
from iadsr.core.errors import ConfigError, DataError
from iadsr.machine.faults import SMALLER

KILLED = f"error: the job was killed; unless somebody did that, memory ran out: {SMALLER}"
_SIGKILL = 128 + 9  # as a shell says it


def plan(run: RunConfig, folder: Path) -> dict[str, list[Cell]]:
    """Resolve every grid of a run, and check its datasets' files; see `RunConfig.grids`.

    Raises:
        ConfigError: a wrong key or value, used by a training run or not.
    """
    grids = run.grids(folder)
    for name in run.all_datasets:
        load_spec(dataset_file(folder, name, run.where))
    encoders = {cell.encoder["kind"] for grid in grids.values() for cell in grid if cell.encoder}
    if run.llm2vec_python and "llm2vec" in encoders and not _is_program(run.llm2vec_python):
        raise ConfigError(
            f"{run.where}: llm2vec_python: '{run.llm2vec_python}' is no program; `make setup-llm2vec` makes "
            ".venv-llm2vec/bin/python"
        )
    return grids


def announcement(run: RunConfig, grids: Mapping[str, Sequence[Cell]]) -> str:
    """Say what is about to run, and how to run the rest."""
    main, total = grids[MAIN], len(distinct(grids))
    further = f" {total - len(main)} more for {len(run.experiments)} experiments." if run.experiments else ""
    return (
        f"Run '{run.name}': {run.description}.\n"
        f"{len(main)} training runs: {', '.join(run.datasets)} x {', '.join(run.protocols)} x "
        f"{', '.join(run.backbones)} x {len({cell.method for cell in main})} methods x {len(run.seeds)} seeds, encoder "
        f"{run.encoder.kind}.{further} Report: {run.results}/report/index.html\n"
        "The paper's whole grid: snakemake --cores 8 --use-conda --configfile workflow/config/paper.yaml"
    )


def check_folders(run: RunConfig, addresses: Iterable[str]) -> None:
    """Look for files where a run's results need folders, at which Snakemake itself would end in a traceback.

    Raises:
        DataError: there is one.
    """
    root = Path(run.results)
    below = [
        "evaluation",
        "statistics",
        "report",
        "settings",
        "logs/training",
        "logs/tuning",
        "tuning",
        *(f"runs/{it}" for it in addresses),
    ]
    stages = ("data", "sequences", "embeddings", "prefixes")
    below += [f"{stage}/{dataset}" for stage in stages for dataset in run.all_datasets]
    for folder in sorted({folder for name in below for folder in (root / name, *(root / name).parents)}):
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder} is a file where a folder belongs; delete it or move it away", folder)


def metric_digests(paths: Iterable[str]) -> dict[str, str]:
    """Digest the modules of metrics of the user's own, `package.module:function`."""
    return {path: source_digest((module_file(path.partition(":")[0]),)) for path in paths}


def outside_folders(cells: Iterable[Cell], metrics: Iterable[str] = ()) -> list[Path]:
    """List the folders from which the user's own methods, backbones and metrics are imported, for jobs' `PYTHONPATH`.

    What is installed is left out: a job's Python has packages of its own.
    """
    named = (*(name for cell in cells for name in cell.modules.values()), *metrics)
    modules = {name.partition(":")[0] for name in named if ":" in name}
    folders = []
    for module in modules:
        path = module_file(module)
        depth = module.count(".") + (path.name == "__init__.py")
        folders.append(path.resolve().parents[depth])
    return sorted({folder for folder in folders if folder.name not in ("site-packages", "dist-packages")})


def shell_prefix(checkout: Path, cells: Iterable[Cell], metrics: Iterable[str] = ()) -> str:
    """Write what each job's shell runs first: nothing set for other programs reaches it, and a kill is explained.

    The explanation is the environment's `IADSR_KILLED`.
    """
    path = shlex.quote(":".join(map(str, (checkout, *outside_folders(cells, metrics)))))
    # The text is a variable, since Snakemake shows the command of any job that fails. DEBUG comes before each command,
    # such as the last one here: a rule may end with a status of its own.
    trap = f"trap 'if [ $? = {_SIGKILL} ]; then echo \"$IADSR_KILLED\" >&2; fi' DEBUG; trap : EXIT; "
    return (
        (
            "set -euo pipefail; unset PYTHONHOME PYTHONOPTIMIZE PYTHONWARNINGS PYTHONINSPECT; "
            f"export PYTHONPATH={path}; {trap}"
        )
        .replace("{", "{{")
        .replace("}", "}}")
    )


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
