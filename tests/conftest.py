"""The order of the suite: whole runs of the workflow first, so that workers beside each other end together."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: "workflow" not in item.path.parts)
