"""The tables in a paper of two columns; skipped where pdflatex is missing."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

WIDTH = 5  # points that a line may stick out
PAPER = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs,graphicx}
\begin{document}
%s
\end{document}
"""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_tables_fit_a_paper_of_two_columns(page: Path, tmp_path: Path) -> None:
    tables = sorted(page.parent.glob("tables/*.tex"))
    body = "\n".join(rf"\typeout{{{table.name}}}\input{{{table}}}\clearpage" for table in tables)
    (tmp_path / "paper.tex").write_text(PAPER % body)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert ran.returncode == 0, ran.stdout[-2000:]
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert log.count(".tex\n") > len(tables) > 40
    table, wrong = "", []
    for line in log.splitlines():
        table = line if line.endswith(".tex") else table
        over = re.match(r"Overfull \\[hv]box \((\S+)pt", line)
        if (over and float(over[1]) > WIDTH) or re.match("LaTeX Warning: (Float too large|Label .* multiply)", line):
            wrong.append((table, line))
    assert wrong == []
