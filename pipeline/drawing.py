"""Pictures for pages that stand alone: SVG within HTML, with the colors and markers of a run."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

MARKERS = {"float32": "o", "int8": "s", "int8:qat": "D", "int16x8": "v"}

# Text stays text (selectable, small), and equal data gives equal files.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "edgestep", "font.size": 9})


def svg(name: str, figure: Figure) -> Markup:
    """Make a picture for the page; ``name`` keeps its ids apart from other pictures'."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    return Markup(text[text.index("<svg") :])  # noqa: S704 - our own drawing, not user input


def colors_of(labels: Any) -> dict[str, Any]:
    """Give each label a color, in the order of their first appearance."""
    palette = mpl.colormaps["tab10"]
    return {label: palette(index % palette.N) for index, label in enumerate(dict.fromkeys(labels))}
