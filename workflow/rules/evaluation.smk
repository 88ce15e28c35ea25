rule evaluation:
    input:
        settings=ancient(SETTINGS),
        records=RECORDS,
        ranks=RANKS,
        curves=CURVES,
        catalogues=expand(rules.datasets.output.catalogue, dataset=RUN.datasets),
    output:
        metrics=f"{ROOT}/evaluation/metrics.parquet",
        runs=f"{ROOT}/evaluation/runs.parquet",
        curves=f"{ROOT}/evaluation/curves.parquet",
    log:
        f"{ROOT}/logs/evaluation.log",
    conda:
        "../../envs/core.yaml"
    params:
        source=source("evaluation"),
        cells=list(CELLS),
    message:
        "Scoring every run's ranks"
    shell:
        "python -m iadsr evaluate --config {input.settings} 2>&1 | tee {log} >&2"
