from iadsr.config.reuse import earlier_runs

# by address: the runs that a point of a sweep waits for, because one of them may be the very same run; the last one
# waits for all the others
EARLIER = earlier_runs(CELLS.values())


rule training:
    input:
        sequences=lambda wildcards: f"{ROOT}/sequences/{cell_of(wildcards).dataset}/sequences.npz",
        embeddings=lambda wildcards: text_files(cell_of(wildcards)),
        matched=lambda wildcards: matched_files(cell_of(wildcards)),
        earlier=lambda wildcards: [
            f"{ROOT}/runs/{other.address}/record.json"
            for other in EARLIER.get(wildcards.address, ())[-1:]
        ],
    output:
        record=f"{ROOT}/runs/{{address}}/record.json",
        ranks=f"{ROOT}/runs/{{address}}/ranks.parquet",
        curve=f"{ROOT}/runs/{{address}}/curve.csv",
    log:
        f"{ROOT}/logs/training/{{address}}.log",
    group:
        run_group if SUBMITS else None
    conda:
        "../../envs/core.yaml"
    threads: RUN.threads
    resources:
        gpu=int(RUN.device == "cuda"),
        shares=WHOLE,
        mem_mb=run_memory,
        runtime=run_minutes,
    params:
        settings=SETTINGS,
        python=PYTHON,
        threads=RUN.threads,  # changes digits, so it retrains
        cell=lambda wildcards: cell_of(wildcards).digest,
        source=lambda wildcards: source("training", **cell_of(wildcards).modules),
    message:
        "Training {wildcards.address}"
    shell:
        "{params.python:q} -m iadsr train {wildcards.address:q} --config {params.settings:q} > {log:q} 2>&1"
        " || {{ tail -n 5 {log:q} >&2; exit 1; }}"
