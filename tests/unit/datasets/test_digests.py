"""The record of accepted files."""

from pathlib import Path

import pytest

from iadsr.core.errors import DataError
from iadsr.datasets.digests import Origin, RawFile, accept, read_digests


def raw_file(name: str, origin: Origin, sha256: str) -> RawFile:
    return RawFile(Path("raw", origin, name), origin, sha256, 5, published=False, enforced=False)


def test_without_a_record_no_digest_is_known(tmp_path: Path) -> None:
    assert read_digests(tmp_path / "digests.json") == {}


def test_a_record_keeps_each_file_s_digest_by_origin(tmp_path: Path) -> None:
    record = tmp_path / "record" / "digests.json"
    accept([raw_file("a.csv", "mirror", "01"), raw_file("b.csv", "mirror", "02")], record)
    accept([raw_file("a.csv", "upstream", "03")], record)
    assert read_digests(record) == {"a.csv": {"mirror": "01", "upstream": "03"}, "b.csv": {"mirror": "02"}}
    accept([raw_file("a.csv", "mirror", "04")], record)
    assert read_digests(record)["a.csv"] == {"mirror": "04", "upstream": "03"}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"file.bin": 1}', '{"file.bin": {"upstream": 5}}', '{"file.bin": {"elsewhere": "ab"}}']
)
def test_a_damaged_record_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    record = tmp_path / "digests.json"
    record.write_text(content)
    for use in (lambda: read_digests(record), lambda: accept([], record)):
        with pytest.raises(DataError, match=r"digests.json is damaged \(.*\); delete it to record the digests anew$"):
            use()
    assert record.read_text() == content
