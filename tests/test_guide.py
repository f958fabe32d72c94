"""The guide's figures stand on the pages that it names."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = (DOCS / "guide.md").read_text()
ITEMS = [" ".join(item.split()) for item in re.findall(r"^- (.*(?:\n  .*)*)", GUIDE, re.MULTILINE)]
# Parts of names, and code.
_NAMES = re.compile(
    r"`[^`]*`|int8|int16x8|float32|float16|Cortex-M\d+|H200|\b\d+x\d+\b|\]\([^)]*\)"
)
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e-\d+)?")


def figures_and_pages(item):
    """Figures of a stretch of text up to the page that it names, by page."""
    start = 0
    for link in re.finditer(r"\[[^\]]*\]\(([\w-]+\.md)\)", item):
        text = _NAMES.sub(" ", item[start : link.start()])
        yield link[1], _NUMBER.findall(text)
        start = link.end()


def test_the_guide_has_items():
    assert len(ITEMS) > 20


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item[:40])
def test_figures_stand_on_the_page_named(item):
    pages = list(figures_and_pages(item))
    assert pages
    for page, figures in pages:
        text = (DOCS / page).read_text()
        known = {number.lstrip("+-") for number in _NUMBER.findall(text)}
        for figure in figures:
            assert figure.rstrip(",").lstrip("+-") in known, f"{figure} is not on {page}"
