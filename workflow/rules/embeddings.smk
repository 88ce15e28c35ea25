# LLM2Vec needs old transformers, hence an environment of its own: --use-conda's, or the Python that the run file names.
rule embeddings:
    input:
        settings=ancient(SETTINGS),
        catalogue=rules.datasets.output.catalogue,
    output:
        f"{ROOT}/embeddings/{{dataset}}/{{embedding}}.safetensors",
    log:
        f"{ROOT}/logs/embeddings/{{dataset}}/{{embedding}}.log",
    conda:
        "../../envs/llm2vec.yaml" if ENCODER == "llm2vec" else "../../envs/core.yaml"
    resources:
        gpu=1 if ENCODER == "llm2vec" and RUN.device != "cpu" else 0,
    params:
        source=source("embeddings"),
        encoder=lambda wildcards: EMBEDDINGS[wildcards.dataset, wildcards.embedding],
        python=(
            RUN.llm2vec_python
            if ENCODER == "llm2vec" and RUN.llm2vec_python
            else "python"
        ),
    message:
        "Encoding the item names of {wildcards.dataset}: {wildcards.embedding}"
    shell:
        "{params.python} -m iadsr embeddings --config {input.settings} --dataset {wildcards.dataset}"
        " --name {wildcards.embedding} 2>&1 | tee {log} >&2"
