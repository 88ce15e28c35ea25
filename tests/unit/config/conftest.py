"""The shipped configuration without its tuned values, for tests of what protocols and methods say themselves."""

from collections.abc import Iterator

import pytest

from iadsr.config import run


@pytest.fixture(scope="module")
def untuned() -> Iterator[None]:
    """No set of tuned values has an entry: what a search chooses next changes no test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "load_tuned", lambda *_: {})
        yield
