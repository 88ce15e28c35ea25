"""The order of the suite: whole runs of the workflow first, so that workers end together; and a browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: "workflow" not in item.path.parts)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; skipped where it or Playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    with playwright.sync_playwright() as driver:
        binary = next(filter(None, map(shutil.which, BROWSERS)), driver.chromium.executable_path)
        if not Path(binary).is_file():
            pytest.skip("needs Chromium: install it, or run `playwright install chromium`")
        browser = driver.chromium.launch(executable_path=binary)
        yield browser
        browser.close()
