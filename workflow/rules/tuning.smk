# One search per method of the main grid. Its journal is no output, so that a search that was killed goes on; `iadsr adopt`
# copies finished searches into workflow/config/tuned/.
rule tuning:
    input:
        sequences=f"{ROOT}/sequences/{{dataset}}/sequences.npz",
        embeddings=lambda wildcards: text_files(search_of(wildcards)),
        matched=lambda wildcards: matched_files(search_of(wildcards)),
        alone=lambda wildcards: alone_files(search_of(wildcards)),
    output:
        f"{ROOT}/tuning/{{dataset}}/{{protocol}}/{{backbone}}/{{method}}/trials.csv",
    log:
        f"{ROOT}/logs/tuning/{{dataset}}/{{protocol}}/{{backbone}}/{{method}}.log",
    conda:
        "../../envs/core.yaml"
    threads: RUN.threads
    resources:
        gpu=int(RUN.device == "cuda"),
        shares=WHOLE,
        mem_mb=search_memory,
        runtime=search_minutes,
    params:
        settings=SETTINGS,
        python=PYTHON,
        trials=RUN.trials,
        cell=lambda wildcards: search_of(wildcards).digest,
    message:
        "Tuning {wildcards.dataset}/{wildcards.protocol}/{wildcards.backbone}/{wildcards.method}"
    shell:
        "{params.python:q} -m iadsr tune --config {params.settings:q} --dataset {wildcards.dataset:q}"
        " --protocol {wildcards.protocol:q} --backbone {wildcards.backbone:q} --method {wildcards.method:q}"
        " > {log:q} 2>&1 || {{ tail -n 5 {log:q} >&2; exit 1; }}"


rule tuning_all:
    input:
        [f"{ROOT}/tuning/{folder}/trials.csv" for folder in SEARCHES],
    message:
        "Every search is finished; `iadsr adopt` takes their values over"
