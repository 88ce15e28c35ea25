from iadsr.config.datasets import PROSE, dataset_file, load_spec

SPECS = {
    name: load_spec(dataset_file(CONFIG_FOLDER, name, RUN.where))
    for name in RUN.all_datasets
}


rule datasets:
    output:
        interactions=f"{ROOT}/data/{{dataset}}/interactions.parquet",
        catalogue=f"{ROOT}/data/{{dataset}}/items.parquet",
        summary=f"{ROOT}/data/{{dataset}}/summary.json",
    log:
        f"{ROOT}/logs/datasets/{{dataset}}.log",
    conda:
        "../../envs/core.yaml"
    params:
        settings=SETTINGS,
        python=PYTHON,
        spec=lambda wildcards: SPECS[wildcards.dataset].model_dump(
            mode="json", exclude=PROSE
        ),
        source=lambda wildcards: source(
            "datasets", datasets=SPECS[wildcards.dataset].reader
        ),
    message:
        "Obtaining and verifying {wildcards.dataset}"
    shell:
        "{params.python:q} -m iadsr datasets --config {params.settings:q} --dataset {wildcards.dataset:q} 2>&1 | tee {log:q} >&2"
