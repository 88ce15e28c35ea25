rule reporting:
    input:
        metrics=rules.evaluation.output,
        comparisons=rules.statistics.output,
        summaries=expand(rules.datasets.output.summary, dataset=RUN.all_datasets),
        claims=CLAIMS,
        protocols=[
            f"{os.path.relpath(CONFIG_FOLDER)}/protocols/{name}.yaml"
            for name in dict.fromkeys(cell.protocol for cell in CELLS.values())
        ],
        templates=[
            os.path.relpath(path)
            for path in sorted((HERE / "report").iterdir())
            if path.is_file()
        ],
    output:
        f"{ROOT}/report/index.html",
    log:
        f"{ROOT}/logs/report.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        settings=SETTINGS,
        python=PYTHON,
        source=source("reporting"),
        run=RUN.model_dump(),
        methods=METHODS,
        notes={name: spec.model_dump(include=PROSE) for name, spec in SPECS.items()},
    message:
        f"Drawing {ROOT}/report/index.html"
    shell:
        "{params.python:q} -m iadsr report --config {params.settings:q} 2>&1 | tee {log:q} >&2"
