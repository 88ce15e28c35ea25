"""Write the validated run file that the other rules' commands read."""

import json
from pathlib import Path

Path(snakemake.output[0]).write_text(json.dumps(snakemake.params.run, indent=2) + "\n")  # noqa: F821
Path(snakemake.log[0]).write_text("written\n")  # noqa: F821
