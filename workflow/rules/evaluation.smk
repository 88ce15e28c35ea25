rule evaluation:
    input:
        # a record is written last and stands for its run's three files: listing all of them costs seconds to plan
        records=RECORDS,
        catalogues=expand(rules.datasets.output.catalogue, dataset=RUN.all_datasets),
        sequences=expand(rules.sequences.output, dataset=RUN.all_datasets),
    output:
        metrics=f"{ROOT}/evaluation/metrics.parquet",
        runs=f"{ROOT}/evaluation/runs.parquet",
        curves=f"{ROOT}/evaluation/curves.parquet",
        keep=f"{ROOT}/evaluation/keep.parquet",
        drops=f"{ROOT}/evaluation/drops.parquet",
        popularity=f"{ROOT}/evaluation/popularity.parquet",
        inputs=f"{ROOT}/evaluation/inputs.parquet",
    log:
        f"{ROOT}/logs/evaluation.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=growing(EVALUATION_MB),
        runtime=growing(60),
    params:
        settings=SETTINGS,
        python=PYTHON,
        source=source("evaluation"),
        cells=list(CELLS),
        metrics=metric_digests(RUN.metrics),
    message:
        "Scoring every run's ranks"
    shell:
        "{params.python:q} -m iadsr evaluate --config {params.settings:q} 2>&1 | tee {log:q} >&2"
