"""LaTeX that pdflatex compiles, whatever a table holds."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from iadsr.reporting.latex import escape, to_latex
from iadsr.reporting.layout import Cell, Column, Row, Table

# what LaTeX knows without packages and in its first font (OT1); all of it was compiled once
_WORDS = """
textbackslash textasciitilde textasciicircum ldots textbullet S P copyright pounds dag ddag ss ae AE oe OE o O l L i
j mathrm circ pm mp times div cdot ast leq geq neq approx simeq cong equiv sim propto ll gg infty surd sum prod int
partial nabla in notin ni subset subseteq supset cap cup emptyset forall exists wedge vee neg oplus otimes top bot
mid parallel langle rangle leftarrow rightarrow uparrow downarrow leftrightarrow Leftarrow Rightarrow Leftrightarrow
mapsto triangle star alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi
rho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega
ell u r H v d c b
"""
COMMANDS = {*_WORDS.split(), *"&%$#_{},`'^~=.\""}


def test_every_character_becomes_ascii_that_latex_knows() -> None:
    for code in (*range(0x20, 0xD800), *range(0xE000, 0x11000), *range(0x1D400, 0x1D800), *range(0x1F300, 0x1F700)):
        made = escape(f"a{chr(code)}b")
        assert made.isascii() and made.isprintable(), hex(code)
        bare = re.sub(r"\\([A-Za-z]+|.)", "", made)
        assert set(re.findall(r"\\([A-Za-z]+|.)", made)) <= COMMANDS, hex(code)
        assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0, hex(code)
        assert not set(bare) & set("&%#\\"), hex(code)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("θ ≥ 0.5 → −1", r"$\theta$ $\geq$ 0.5 $\rightarrow$ $-$1"),
        ("1 × 2 · 3 …", r"1 $\times$ 2 $\cdot$ 3 \ldots{}"),
        ("Véronique Ångström naïve", r"V\'{e}ronique \r{A}ngstr\"{o}m na\"{\i}ve"),
        ("e\u0301", r"\'{e}"),
        ("ế ő ş", r"\^{e} \H{o} \c{s}"),
        ("ΔΕλ ά", r"$\Delta$E$\lambda$ $\alpha$"),
        ("x² H₂O x⁻¹ ½ ﬁ", r"x$^{2}$ H$_{2}$O x$^{-}$$^{1}$ 1/2 fi"),
        ("日 ☃", "{[}U+65E5{]} {[}U+2603{]}"),
        ("--cores 5–10", "-{}-cores 5--10"),
        ("[a] *b* |c| a&b_c%", r"{[}a{]} {*}b{*} $|$c$|$ a\&b\_c\%"),
        ("two\nlines\tand\u200b nothing", "two lines and nothing"),
        ("1\u202f000\u00a0km", r"1\,000~km"),
    ],
)
def test_characters_are_set_as_they_look(text: str, made: str) -> None:
    assert escape(text) == made


def test_a_table_of_foreign_names_is_ascii() -> None:
    name = "[日本] é≥θ"
    rows = [Row([Cell(name, head=True), Cell(name, sub=name, best=True)])]
    columns = [Column(name, numeric=False), Column(name, sub=name)]
    made = to_latex(Table("x", f"{name}\n\n{name}", columns, rows, pd.DataFrame()))
    assert made.isascii()
    assert r"{[}{[}U+65E5{]}{[}U+672C{]}{]} \'{e}$\geq$$\theta$ & \textbf{" in made
    assert "\n\n" not in made.strip()
