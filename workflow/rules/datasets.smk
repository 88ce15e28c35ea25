rule datasets:
    input:
        spec=f"{os.path.relpath(CONFIG_FOLDER)}/datasets/{{dataset}}.yaml",
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
        source=source("datasets"),
    message:
        "Obtaining and verifying {wildcards.dataset}"
    shell:
        "{params.python:q} -m iadsr datasets --config {params.settings:q} --dataset {wildcards.dataset:q} 2>&1 | tee {log:q} >&2"
