# What was published, as data; see workflow/config/README.md.
CLAIMS = [
    os.path.relpath(path) for path in sorted((CONFIG_FOLDER / "claims").glob("*.yaml"))
]


rule statistics:
    input:
        # follow every run: a second list of the records costs seconds to plan
        evaluated=rules.evaluation.output,
        summaries=expand(rules.datasets.output.summary, dataset=RUN.all_datasets),
        claims=CLAIMS,
    output:
        [f"{ROOT}/statistics/{name}.parquet" for name in STATISTICS],
        f"{ROOT}/statistics/{FINDINGS}",
    log:
        f"{ROOT}/logs/statistics.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=growing(EVALUATION_MB),
        runtime=growing(60),
    params:
        settings=SETTINGS,
        python=PYTHON,
        source=source("statistics"),
        cells={name: [cell.address for cell in grid] for name, grid in GRIDS.items()},
        compared={name: RUN.compared(name) for name in GRIDS},
    message:
        "Testing methods against their baselines"
    shell:
        "{params.python:q} -m iadsr statistics --config {params.settings:q} 2>&1 | tee {log:q} >&2"
