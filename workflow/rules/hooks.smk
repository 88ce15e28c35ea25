# What Snakemake's main process does before the first job and after the last one.
import shutil


# No job's output: one that must be made anew hides everything behind it from the plan, if it is ancient to that.
onstart:
    try:
        write_json(SETTINGS, RUN.model_dump())
    except OSError as error:
        raise WorkflowError(explain(error)) from None


# A job that found no room for its log could not say so there.
onerror:
    try:
        check_writable(Path(ROOT))
    except OSError as error:
        print(f"error: {explain(error)}", file=sys.stderr)


# Kept for a workflow that is cut off, which deletes what jobs have made; see iadsr/training/finished.py.
onsuccess:
    shutil.rmtree(f"{ROOT}/scratch/finished", ignore_errors=True)
