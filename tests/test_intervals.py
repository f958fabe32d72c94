"""Where a 95 % interval of a difference in the docs holds zero, the text beside it says so."""

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))
# "-0.4 (-2.0 to +1.4)", "+0.2, -0.4 to +1.0". One that ends at a rounded zero may be either.
HOLDS_ZERO = re.compile(r"[(,]\s*-\d+(?:\.\d+)?\s+to\s+\+\d+(?:\.\d+)?")
SAID = re.compile(r"no\s+difference|no\s+different|not\s+told|told\s+apart\s+from\s+nothing")


def stretches(page: str) -> list[str]:
    """Cut a page into rows of tables, items of lists and paragraphs."""
    return re.findall(r"^\|.*$|^(?!\|).+(?:\n(?!\||- ).+)*", page, re.MULTILINE)


def unsaid(page: str) -> list[str]:
    return [
        f"{found[0]}: {text[:80]}"
        for text in stretches(page)
        for found in HOLDS_ZERO.finditer(text)
        if not SAID.search(text)
    ]


def test_what_is_not_said_is_found():
    assert unsaid("better by +0.5 (-0.1 to +1.0)\nof all") != []
    assert unsaid("better by +0.5 (+0.1 to +1.0)") == []
    assert unsaid("+0.5 (-0.1 to\n+1.0): no\ndifference") == []
    assert unsaid("- +0.5 (-0.1 to +1.0)\n- no difference") != []
    assert unsaid("no difference\n\n| a | +0.5 (-0.1 to +1.0) |\n\nno difference") != []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_interval_that_holds_zero_is_no_difference(page):
    assert unsaid(page.read_text()) == []
