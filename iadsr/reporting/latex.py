"""A table as LaTeX (booktabs), for papers: ASCII only, so that pdflatex compiles it whatever the names hold."""

from __future__ import annotations

import functools
import re
import unicodedata

import pandas as pd

from iadsr.reporting.layout import Cell, Column, Table

_BREAK = "\0"  # keeps hyphens from becoming a dash
_SPECIAL = {
    _BREAK: "{}",
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",  # a dash in LaTeX's first font
    "[": "{[}",  # after a line break it would open an argument
    "]": "{]}",
    "*": "{*}",
    "\u00a0": "~",
    "\u2009": r"\,",
    "\u202f": r"\,",
    "\u2010": "-",
    "\u2011": "-",
    "–": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "„": ",,",
    "‚": ",",
    "…": r"\ldots{}",
    "•": r"\textbullet{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "©": r"\copyright{}",
    "£": r"\pounds{}",
    "⁄": "/",
    "€": "EUR",
    "™": r"$^{\mathrm{TM}}$",
    "®": r"$^{\mathrm{R}}$",
    "°": r"$^{\circ}$",
    "′": r"$'$",
    "″": r"$''$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "đ": "d",
    "Đ": "D",
    "ð": "d",
    "Ð": "D",
    "þ": "th",
    "Þ": "Th",
}
_MATHS = {
    "±": "pm", "∓": "mp", "×": "times", "÷": "div", "·": "cdot", "⋅": "cdot", "∗": "ast", "∘": "circ",
    "≤": "leq", "≥": "geq", "≠": "neq", "≈": "approx", "≃": "simeq", "≅": "cong", "≡": "equiv", "∼": "sim",
    "∝": "propto", "≪": "ll", "≫": "gg", "«": "ll", "»": "gg", "∞": "infty", "√": "surd", "∑": "sum", "∏": "prod",
    "∫": "int", "∂": "partial", "∇": "nabla", "∈": "in", "∉": "notin", "∋": "ni", "⊂": "subset", "⊆": "subseteq",
    "⊃": "supset", "∩": "cap", "∪": "cup", "∅": "emptyset", "∀": "forall", "∃": "exists", "∧": "wedge", "∨": "vee",
    "¬": "neg", "⊕": "oplus", "⊗": "otimes", "⊤": "top", "⊥": "bot", "∣": "mid", "∥": "parallel", "‖": "parallel",
    "⟨": "langle", "⟩": "rangle", "←": "leftarrow", "→": "rightarrow", "↑": "uparrow", "↓": "downarrow",
    "↔": "leftrightarrow", "⇐": "Leftarrow", "⇒": "Rightarrow", "⇔": "Leftrightarrow", "↦": "mapsto", "△": "triangle",
    "★": "star", "ϑ": "vartheta", "ϕ": "phi", "φ": "varphi", "ϵ": "epsilon", "ε": "varepsilon",
    "ς": "varsigma", "ℓ": "ell",
}  # fmt: skip
_MINUS = "\u2212"
_GREEK = (
    *("alpha", "beta", "gamma", "delta", "zeta", "eta", "theta", "iota", "kappa", "mu", "nu", "xi", "pi", "rho"),
    *("sigma", "tau", "upsilon", "chi", "psi", "omega"),
)
_GREEK_CAPITALS = ("gamma", "delta", "theta", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega")
_LATIN_LIKE = {"ALPHA": "A", "BETA": "B", "EPSILON": "E", "ZETA": "Z", "ETA": "H", "IOTA": "I", "KAPPA": "K"} | {
    **{"MU": "M", "NU": "N", "OMICRON": "O", "RHO": "P", "TAU": "T", "CHI": "X"}
}
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c", "\u0331": "b",
}  # fmt: skip


def escape(text: str) -> str:
    """`text` as ASCII that LaTeX sets literally; a character that its usual fonts lack becomes its code, [U+4E2D]."""
    text = re.sub(r"[\t\n\v\f\r]+", " ", unicodedata.normalize("NFC", text))
    return "".join(map(_escaped, re.sub("-(?=-)", f"-{_BREAK}", text)))


@functools.cache
def _escaped(character: str) -> str:
    """One character, ready for LaTeX."""
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character in _MATHS:
        return rf"$\{_MATHS[character]}$"
    if character == _MINUS:
        return "$-$"
    if character.isascii():
        return character if character.isprintable() else ""
    return _greek(character) or _composed(character)


def _greek(character: str) -> str:
    """A Greek letter without accent as LaTeX's command, or as the Latin letter that looks the same; else empty."""
    words = unicodedata.name(character, "").split()
    if words[:1] != ["GREEK"] or words[2:3] != ["LETTER"] or len(words) != 4:
        return ""
    name = words[3].lower().replace("lamda", "lambda")
    if words[1] == "SMALL":
        return "o" if name == "omicron" else rf"$\{name}$" if name in (*_GREEK, "lambda") else ""
    return rf"$\{name.capitalize()}$" if name in (*_GREEK_CAPITALS, "lambda") else _LATIN_LIKE.get(words[3], "")


def _composed(character: str) -> str:
    """A letter with accent, a digit above or below the line, a ligature; else the character's code."""
    if unicodedata.category(character) in ("Cf", "Mn", "Me"):  # marks and directions without a width of their own
        return ""
    kind, _, parts = unicodedata.decomposition(character).rpartition(">")
    letters = [chr(int(code, 16)) for code in parts.split()]
    whole = "".join(map(_escaped, letters))
    if kind in ("<super", "<sub"):
        return "${}{{{}}}$".format("^" if kind == "<super" else "_", whole.replace("$", ""))
    if kind:
        return whole
    if letters:
        base, accent = _escaped(letters[0]), _ACCENTS.get(letters[-1])
        plain = base.isascii() and base.isalpha()
        dotless = {"i": r"\i", "j": r"\j"}.get(base, base) if accent not in ("d", "c", "b") else base
        return rf"\{accent}{{{dotless}}}" if accent and plain else base
    return f"{{[}}U+{ord(character):04X}{{]}}"


def to_latex(table: Table) -> str:
    """The table as displayed, with its caption and the label `tab:<name>`. Needs the package booktabs."""
    rows = [[text for cell in row.cells for text in _texts(cell)] for row in table.rows]
    frame = pd.DataFrame(rows, columns=[_title(column) for column in table.columns], dtype=object)
    layout = "".join("r" if column.numeric else "l" for column in table.columns)
    return frame.to_latex(
        index=False,
        escape=False,
        caption=escape(table.caption),
        label=f"tab:{table.name}",
        column_format=layout,
        position="htbp",
    )


def _title(column: Column) -> str:
    return escape(f"{column.title} ({column.sub})" if column.sub else column.title)


def _texts(cell: Cell) -> list[str]:
    text = escape(cell.text)
    text = rf"\textbf{{{text}}}" if cell.best else text
    text = f"{text} {escape(cell.sub)}" if cell.sub else text
    return [text, *[""] * (cell.span - 1)]
