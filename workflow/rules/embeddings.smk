# LLM2Vec needs old transformers, hence an environment of its own: --use-conda's, or the Python that the run file names.
LLM2VEC_PYTHON = Path(RUN.llm2vec_python or PYTHON)


rule embeddings:
    input:
        catalogue=rules.datasets.output.catalogue,
    output:
        f"{ROOT}/embeddings/{{dataset}}/{{embedding}}.safetensors",
    log:
        f"{ROOT}/logs/embeddings/{{dataset}}/{{embedding}}.log",
    wildcard_constraints:
        embedding=r"(?!llm2vec)[^/]+",
    conda:
        "../../envs/core.yaml"
    resources:
        gpu=int(RUN.device == "cuda"),
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        settings=SETTINGS,
        source=encoder_source,
        encoder=lambda wildcards: EMBEDDINGS[wildcards.dataset, wildcards.embedding],
        python=PYTHON,
    message:
        "Encoding the item names of {wildcards.dataset}: {wildcards.embedding}"
    shell:
        "{params.python:q} -m iadsr embeddings --config {params.settings:q} --dataset {wildcards.dataset:q}"
        " --name {wildcards.embedding:q} 2>&1 | tee {log:q} >&2"


use rule embeddings as embeddings_llm2vec with:
    wildcard_constraints:
        embedding=r"llm2vec[^/]*",
    conda:
        "../../envs/llm2vec.yaml"
    resources:
        gpu=int(RUN.device != "cpu"),
        mem_mb=growing(24000),
        runtime=growing(240),
    params:
        settings=SETTINGS,
        source=encoder_source,
        encoder=lambda wildcards: EMBEDDINGS[wildcards.dataset, wildcards.embedding],
        python=LLM2VEC_PYTHON,


# Joined names, for methods with `interest_text: prefixes`: one vector per distinct text, and which one is whose.
rule prefixes:
    input:
        catalogue=rules.datasets.output.catalogue,
        sequences=rules.sequences.output,
    output:
        vectors=f"{ROOT}/prefixes/{{dataset}}/{{embedding}}.safetensors",
        rows=f"{ROOT}/prefixes/{{dataset}}/{{embedding}}.npz",
    log:
        f"{ROOT}/logs/prefixes/{{dataset}}/{{embedding}}.log",
    wildcard_constraints:
        embedding=r"(?!llm2vec)[^/]+",
    conda:
        "../../envs/core.yaml"
    resources:
        gpu=int(RUN.device == "cuda"),
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        settings=SETTINGS,
        source=encoder_source,
        encoder=lambda wildcards: EMBEDDINGS[wildcards.dataset, wildcards.embedding],
        python=PYTHON,
    message:
        "Encoding the joined names of {wildcards.dataset}: {wildcards.embedding}"
    shell:
        "{params.python:q} -m iadsr prefixes --config {params.settings:q} --dataset {wildcards.dataset:q}"
        " --name {wildcards.embedding:q} 2>&1 | tee {log:q} >&2"


use rule prefixes as prefixes_llm2vec with:
    wildcard_constraints:
        embedding=r"llm2vec[^/]*",
    conda:
        "../../envs/llm2vec.yaml"
    resources:
        gpu=int(RUN.device != "cpu"),
        mem_mb=growing(24000),
        runtime=growing(240),
    params:
        settings=SETTINGS,
        source=encoder_source,
        encoder=lambda wildcards: EMBEDDINGS[wildcards.dataset, wildcards.embedding],
        python=LLM2VEC_PYTHON,
