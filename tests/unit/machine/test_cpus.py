"""Every limit on the CPUs of a process counts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iadsr.machine import cpus
from iadsr.machine.cpus import allotted_cpus


@pytest.fixture(autouse=True)
def _machine_of_64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(48), raising=False)


def grouped(root: Path, line: str, files: dict[str, str]) -> Path:
    """A root folder whose process is in the control group of `line`."""
    for name, text in {"proc/self/cgroup": line, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_affinity_narrows_the_machine_s_count(tmp_path: Path) -> None:
    assert allotted_cpus({}, tmp_path) == 48


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"SLURM_CPUS_PER_TASK": "6", "SLURM_CPUS_ON_NODE": "12"}, 6),
        ({"SLURM_CPUS_ON_NODE": "12"}, 12),
        ({"SLURM_JOB_CPUS_PER_NODE": "4(x2),2"}, 4),
        ({"NSLOTS": "3"}, 3),
        ({"SLURM_CPUS_PER_TASK": ""}, 48),
        ({"NSLOTS": "undefined"}, 48),
        ({"NSLOTS": "0"}, 1),
    ],
)
def test_batch_systems_allotment_counts(variables: dict[str, str], count: int, tmp_path: Path) -> None:
    assert allotted_cpus(variables, tmp_path) == count


@pytest.mark.parametrize(
    ("line", "files", "count"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        ("0::/", {"sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, 48),
        ("0::/a/b", {"sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "350000 100000"}, 3),
        ("0::/../a", {"sys/fs/cgroup/cpu.max": "900000 100000"}, 9),
        (
            "4:cpu,cpuacct:/job",
            {
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "400000",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
            },
            4,
        ),
        (
            "4:cpu:/",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            48,
        ),
        ("5:memory:/job", {"sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "400000"}, 48),
    ],
)
def test_control_groups_count(line: str, files: dict[str, str], count: int, tmp_path: Path) -> None:
    assert allotted_cpus({}, grouped(tmp_path, line, files)) == count


def test_it_runs_alone() -> None:
    path = Path(cpus.__file__)
    done = subprocess.run(
        [sys.executable, "-S", "-I", str(path)], capture_output=True, text=True, check=True, env={"NSLOTS": "1"}
    )
    assert done.stdout == "1\n"
