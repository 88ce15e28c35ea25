"""The page in headless Chromium, judged by axe-core: WCAG 2.0 to 2.2 at levels A and AA, and axe's best practices.

Skipped where Playwright or Chromium is missing.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iadsr.reporting.catalogue import PAPER_METRICS

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
READABLE = 4.5  # contrast of text, WCAG 1.4.3
# axe cannot tell colours inside an SVG, and spends most of its time there
OPEN = """
document.querySelectorAll("details").forEach(one => one.open = true);
document.querySelectorAll("svg > :not(title, desc)").forEach(one => one.remove());
"""


@pytest.fixture(
    scope="module",
    params=[(width, scheme) for width in (1440, 390) for scheme in ("light", "dark")],
    ids=lambda view: f"{view[0]}-{view[1]}",
)
def view(browser: Any, page: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """A colour scheme, and the page in it, with everything folded opened."""
    width, scheme = request.param
    # past the page's security policy, which allows no script but its own
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.evaluate(OPEN)
    yield scheme, tab
    context.close()


def luminance(colour: tuple[int, ...]) -> float:
    """Return the relative luminance as WCAG defines it."""
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_paper_is_of_the_scheme(view: tuple[str, Any]) -> None:
    scheme, tab = view
    colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    paper = luminance(tuple(map(int, re.findall(r"\d+", colour))))
    assert paper < 0.1 if scheme == "dark" else paper > 0.9


def test_nothing_is_wider_than_the_window(view: tuple[str, Any]) -> None:
    _, tab = view
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.slow
def test_axe_finds_no_violation(view: tuple[str, Any]) -> None:
    _, tab = view
    found = axe.Axe().run(tab, options={"runOnly": RULES, "resultTypes": ["violations"]}).response
    assert {"color-contrast", "svg-img-alt", "target-size"} <= {rule["id"] for rule in found["passes"]}
    assert [(rule["id"], rule["help"], rule["nodes"][0]["html"]) for rule in found["violations"]] == []


def test_text_of_charts_is_readable_on_white(page: Path) -> None:
    texts = re.findall(r"<text[^>]*>", page.read_text(encoding="utf-8"))
    colours = {tuple(bytes.fromhex(code)) for text in texts for code in re.findall(r"fill: #(\w{6})", text)}
    assert colours and all(1.05 / (luminance(colour) + 0.05) >= READABLE for colour in colours)


@pytest.fixture
def tab(browser: Any, page: Path) -> Iterator[Any]:
    """The page as a reader has it, under its own security policy."""
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(page.as_uri())
    yield tab
    context.close()


SHOWN = """
column => [...document.querySelector("#results table").tBodies[0].rows].map(row => row.cells[column]?.innerText)
"""


def test_tables_can_be_sorted_and_put_back(tab: Any) -> None:
    table = tab.locator("#results table").first
    head = table.locator("thead th").nth(2)
    methods, values = tab.evaluate(SHOWN, 1), tab.evaluate(SHOWN, 2)
    for direction in ("descending", "ascending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        found = [float(text.split()[0]) for text in tab.evaluate(SHOWN, 2) if text and text[0].isdigit()]
        assert len(found) > 3 and found == sorted(found, reverse=direction == "descending")
        assert sorted(tab.evaluate(SHOWN, 1)) == sorted(methods) != tab.evaluate(SHOWN, 1)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") is None
    assert (tab.evaluate(SHOWN, 1), tab.evaluate(SHOWN, 2)) == (methods, values)


def test_a_reader_without_script_chooses_a_metric(browser: Any, page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    block = tab.locator("#results .block").first
    heads = block.locator("thead th[data-group]:visible")
    every = heads.all_inner_texts()
    assert len(every) == len(PAPER_METRICS) * 2
    for metric in PAPER_METRICS:
        block.get_by_label(metric, exact=True).check()
        assert heads.count() == 2 and all(text.split()[0] == metric for text in heads.all_inner_texts())
        assert block.locator("tbody tr").nth(1).locator("td[data-group]:visible").count() == 2
    block.get_by_label("all", exact=True).check()
    assert heads.all_inner_texts() == every
    context.close()


def test_rows_without_results_stay_last(tab: Any) -> None:
    """Of a folded table, in which such a row has one wide cell."""
    tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    table = tab.locator("table:has(caption[id^=t-overall]):has(td.missing)").first
    for _ in range(2):
        table.locator("thead th").nth(2).locator("button").click()
        cells = table.locator("tbody tr > :nth-child(3)")
        wide = [cell.get_attribute("colspan") is not None for cell in cells.all()]
        assert any(wide) and wide == sorted(wide)


def test_no_other_script_is_let_in(tab: Any) -> None:
    tab.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.got = 1'}))")
    assert tab.evaluate("window.got") is None


def test_the_page_is_whole_without_its_script(browser: Any, page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert tab.locator("#results table thead th").first.inner_text() == "Backbone"
    assert tab.locator("thead button").count() == 0
    context.close()
