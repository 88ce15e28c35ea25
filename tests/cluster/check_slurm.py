"""Show the Slurm profile at work on a real Slurm of one node, from nothing.

    python tests/cluster/check_slurm.py [FOLDER]

Run it as root on a Debian or Ubuntu machine without a Slurm of its own, with a Python that has this project's packages
and snakemake-executor-plugin-slurm. It starts Slurm and trains a part of the smoke run file through the profile.
Meanwhile it cancels a submission, lets one come to its time limit, and drains the node. The report must be made
nevertheless, and every result must have the bytes of a local run. FOLDER keeps what was made; by default it is a
temporary one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = "results/smoke"
RUN = [
    "--configfile",
    str(ROOT / "workflow/config/smoke.yaml"),
    "--config",
    "protocols=[strong]",
    "backbones=[gru4rec]",
    "max_epochs=3",
]
# This Slurm has no accounting, which the plug-in asks by default; the shorter waits save minutes.
QUICKLY = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5", "--latency-wait", "5"]
COMPARED = ("runs/**/ranks.parquet", "evaluation/metrics.parquet", "evaluation/keep.parquet", "statistics/*.parquet")
CLOCKED = {"cells.parquet", "quantities.parquet"}  # hold seconds and memory
PATIENCE = 900.0  # seconds for one step on a busy machine
T = TypeVar("T")
began = time.monotonic()


def main(folder: Path) -> None:
    """Run through Slurm with disturbances, run locally, compare."""
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        sys.exit(f"the plug-in is missing: {sys.executable} -m pip install snakemake-executor-plugin-slurm")
    with one_node(folder / "node"):
        say("Slurm is up")
        profile = ["--profile", str(ROOT / "workflow/profiles/slurm")]
        with snakemake(folder / "slurm", *profile, *QUICKLY, *RUN) as workflow:
            disturb(folder / "slurm", workflow)
            finish(workflow)
        states = [state for state, _ in submissions().values()]
        assert states.count("CANCELLED") == states.count("TIMEOUT") == 1, states
        assert len(states) == states.count("COMPLETED") + 2, states
        say(f"the report is made, by {len(states)} submissions")
    with snakemake(folder / "local", "--cores", "2", *RUN) as workflow:
        finish(workflow)
    say("the same is trained locally")
    say(f"{compare(folder / 'slurm' / RESULTS, folder / 'local' / RESULTS)} result files are equal, byte for byte")


def disturb(folder: Path, workflow: subprocess.Popen[bytes]) -> None:
    """Cancel the group of runs, let its second try come to its limit, and drain the node before its third."""

    def wait(what: str, look: Callable[[], T]) -> T:
        found = wait_for(look, lambda: workflow.poll() is not None)
        say(what)
        return found

    first = wait("the runs are submitted as one group", lambda: groups("RUNNING"))
    wait("its first run is finished", lambda: [*(folder / RESULTS / "runs").rglob("record.json")])
    call("scancel", *first)
    second = wait("it was cancelled, and is submitted again", lambda: groups("RUNNING") - first)
    call("scancel", "--signal=STOP", "--full", *second)  # now it cannot end by itself
    call("scontrol", "update", "JobId=" + ",".join(second), "TimeLimit=1")
    call("scontrol", "update", f"NodeName={os.uname().nodename}", "State=DRAIN", "Reason=test")
    wait("it came to its time limit", lambda: groups("TIMEOUT") == second)
    wait("the node is drained, and the next try waits", lambda: groups("PENDING"))
    assert call("sinfo", "--noheader", "--format=%T") == "drained"
    call("scontrol", "update", f"NodeName={os.uname().nodename}", "State=RESUME")
    wait("the node is back, and the runs go on", lambda: groups("RUNNING"))


def compare(one: Path, other: Path) -> int:
    """Return the number of result files, which must be the same in both folders."""
    names, others = (
        {path.relative_to(root) for glob in COMPARED for path in root.glob(glob) if path.name not in CLOCKED}
        for root in (one, other)
    )
    assert names and names == others, names ^ others
    unlike = [name for name in sorted(names) if (one / name).read_bytes() != (other / name).read_bytes()]
    assert not unlike, unlike
    return len(names)


@contextlib.contextmanager
def one_node(folder: Path) -> Iterator[None]:
    """Start Slurm, and stop it in the end."""
    call(str(HERE / "start_slurm.sh"), str(folder), "2")
    try:
        yield
    finally:
        call(str(HERE / "stop_slurm.sh"), str(folder))


@contextlib.contextmanager
def snakemake(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start Snakemake in a folder, with its output in a file there; whatever happens, it does not stay behind."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *arguments]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "IADSR_ALLOW_DIRTY": "1"}
    with (folder / "snakemake.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    except BaseException:
        print((folder / "snakemake.txt").read_text(errors="replace")[-3000:], file=sys.stderr)
        raise
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait()


def finish(workflow: subprocess.Popen[bytes]) -> None:
    """Wait for Snakemake, which must succeed."""
    assert workflow.wait() == 0, "Snakemake failed"


def submissions() -> dict[str, tuple[str, str]]:
    """Return state and comment of every submission so far, by Slurm's number."""
    lines = call("squeue", "--noheader", "--states=all", "--format=%i|%T|%k").splitlines()
    return {number: (state, comment) for number, state, comment in (line.split("|") for line in lines)}


def groups(state: str) -> set[str]:
    """Return the numbers of the submissions of training runs that are in a state."""
    return {number for number, (now, comment) in submissions().items() if now == state and "training" in comment}


def wait_for(look: Callable[[], T], ended: Callable[[], bool]) -> T:
    """Return the first true answer of `look`, asked every second, until Snakemake has ended."""
    for _ in range(int(PATIENCE)):
        if found := look():
            return found
        assert not ended(), "Snakemake ended too early"
        time.sleep(1)
    raise TimeoutError("this does not happen")


def call(*command: str) -> str:
    """Run a command that must succeed, and return what it prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def say(what: str) -> None:
    """Print what was seen, and when."""
    print(f"{time.monotonic() - began:5.0f} s  {what}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
