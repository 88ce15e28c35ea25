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
    params:
        settings=SETTINGS,
        source=source("embeddings"),
        encoder=lambda wildcards: EMBEDDINGS[wildcards.dataset, wildcards.embedding],
        python="python",
    message:
        "Encoding the item names of {wildcards.dataset}: {wildcards.embedding}"
    shell:
        "{params.python} -m iadsr embeddings --config {params.settings} --dataset {wildcards.dataset}"
        " --name {wildcards.embedding} 2>&1 | tee {log} >&2"


# LLM2Vec needs old transformers, hence an environment of its own: --use-conda's, or the Python that the run file names.
use rule embeddings as embeddings_llm2vec with:
    wildcard_constraints:
        embedding=r"llm2vec[^/]*",
    conda:
        "../../envs/llm2vec.yaml"
    resources:
        gpu=0 if RUN.device == "cpu" else 1,
    params:
        settings=SETTINGS,
        source=source("embeddings"),
        encoder=lambda wildcards: EMBEDDINGS[wildcards.dataset, wildcards.embedding],
        python=RUN.llm2vec_python or "python",


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
    params:
        settings=SETTINGS,
        source=source("embeddings"),
        encoder=lambda wildcards: EMBEDDINGS[wildcards.dataset, wildcards.embedding],
        python="python",
    message:
        "Encoding the joined names of {wildcards.dataset}: {wildcards.embedding}"
    shell:
        "{params.python} -m iadsr prefixes --config {params.settings} --dataset {wildcards.dataset}"
        " --name {wildcards.embedding} 2>&1 | tee {log} >&2"


use rule prefixes as prefixes_llm2vec with:
    wildcard_constraints:
        embedding=r"llm2vec[^/]*",
    conda:
        "../../envs/llm2vec.yaml"
    resources:
        gpu=0 if RUN.device == "cpu" else 1,
    params:
        settings=SETTINGS,
        source=source("embeddings"),
        encoder=lambda wildcards: EMBEDDINGS[wildcards.dataset, wildcards.embedding],
        python=RUN.llm2vec_python or "python",
