"""Charts for pages that stand alone: Vega-Lite specifications, and the library inlined.

The library comes out of the package vl-convert-python, as one script that fetches nothing. Axes and
texts take the color of the page's text (``currentColor``), so they follow its light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import vl_convert
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

VEGA_LITE = "6.1"
CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor", "titleColor": "currentColor", "domainColor": "currentColor",
        "tickColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.15,
        "titleFontWeight": "normal", "labelFontSize": 12, "titleFontSize": 12,
    },
    "legend": {
        "labelColor": "currentColor", "titleColor": "currentColor", "orient": "bottom",
        "columns": 3, "labelLimit": 260, "labelFontSize": 12, "titleFontSize": 12,
    },
    "header": {"labelColor": "currentColor", "titleColor": "currentColor"},
    "text": {"color": "currentColor"},
    "rule": {"color": "currentColor"},
    "range": {
        # Told apart by people who see no red or green, and on white as on black.
        "category": ["#4e8fd0", "#e07b39", "#3aa17e", "#c95d9c", "#b59b00", "#8d7bd8", "#8a8a8a",
                     "#d05a5a", "#4fb3bf", "#9c6b4a"],
    },
}  # fmt: skip


@lru_cache(maxsize=1)
def library() -> Markup:
    """Return the library as a script, with ``vegaEmbed`` as its one global name."""
    text = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    if "</script" in text:
        raise AssertionError("the library of charts would end its own script")
    return Markup("<script>(function () {{{}}})();</script>").format(Markup(text))  # noqa: S704


def chart(name: str, summary: str, spec: Mapping[str, Any]) -> Markup:
    """Make a chart's place on the page.

    Args:
        name: of its place, one word.
        summary: what it shows, for people who do not see it.
        spec: Vega-Lite, without schema, width and config.
    """
    whole = {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{VEGA_LITE[0]}.json",
        "description": summary,
        "config": CONFIG,
        **spec,
    }
    if "facet" not in spec and "hconcat" not in spec:
        whole.setdefault("width", "container")
        whole.setdefault("height", 300)
    return Markup(
        '<figure class="chart" id="{}" aria-label="{}"><div class="drawn"></div>'
        '<script type="application/json">{}</script></figure>'
    ).format(name, summary, htmlsafe_json_dumps(whole))
