rule statistics:
    input:
        # follows every run: a second list of the records costs seconds to plan
        runs=rules.evaluation.output.runs,
    output:
        f"{ROOT}/statistics/comparisons.parquet",
    log:
        f"{ROOT}/logs/statistics.log",
    conda:
        "../../envs/core.yaml"
    params:
        settings=SETTINGS,
        python=PYTHON,
        source=source("statistics"),
        cells={name: [cell.address for cell in grid] for name, grid in GRIDS.items()},
        baselines={name: part.baseline for name, part in RUN.experiments.items()},
    message:
        "Testing methods against their baselines"
    shell:
        "{params.python:q} -m iadsr compare --config {params.settings:q} 2>&1 | tee {log:q} >&2"
