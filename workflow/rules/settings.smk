localrules:
    settings,


rule settings:
    output:
        SETTINGS,
    log:
        f"{ROOT}/logs/settings.log",
    conda:
        "../../envs/core.yaml"
    params:
        run=RUN.model_dump(),
    message:
        "Writing the resolved run file"
    script:
        "../scripts/settings.py"
