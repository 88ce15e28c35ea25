"""Examines an installation and its machine: what is there, what is missing, and what that disables."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from iadsr.core.errors import IadsrError, one_line
from iadsr.machine.devices import resolve_device
from iadsr.machine.disk import check_writable
from iadsr.machine.faults import explain

OK, LACKS, FAILS = "ok", "lacks", "FAILS"
SECONDS = 3.0  # for an answer, of a host or a program
LEAST_FREE, ENOUGH_FREE = 200, 5000  # MB: ten times the default run's results; room for data sets and embeddings
_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """What was found of one part.

    Attributes:
        state: `ok`; `lacks`: something is disabled; `FAILS`: the default run is.
        text: what was found, what it disables and how to mend it, in one line.
    """

    part: str
    state: str
    text: str


def examine(
    checkout: Path, results: Path, device: str, mirror: str | None, files: Mapping[str, Iterable[str]]
) -> Iterator[Finding]:
    """Examine every part; nothing waits longer than some seconds.

    Args:
        checkout: has `pyproject.toml` and `envs/core.lock`.
        results: the results folder of a run.
        device: that of the run.
        mirror: as in the run file; None for none.
        files: the run's raw files, each with its upstream addresses.
    """
    answers = ask_all([*_mirror_addresses(mirror, files), *_hosts(files), _hub()])
    yield check_python(sys.version_info[:2])
    yield from check_packages(checkout)
    yield check_device(device)
    yield (disk := check_disk(results))
    if disk.state != FAILS:
        yield check_locks(results)
    yield check_mirror(mirror, files, answers)
    yield from check_upstream(files, answers)
    yield check_hub(answers)
    yield check_llm2vec(checkout)
    yield check_program(
        "conda", "--version", "`--use-conda` (a virtual environment, as `make setup` makes, needs none)"
    )
    yield check_slurm()
    yield check_program("git", "--version", "the commit in records")


def check_python(version: tuple[int, ...]) -> Finding:
    """Check Python's version."""
    good = version >= _PYTHON
    needed = "" if good else f"; {'.'.join(map(str, _PYTHON))} or newer is needed"
    return Finding("python", OK if good else FAILS, f"{platform.python_version()} at {sys.executable}{needed}")


def check_packages(checkout: Path) -> Iterator[Finding]:
    """Check that each package that the project needs is installed, new enough, and of the version that is tested."""
    try:
        needed = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
        lines = (checkout / "envs" / "core.lock").read_text(encoding="utf-8").splitlines()
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        yield Finding("packages", LACKS, f"the checkout's lists cannot be read ({one_line(error)}); nothing is checked")
        return
    pins = dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))
    missing, others = [], []
    for requirement in needed:
        name, _, least = requirement.partition(">=")
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if least and _numbers(found) < _numbers(least):
            missing.append(f"{name}>={least} (there is {found})")
        elif pins.get(name, found) != found.partition("+")[0]:
            others.append(f"{name} {found} ({pins[name]})")
    if missing:
        yield Finding("packages", FAILS, f"without {', '.join(missing)} nothing runs; install them: make setup")
    if others:
        text = "not of the tested version, which stands behind: results may differ in their last digits"
        yield Finding("packages", LACKS, f"{', '.join(others)}: {text}")
    if not missing and not others:
        yield Finding("packages", OK, f"all {len(needed)} of the tested versions")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version.partition("+")[0])]


def check_device(device: str) -> Finding:
    """Check for a GPU that torch can use."""
    try:
        return _describe_device(resolve_device(device))
    except (IadsrError, ImportError, OSError) as error:  # OSError: a library of torch's that cannot be loaded
        return Finding("gpu", FAILS, one_line(error))


def _describe_device(found: str) -> Finding:
    import torch

    if found == "cuda":
        return Finding("gpu", OK, torch.cuda.get_device_name())
    return Finding("gpu", LACKS, "torch uses none: LLM2Vec's 8B checkpoints are out of reach, all else runs on CPUs")


def check_disk(results: Path) -> Finding:
    """Check that the results folder can be written and that there is room."""
    try:
        check_writable(results)
        free = shutil.disk_usage(_existing(results)).free // 10**6
    except OSError as error:
        return Finding("disk", FAILS, explain(error))
    text = f"{free} MB are free for {results}"
    if free < LEAST_FREE:
        return Finding("disk", FAILS, f"{text}; a run needs {LEAST_FREE}: free some, or name another folder")
    if free < ENOUGH_FREE:
        return Finding("disk", LACKS, f"{text}: too few for the paper's grid, with {ENOUGH_FREE}")
    return Finding("disk", OK, text)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def check_locks(results: Path) -> Finding:
    """Check for kernel locks in the results folder."""
    try:
        with tempfile.TemporaryFile(dir=_existing(results)) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        text = "a killed Snakemake asks for --unlock, and nothing keeps two processes out of one run"
        return Finding("locks", LACKS, f"no kernel locks there ({error.strerror}): {text}")
    return Finding("locks", OK, "the file system has kernel locks: a killed run needs no --unlock")


def check_mirror(mirror: str | None, files: Mapping[str, Iterable[str]], answers: Mapping[str, int | str]) -> Finding:
    """Check which of the run's files a mirror has."""
    if not mirror:
        return Finding("mirror", OK, "none is named: data come from upstream, or from a package that ships them")
    if _is_remote(mirror):
        absent = [name for name in files if answers[f"{mirror.rstrip('/')}/{name}"] != 200]
    else:
        folder = Path(mirror.removeprefix("file://")).expanduser()
        absent = [name for name in files if not (folder / name).is_file()]
    if absent:
        return Finding("mirror", LACKS, f"{mirror} does not give {', '.join(absent)}: asked for upstream instead")
    return Finding("mirror", OK, f"{mirror} has the run's {len(files)} raw files")


def check_upstream(files: Mapping[str, Iterable[str]], answers: Mapping[str, int | str]) -> Iterator[Finding]:
    """Check that the upstream hosts of the run's files answer."""
    for host in _hosts(files):
        if isinstance(answers[host], str):
            where = "its files come from a mirror, or from a package that ships them, or not at all"
            yield Finding("upstream", LACKS, f"{host} cannot be reached ({answers[host]}): {where}")
        else:
            yield Finding("upstream", OK, f"{host} answers")


def check_hub(answers: Mapping[str, int | str]) -> Finding:
    """Check that the model hub answers."""
    if isinstance(why := answers[_hub()], str):
        text = f"{_hub()} cannot be reached ({why}): no checkpoint of LLM2Vec can be fetched; MiniLM needs none"
        return Finding("hub", LACKS, text)
    return Finding("hub", OK, f"{_hub()} answers")


def check_llm2vec(checkout: Path) -> Finding:
    """Check for LLM2Vec, here or in an environment of its own."""
    if importlib.util.find_spec("llm2vec") or (checkout / ".venv-llm2vec/bin/python").is_file():
        return Finding("llm2vec", OK, "installed")
    return Finding("llm2vec", LACKS, "not installed: no `encoder: {kind: llm2vec}`; make setup-llm2vec, or --use-conda")


def check_program(name: str, argument: str, disables: str) -> Finding:
    """Check that a program is on the path and answers."""
    told = ask_program([name, argument])
    if told is None:
        return Finding(name, LACKS, f"not found, or it does not answer: no {disables}")
    return Finding(name, OK, told)


def check_slurm() -> Finding:
    """Check for Slurm, its nodes, and Snakemake's plug-in for it."""
    if shutil.which("sbatch") is None:
        return Finding("slurm", LACKS, "there is no sbatch: no `--executor slurm` from here")
    nodes = ask_program(["sinfo", "--noheader", "--format=%D %T"])
    if nodes is None:
        return Finding("slurm", LACKS, "sinfo does not answer: no `--executor slurm` until its controller does")
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        text = "pip install snakemake-executor-plugin-slurm"
        return Finding("slurm", LACKS, f"Snakemake lacks the plug-in: no `--executor slurm`; {text}")
    return Finding("slurm", OK, f"nodes: {nodes or 'none'}")


def ask_program(command: list[str]) -> str | None:
    """Run a command; its output in one line, or None if it is missing, fails or takes longer than `SECONDS`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return ", ".join(done.stdout.split("\n")).strip(", ")


def ask_all(addresses: Iterable[str], seconds: float = SECONDS) -> dict[str, int | str]:
    """Ask addresses side by side, for `seconds` in all; the HTTP status of each that answers, else why it does not."""
    answers: dict[str, int | str] = dict.fromkeys(addresses, f"no answer in {seconds:g} s")
    try:
        import requests
    except ImportError:  # told among the packages
        return answers

    def ask(address: str) -> None:
        try:
            answers[address] = requests.head(address, timeout=seconds, allow_redirects=True).status_code
        except (OSError, ValueError) as error:  # those of requests are OSErrors
            answers[address] = type(error).__name__

    # daemons: looking up a name has no time limit
    threads = [threading.Thread(target=ask, args=(address,), daemon=True) for address in answers]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(answers)


def _is_remote(mirror: str) -> bool:
    return mirror.startswith(("http://", "https://"))


def _mirror_addresses(mirror: str | None, files: Iterable[str]) -> list[str]:
    return [f"{mirror.rstrip('/')}/{name}" for name in files] if mirror and _is_remote(mirror) else []


def _hosts(files: Mapping[str, Iterable[str]]) -> list[str]:
    """List the hosts of upstream addresses, each once."""
    found = (re.match(r"https?://([^/]+)", address) for addresses in files.values() for address in addresses)
    hosts: dict[str, str] = {}
    for match in filter(None, found):
        hosts.setdefault(match[1], match[0])
    return list(hosts.values())


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
