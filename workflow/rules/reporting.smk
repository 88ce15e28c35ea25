rule reporting:
    input:
        settings=ancient(SETTINGS),
        metrics=rules.evaluation.output,
        comparisons=rules.statistics.output,
        summaries=expand(rules.datasets.output.summary, dataset=RUN.datasets),
        embeddings=(
            expand(rules.embeddings.output, dataset=RUN.datasets)
            if any(cell.encoder for cell in CELLS.values())
            else []
        ),
        protocols=[
            f"{os.path.relpath(CONFIG_FOLDER)}/protocols/{name}.yaml"
            for name in RUN.protocols
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
    params:
        source=source("reporting"),
        run=RUN.model_dump(),
    message:
        f"Drawing {ROOT}/report/index.html"
    shell:
        "python -m iadsr report --config {input.settings} 2>&1 | tee {log} >&2"
