rule sequences:
    input:
        interactions=rules.datasets.output.interactions,
        catalogue=rules.datasets.output.catalogue,
    output:
        f"{ROOT}/sequences/{{dataset}}/sequences.npz",
    log:
        f"{ROOT}/logs/sequences/{{dataset}}.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        settings=SETTINGS,
        python=PYTHON,
        source=source("sequences"),
    message:
        "Sorting {wildcards.dataset} into user sequences"
    shell:
        "{params.python:q} -m iadsr sequences --config {params.settings:q} --dataset {wildcards.dataset:q} 2>&1 | tee {log:q} >&2"


rule all_sequences:
    input:
        expand(rules.sequences.output, dataset=RUN.all_datasets),
    message:
        "Every dataset is prepared"
