"""The tables of files and of layers in docs/import.md, from the lists that the code reads.

``python -m tests.convert.importers.import_lists`` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convert.importers import FILE_KINDS, FOLDER
from convert.layers import LAYERS, OWN
from convert.layers.operations import OPERATIONS

PAGE = Path(__file__).parents[3] / "docs" / "import.md"


def tables() -> dict[str, str]:
    """Write each table as Markdown, by the word that marks its place in the page."""
    files = [
        (kind.source, ", ".join(f"`{e}`" for e in kind.endings if e != FOLDER), kind.reading)
        for kind in FILE_KINDS.values()
    ]
    layers: dict[str, list[str]] = {}
    for name, entry in LAYERS.items():
        if not name.startswith(OWN):
            layers.setdefault(entry.purpose, []).append(name)
    functions = sorted({name for item in OPERATIONS for name in item.in_keras}, key=str.lower)
    layers["functions outside of layers, by their names in keras.ops, and those of tf"] = functions
    return {
        "files": _table(("what", "file", "how it is read"), files),
        "layers": _table(
            ("kind", "layers"), [(kind, ", ".join(names)) for kind, names in layers.items()]
        ),
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def with_tables(page: str) -> str:
    """Return the page with its tables rewritten."""
    for mark, table in tables().items():
        begin, end = f"<!-- {mark} begin -->", f"<!-- {mark} end -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
