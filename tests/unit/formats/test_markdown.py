from __future__ import annotations

from pathlib import Path

import pytest

from iadsr.core.errors import ConfigError
from iadsr.formats.markdown import literal, put_between


def test_a_text_goes_between_the_first_marks_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("a <!-- x -->\nold <!-- y --> b <!-- y -->")
    put_between(file, "<!-- x -->", "<!-- y -->", "| new |\n")
    assert file.read_text() == "a <!-- x -->\n\n| new |\n\n<!-- y --> b <!-- y -->"


@pytest.mark.parametrize("text", ["<!-- x -->\n", "<!-- y -->", ""])
def test_a_file_without_both_marks_stays_as_it_is(text: str, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(text)
    with pytest.raises(ConfigError, match="lacks the marks <!-- x --> and <!-- y -->"):
        put_between(file, "<!-- x -->", "<!-- y -->", "new")
    assert file.read_text() == text


def test_marks_of_markdown_are_escaped() -> None:
    assert literal("a|b*c_d`<e>\\") == r"a\|b\*c\_d\`\<e\>\\"
