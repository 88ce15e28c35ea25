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
        source=source("datasets"),
    message:
        "Obtaining and verifying {wildcards.dataset}"
    shell:
        "python -m iadsr datasets --config {params.settings} --dataset {wildcards.dataset} 2>&1 | tee {log} >&2"
