"""Where a benchmark leaves what it found, for the table of techniques."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path("runs/benchmarks")


def write_record(
    name: str, case: str, rows: list[dict[str, Any]], size: str = "", p50: str = "", score: str = ""
) -> None:
    """Write runs/benchmarks/NAME.json.

    Args:
        name: of the script.
        case: what was compared with what.
        rows: everything that was measured.
        size, p50, score: the table's columns, relative to the same without the technique.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    facts = {"case": case, "bytes": size, "p50": p50, "score": score, "rows": rows}
    (FOLDER / f"{name}.json").write_text(json.dumps(facts, indent=1))
