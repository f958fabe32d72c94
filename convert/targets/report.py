"""The findings of :mod:`convert.targets.check` as data, as JSON and as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from convert.errors import TargetMismatchError

MAPS, REFUSED, AFTER = "maps", "does not map", "after"
_IN_WORDS = {MAPS: "maps", REFUSED: "DOES NOT MAP", AFTER: "on the CPU"}


@dataclass(frozen=True)
class OperatorFinding:
    """What becomes of one operator.

    Attributes:
        index: its place in the graph.
        name, version: the operator's name and version.
        output: dtype and shape of its first output, in words.
        status: MAPS; REFUSED; or AFTER if it would map but follows one that does not, on a target
            that stops there.
        reasons: why it does not map.
        notes: what else a user should know.
        multiplications: how many it takes in a step.
    """

    index: int
    name: str
    version: int
    output: str
    status: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    multiplications: int


@dataclass(frozen=True)
class TargetReport:
    """The result of checking a file against a target.

    Attributes:
        file: its path.
        target, title: the target's name, and what it is.
        runtime: the runtime that is to load the file; None if the target is itself the runtime.
        operators: the findings one by one, in the graph's order.
        problems: problems of the graph as a whole.
        notes: what else a user should know about the file.
        cost: what the first operator that does not map costs; None if all map.
        oldest_runtimes: as :func:`convert.targets.runtimes.oldest_runtimes` gives it.
        advice: what to do if the file does not fit; empty if it does.
    """

    file: str
    target: str
    title: str
    runtime: str | None
    operators: tuple[OperatorFinding, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    cost: str | None
    oldest_runtimes: dict[str, Any]
    advice: str

    @property
    def fits(self) -> bool:
        """Whether the whole graph maps."""
        return not self.problems and all(one.status == MAPS for one in self.operators)

    @property
    def first_refused(self) -> OperatorFinding | None:
        """The first operator that does not map."""
        return next((one for one in self.operators if one.status == REFUSED), None)

    def to_json(self) -> dict[str, Any]:
        """Return the report in JSON-ready form."""
        return {"fits": self.fits, **asdict(self)}

    def error(self) -> TargetMismatchError:
        """Make the error for a file that does not fit."""
        first = self.first_refused
        why = list(self.problems)
        if first:
            why.append(f"operator {first.index}, {first.name}: {'; '.join(first.reasons)}")
        return TargetMismatchError(
            f"{self.file} does not fit {self.target}: {'; '.join(why)}; {self.advice}"
        )


def format_report(report: TargetReport) -> str:
    """Write a report as text."""
    runtime = f", {report.runtime}" if report.runtime else ""
    lines = [f"{report.file}: {report.title}{runtime}"]
    lines += _table(report.operators)
    mapped = sum(one.status == MAPS for one in report.operators)
    lines.append(f"{mapped} of {len(report.operators)} operators map")
    first = report.first_refused
    if first and report.cost:
        lines.append(f"first that does not: {first.index}, {first.name}; {report.cost}")
    lines += [f"problem: {problem}" for problem in report.problems]
    lines += [f"note: {note}" for note in report.notes]
    lines.append(f"oldest runtime: {format_oldest(report.oldest_runtimes)}")
    return "\n".join(lines)


def _table(operators: tuple[OperatorFinding, ...]) -> list[str]:
    """Write one line per operator, in columns."""
    rows = [
        (
            str(one.index),
            f"{one.name} v{one.version}",
            one.output,
            _IN_WORDS[one.status],
            "; ".join((*one.reasons, *one.notes)),
        )
        for one in operators
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    return [
        "  ".join(
            cell.rjust(width) if column == 0 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, (*widths, 0), strict=True))
        ).rstrip()
        for row in rows
    ]


def format_oldest(oldest: dict[str, Any]) -> str:
    """Put the oldest runtimes into words."""
    release = oldest["tensorflow_lite"]
    because = ", ".join(oldest["because"])
    if release:
        first = f"TensorFlow Lite {release} ({because})"
    else:
        first = f"in no known release ({because})" if because else "any"
    found = [
        f"{name} {version}" if version else f"no {name} that was measured"
        for name, version in oldest.items()
        if name not in ("tensorflow_lite", "because")
    ]
    return "; ".join([first, *found])
