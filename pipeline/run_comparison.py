"""Compare two runs: what the same files score and cost in both, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.confidence import Difference, paired_difference
from models.metrics import MetricDescription
from pipeline.errors import PipelineError
from pipeline.files import read_json_lines
from pipeline.stages.bench import RESULTS_FILE
from pipeline.stages.convert import ITEMS_FILE, load_items


@dataclass(frozen=True)
class ComparedFile:
    """A file that is in both runs.

    Attributes:
        difference: of the scores over the test sequences, the second less the first; None where a
            run does not keep them, or keeps them of other sequences.
        metric: what the score is; None as above.
        p99_ns: in the first run and in the second; a single measurement each.
        same_machine: whether both were measured on machines that describe themselves alike.
    """

    name: str
    difference: Difference | None
    metric: MetricDescription | None
    p99_ns: tuple[int | None, int | None]
    same_machine: bool

    def words(self) -> str:
        """Write the comparison in a line."""
        score = "scores are not kept"
        if self.difference is not None and self.metric is not None:
            score = f"{self.metric.name} {self.difference.text(self.metric)}"
        before, after = self.p99_ns
        cost = "p99 not measured"
        if before and after:
            cost = f"p99 {before / 1000:.1f} to {after / 1000:.1f} us ({after / before - 1:+.0%})"
        other = "" if self.same_machine else ", other machines"
        return f"{self.name}: {score}; {cost}{other}"


def compare_runs(first: Path, second: Path) -> list[ComparedFile]:
    """Compare the files that two runs' folders both have.

    Raises:
        PipelineError: a folder is none of a run, or the two have no file in common.
    """
    results = [_results(folder) for folder in (first, second)]
    found = list(_compared(first, second, *results))
    if not found:
        raise PipelineError(
            f"{first} and {second} have no file of one name; compare runs of one recipe"
        )
    return found


def _results(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / RESULTS_FILE
    if not path.exists():
        raise PipelineError(f"{folder} is no folder of a run: it has no {RESULTS_FILE}")
    return {line["file"]: line for line in read_json_lines(path) if "result_format" in line}


def _compared(
    first: Path, second: Path, before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]
) -> Iterator[ComparedFile]:
    items = [load_items(folder / ITEMS_FILE) for folder in (first, second)]
    for name in sorted(before.keys() & after.keys()):
        difference = None
        if all(name in one for one in items):
            try:
                difference = paired_difference([items[1][name]], [items[0][name]])
            except ValueError:
                difference = None  # other sequences
        facts = (before[name].get("metrics") or {}).get("metric")
        yield ComparedFile(
            name,
            difference,
            MetricDescription(**facts) if facts else None,
            (_p99(before[name]), _p99(after[name])),
            before[name]["machine"] == after[name]["machine"],
        )


def _p99(result: dict[str, Any]) -> int | None:
    if not result["valid"]:
        return None
    found: int | None = result["latency_ns"]["step"]["percentiles"]["p99"]
    return found
