"""What a cluster would be asked for, told by an executor that notes it down and touches the outputs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from iadsr.resources import ALLOW_DIRTY

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "workflow" / "profiles"
# The first submission of a group fails, as one that is cancelled or comes to its limit does.
EXECUTOR = """
import json
from pathlib import Path
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False, auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)


class Executor(RemoteExecutor):
    def run_job(self, job):
        asked = {name: value for name, value in job.resources.items() if isinstance(value, (int, str))}
        asked |= {"name": job.name, "runs": len(job.jobs) if job.is_group() else 1, "attempt": job.attempt}
        with open("submitted", "a") as file:
            print(json.dumps(asked), file=file)
        if not job.is_group() or job.attempt > 1:
            for path in map(Path, job.output):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        self.report_job_submission(SubmittedJobInfo(job))

    async def check_active_jobs(self, active_jobs):
        for info in active_jobs:
            failed = info.job.is_group() and info.job.attempt == 1
            (self.report_job_error if failed else self.report_job_success)(info)
        for info in ():
            yield info

    def cancel_jobs(self, active_jobs):
        pass
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean checkout of these rules, and beside it the executor."""
    folder = tmp_path_factory.mktemp("cluster") / "checkout"
    for name in ("iadsr", "workflow", "report", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "Snakefile", folder)
    shutil.copy2(ROOT / "profiles", folder, follow_symlinks=False)
    (folder.parent / "snakemake_executor_plugin_noting").mkdir()
    (folder.parent / "snakemake_executor_plugin_noting" / "__init__.py").write_text(EXECUTOR)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def submit(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m", "snakemake", "--snakefile", str(checkout / "Snakefile")]
    profile = ["--profile", str(checkout / "workflow" / "profiles" / "cluster"), "--executor", "noting"]
    smoke = ["--configfile", str(checkout / "workflow" / "config" / "smoke.yaml"), "--config", "backbones=[gru4rec]"]
    environment = {name: value for name, value in os.environ.items() if name != ALLOW_DIRTY}
    return subprocess.run(
        [*start, *profile, "--latency-wait", "0", *smoke, *arguments],
        cwd=checkout.parent,
        env={**environment, "PYTHONPATH": str(checkout.parent), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def submissions(checkout: Path) -> list[dict[str, Any]]:
    """What the executor was given, in order."""
    done = submit(checkout, "--until", "evaluation")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return [json.loads(line) for line in (checkout.parent / "submitted").read_text().splitlines()]


def test_short_runs_are_one_submission_and_downloads_are_none(submissions: list[dict[str, Any]]) -> None:
    assert [job["name"] for job in submissions if job["attempt"] == 1 and job["runs"] == 1][-1] == "evaluation"
    assert {job["name"] for job in submissions} == {"sequences", "embeddings", "runs_1min_training", "evaluation"}
    assert [job["runs"] for job in submissions if job["runs"] > 1] == [8, 8], "the group and its second try"


def test_a_group_asks_for_the_time_of_all_and_the_memory_of_one(submissions: list[dict[str, Any]]) -> None:
    """Its runs follow one another."""
    group = next(job for job in submissions if job["runs"] == 8)
    assert group["_cores"] == 1
    assert 1200 <= group["mem_mb"] < 1500
    assert 8 <= group["runtime"] <= 60


def test_every_submission_asks_for_memory_and_time(submissions: list[dict[str, Any]]) -> None:
    for job in submissions:
        assert 1000 <= job["mem_mb"] <= 10_000 and 1 <= job["runtime"] <= 240, job
        assert not job.get("gpu"), "the run file's device is not cuda"


def test_a_failure_asks_for_more(submissions: list[dict[str, Any]]) -> None:
    first, second = (job for job in submissions if job["runs"] == 8)
    assert (second["mem_mb"], second["runtime"]) == (2 * first["mem_mb"], 2 * first["runtime"])


def test_runs_that_share_a_gpu_ask_for_one_and_for_less_time(checkout: Path, submissions: list[dict[str, Any]]) -> None:
    (checkout.parent / "submitted").unlink()
    shared = ["--set-resources", "training:shares=25", "training:gpu=0", "training:gres=gpu:1"]
    done = submit(checkout, "--until", "training", "--forcerun", "training", *shared)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    group = json.loads((checkout.parent / "submitted").read_text().splitlines()[0])
    alone = next(job for job in submissions if job["runs"] == 8)
    assert (group["_cores"], group["mem_mb"]) == (4, 4 * alone["mem_mb"])
    assert (group["gres"], group["gpu"]) == ("gpu:1", 0)
    assert 4 * group["runtime"] == alone["runtime"]


def test_runs_that_wait_for_others_are_grouped_by_depth(checkout: Path) -> None:
    """Points of a sweep wait for one another: a chain of them must not be one long submission."""
    sweep = "results: results/sweep\nsweeps: [{method: iadsr, option: theta, values: [-0.5, 0.0, 0.5]}]\n"
    (checkout.parent / "sweep.yaml").write_text(sweep)
    smoke = str(checkout / "workflow" / "config" / "smoke.yaml")
    done = submit(checkout, "-n", "--configfile", smoke, "sweep.yaml", "--group-components", "runs_1min=2")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    groups = re.findall(r"Group job (\S+)", done.stdout + done.stderr)
    # under each of two protocols: 4 methods, then two points at least of the three, which wait for IADSR's own run
    assert groups.count("runs_1min") == 4
    assert {"runs_1min", "runs_1min_after_1"} < {*groups}
    assert len(groups) >= 6


def test_a_changed_checkout_is_refused_unless_told(checkout: Path) -> None:
    (checkout / "Snakefile").write_text((checkout / "Snakefile").read_text() + "\n")
    refused = submit(checkout, "-n")
    assert refused.returncode != 0
    told = refused.stdout + refused.stderr
    assert "uncommitted changes" in told and f"{ALLOW_DIRTY}=1" in told
    assert "Traceback" not in told
    assert submit(checkout, "-n", **{ALLOW_DIRTY: "1"}).returncode == 0


def test_the_slurm_profile_s_own_keys_are_the_plug_in_s() -> None:
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install -e '.[slurm]'")
    keys = yaml.safe_load((PROFILES / "slurm" / "config.yaml").read_text())
    own = {key.removeprefix("slurm-").replace("-", "_") for key in keys if key.startswith("slurm-")}
    assert own <= set(plugin.ExecutorSettings.__dataclass_fields__)
