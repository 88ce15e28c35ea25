# What a cluster's scheduler is told: resources, and which short runs share a submission. Nothing of it limits or delays
# a local run. docs/cluster.md explains the profile that goes with it.
import functools

from iadsr.machine.provenance import commit
from iadsr.resources import ALLOW_DIRTY, check_checkout, dataset_size
from iadsr.resources import estimate_run, group_components, group_of, time_limit

# Whether this Snakemake hands its jobs to an executor: the user's own, and the one inside each submission.
SUBMITS = workflow.resource_settings.nodes is not None
# A submission's GPU and time, in percent. A run takes all of it, so that a group's runs follow one another; with
# `--set-resources training:shares=25` four of them run side by side.
WHOLE = 100
# Every run's ranks are read at once.
EVALUATION_MB = 3000 + 4 * len(CELLS)

if SUBMITS and workflow.is_main_process:
    try:
        check_checkout(commit(HERE), os.environ.get(ALLOW_DIRTY))
    except IadsrError as error:
        raise WorkflowError(str(error)) from None
if SUBMITS or not workflow.is_main_process:
    workflow.register_resource("shares", WHOLE)


resource_scopes:
    shares="local",


# Downloads need a network, which nodes often lack.
localrules:
    datasets,


def estimate(cell):
    return estimate_run(cell, dataset_size(SPECS[cell.dataset]))


@functools.cache
def run_depth(address):
    """The number of runs that must end before it, one after another."""
    matched = CELLS[address].matched
    before = [other.address for other in EARLIER.get(address, ())[-1:]]
    before += [] if matched is None else [matched]
    return max((1 + run_depth(other) for other in before), default=0)


def run_group(wildcards):
    if workflow.is_main_process:
        if not workflow.group_settings.group_components:
            return None
    else:
        # Inside a submission its runs are one group, whatever their number: one step of Slurm, one Snakemake.
        workflow.group_settings.group_components = dict.fromkeys(
            group_components(), sys.maxsize
        )
    name = group_of(estimate(cell_of(wildcards)).seconds)
    depth = run_depth(wildcards.address)
    if name is None or depth == 0:
        return name
    # Runs that wait for others are grouped by depth: Snakemake would take a chain of runs for one, and submissions could
    # wait for each other. The number of runs in such a group is that of its parent.
    workflow.parent_groupids[f"{name}_after_{depth}"] = name
    return f"{name}_after_{depth}"


def run_memory(wildcards, attempt):
    return estimate(cell_of(wildcards)).memory_mb * attempt


def run_minutes(wildcards, attempt):
    return time_limit(estimate(cell_of(wildcards)).seconds, attempt)


def search_memory(wildcards, attempt):
    return estimate(search_of(wildcards)).memory_mb * attempt


def search_minutes(wildcards, attempt):
    return time_limit(RUN.trials * estimate(search_of(wildcards)).seconds, attempt)


def growing(amount):
    """The amount, and as much again after each failure."""
    return lambda wildcards, attempt: amount * attempt
