"""Counts the CPUs that this process may use.

`make` runs this file under any Python 3, before anything is installed: it imports the standard library alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

# How batch systems say it: Slurm, Grid Engine, PBS, LSF.
_VARIABLES = (
    "SLURM_CPUS_PER_TASK",
    "SLURM_CPUS_ON_NODE",
    "SLURM_JOB_CPUS_PER_NODE",
    "NSLOTS",
    "PBS_NCPUS",
    "LSB_DJOB_NUMPROC",
)


def allotted_cpus(variables: Mapping[str, str], root: Path = Path("/")) -> int:
    """Return the least of the machine's count and every limit: affinity, control groups, the batch system's allotment.

    Args:
        variables: the environment.
        root: where `proc` and `sys` are.
    """
    limits = [float(os.cpu_count() or 1)]
    if hasattr(os, "sched_getaffinity"):
        limits.append(len(os.sched_getaffinity(0)))
    # "4(x2)": four on each of two nodes
    limits += [int(found[0]) for name in _VARIABLES if (found := re.match(r"\d+", variables.get(name, "")))]
    limits += _group_limits(root)
    return max(1, int(min(limits)))


def _group_limits(root: Path) -> Iterator[float]:
    """Yield the CPUs that each control group around this process allows (versions 2 and 1)."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        folder = top / group.lstrip("/")
        for place in (folder, *folder.parents):
            if controllers:
                quota = _numbers(place / "cpu.cfs_quota_us") + _numbers(place / "cpu.cfs_period_us")
            else:
                quota = _numbers(place / "cpu.max")
            if len(quota) == 2 and quota[0] > 0 and quota[1] > 0:
                yield quota[0] / quota[1]
            if place == top:
                break


def _numbers(path: Path) -> list[int]:
    """Read the whole numbers in a file; none if it cannot be read, and none for `max`."""
    try:
        return [int(word) for word in path.read_text().split()]
    except (OSError, ValueError):
        return []


if __name__ == "__main__":
    print(allotted_cpus(os.environ))
