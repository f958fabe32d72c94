"""Results of many machines as tables of SQL: those of runs, of bench and of sweeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from device_runner import strict_json
from device_runner.errors import one_line
from pipeline.errors import PipelineError

RESULTS_FILE = "results.jsonl"
# Lines of bench and of sweeps begin so.
_STARTS = (b'{"result_format"', b'{"sweep_format"')
#: The tables and their columns, each with its type.
TABLES: dict[str, dict[str, str]] = {
    "bench": {
        "run": "VARCHAR", "device": "VARCHAR", "cpu": "VARCHAR", "file": "VARCHAR",
        "model_sha256": "VARCHAR", "task": "VARCHAR", "cell": "VARCHAR", "units": "INTEGER[]",
        "scheme": "VARCHAR", "parameters": "BIGINT", "file_bytes": "BIGINT", "backend": "VARCHAR",
        "mode": "VARCHAR",
        "p50_ns": "BIGINT", "p99_ns": "BIGINT", "valid": "BOOLEAN", "invalid_reason": "VARCHAR",
        "score": "DOUBLE", "metric": "VARCHAR", "started": "VARCHAR",
    },
    "trials": {
        "run": "VARCHAR", "trial": "INTEGER", "label": "VARCHAR", "state": "VARCHAR",
        "score": "DOUBLE", "score_low": "DOUBLE", "score_high": "DOUBLE", "bytes": "BIGINT",
        "parameters": "BIGINT", "file": "VARCHAR", "sha256": "VARCHAR", "reason": "VARCHAR",
        "front": "BOOLEAN", "test_score": "DOUBLE",
    },
    "trial_costs": {
        "run": "VARCHAR", "trial": "INTEGER", "device": "VARCHAR", "p99_ns": "BIGINT",
        "p99_low_ns": "BIGINT", "p99_high_ns": "BIGINT",
    },
}  # fmt: skip


def find_results(places: Sequence[Path]) -> list[Path]:
    """List the results files that are named or lie in named folders, whatever they are called.

    Raises:
        PipelineError: there are none.
    """
    found: list[Path] = []
    for place in places:
        # Stages of a run keep copies of its results.
        inner = [path for path in sorted(place.rglob("*.jsonl")) if "stages" not in path.parts]
        found += [place] if place.is_file() else list(filter(_holds_results, inner))
    if not found:
        names = ", ".join(map(str, places))
        raise PipelineError(f"no {RESULTS_FILE} in {names}; name the folder of a run")
    return found


def _holds_results(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(20).startswith(_STARTS)


class ResultsView:
    """A database in memory with TABLES, filled from files."""

    def __init__(self, files: Sequence[Path]) -> None:
        rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
        for file in files:
            for table, row in _rows(file):
                rows[table].append(tuple(row.get(name) for name in TABLES[table]))
        self.database = duckdb.connect()
        for name, columns in TABLES.items():
            described = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
            self.database.execute(f"CREATE TABLE {name} ({described})")
            if rows[name]:
                marks = ", ".join("?" for _ in columns)
                # Both come from TABLES.
                insert = f"INSERT INTO {name} VALUES ({marks})"  # noqa: S608
                self.database.executemany(insert, rows[name])
        # A query is somebody's text: it reads these tables, and no files.
        self.database.execute("SET enable_external_access = false")
        self.database.execute("SET lock_configuration = true")

    def query(self, text: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Answer a query: the columns' names, and the rows.

        Raises:
            PipelineError: the query is wrong.
        """
        try:
            answer = self.database.execute(text)
            names = [column[0] for column in answer.description or []]
            return names, answer.fetchall()
        except duckdb.Error as error:
            raise PipelineError(
                f"the query is wrong: {one_line(error)}; the tables are {', '.join(TABLES)}"
            ) from error


def _rows(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Read a file's lines as rows, each with its table."""
    run = file.parent.name
    found: list[tuple[str, dict[str, Any]]] = []
    best: dict[int, dict[str, Any]] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        for line in lines:
            facts = strict_json.loads(line)
            if facts.get("kind") == "trial":
                found += _of_trial(run, facts)
            elif facts.get("kind") == "front":
                best = {one["trial"]: one for one in facts["trials"]}
            elif "result_format" in facts:
                found.append(("bench", _of_bench(run, facts)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PipelineError(
            f"{file}: holds no results ({one_line(error)}); leave it out, or make it again"
        ) from error
    for table, row in found:
        if table == "trials":
            last = best.get(row["trial"])
            row["front"] = last is not None
            if last is not None:
                row["test_score"], row["file"] = last["test"], last["file"]
    return found


def _of_bench(run: str, facts: dict[str, Any]) -> dict[str, Any]:
    percentiles = facts["latency_ns"]["step"]["percentiles"]
    metrics = facts.get("metrics") or {}
    metric = metrics.get("metric") or {}
    name = str(metric.get("name", ""))
    return {
        **facts,
        "run": run,
        "device": facts.get("device", "here"),
        "cpu": facts["machine"]["cpu"],
        "mode": facts["settings"]["mode"],
        "p50_ns": percentiles["p50"],
        "p99_ns": percentiles["p99"],
        "score": metrics.get(name.replace(" ", "_")),
        "metric": name or None,
    }


def _of_trial(run: str, facts: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    objectives, intervals = facts["objectives"], facts["intervals"]
    low, high = intervals.get("accuracy", (None, None))
    row = {**facts, "run": run, "score": objectives.get("accuracy"), "score_low": low,
           "score_high": high, "bytes": objectives.get("bytes")}  # fmt: skip
    found = [("trials", row)]
    for name, value in objectives.items():
        kind, _, device = name.partition(":")
        if kind == "p99":
            low, high = intervals[name]
            found.append(("trial_costs", {"run": run, "trial": facts["trial"], "device": device,
                                          "p99_ns": value, "p99_low_ns": low,
                                          "p99_high_ns": high}))  # fmt: skip
    return found


def as_json(names: list[str], rows: list[tuple[Any, ...]]) -> str:
    """Write rows as JSON lines."""
    return "\n".join(json.dumps(dict(zip(names, row, strict=True)), default=str) for row in rows)
