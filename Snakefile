# The IADSR replication: datasets -> embeddings -> sequences -> training -> evaluation -> statistics -> report.
# Results are addressed as results/runs/<dataset>/<protocol>/<backbone>/<method>/seed<k>/ (workflow/config/README.md).
from snakemake.utils import min_version

min_version("9.0")


include: "workflow/rules/common.smk"
include: "workflow/rules/hooks.smk"
include: "workflow/rules/cluster.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/sequences.smk"
include: "workflow/rules/embeddings.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/tuning.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/statistics.smk"
include: "workflow/rules/reporting.smk"


rule all:
    default_target: True
    input:
        f"{ROOT}/report/index.html",
