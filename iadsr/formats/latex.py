"""LaTeX: texts that are set literally."""

from __future__ import annotations

import re

from pylatexenc.latexencode import UnicodeToLatexEncoder

_ENCODER = UnicodeToLatexEncoder(unknown_char_policy="unihex", unknown_char_warning=False)


def escape(text: str) -> str:
    """Write `text` as ASCII that LaTeX sets literally; a character that its usual fonts lack becomes its code."""
    text = re.sub(r"[\t\n\v\f\r]+", " ", text).replace("\u202f", "\u2009")
    kept = "".join(mark for mark in text if mark.isprintable() or mark in "\u2009\u00a0")
    encoded: str = _ENCODER.unicode_to_latex(kept)
    # hyphens would join to a dash, a bar is a dash in the first font, a bracket after a line break opens an argument
    for mark, literal in (("--", "-{}-"), ("|", "{\\textbar}"), ("[", "{[}"), ("]", "{]}")):
        encoded = encoded.replace(mark, literal)
    return encoded
