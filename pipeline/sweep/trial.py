"""A trial on its way: what was found of it, and what that means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.sweep.jobs import DONE
from pipeline.sweep.log import COMPLETE, INFEASIBLE
from pipeline.sweep.settings import ACCURACY, BYTES, P99, ConstraintsSection
from pipeline.sweep.space import Point

#: A line of the log of kind "measured", by device.
Measured = Mapping[str, Mapping[str, Any]]


@dataclass
class Trial:
    """A trial that is not finished.

    Attributes:
        number, point: as in the log.
        recipe: the recipe's table.
        untrained, trained: answers of the jobs; None before they come.
        losses: how often a worker was lost with its job.
        seconds: what the jobs took.
        job: the last job.
        is_survey: whether it is of the survey, and no trial: it ends before it is trained.
    """

    number: int
    point: Point
    recipe: dict[str, Any]
    untrained: dict[str, Any] | None = None
    trained: dict[str, Any] | None = None
    losses: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    job: dict[str, Any] = field(default_factory=dict)
    is_survey: bool = False

    def take(self, answer: dict[str, Any]) -> None:
        """Keep an answer under its phase."""
        setattr(self, answer["phase"], answer)
        self.seconds[answer["phase"]] = answer["seconds"]

    @property
    def latest(self) -> dict[str, Any] | None:
        """The last answer."""
        return self.trained or self.untrained

    @property
    def file(self) -> dict[str, Any] | None:
        """The last answer that came with a file."""
        for one in (self.trained, self.untrained):
            if one is not None and one["state"] == DONE:
                return one
        return None

    def violations(self, limits: ConstraintsSection, measured: Measured) -> dict[str, float]:
        """Tell by how much each constraint is broken, as a share of its limit; 0 or less if it is
        held."""
        facts, found = self.file or {}, {}
        if limits.bytes is not None and BYTES in facts:
            found[BYTES] = facts[BYTES] / limits.bytes - 1
        deadline = limits.deadline_at(facts["frame_period_s"]) if facts else None
        if deadline is not None:
            for device, one in measured.items():
                # Sweeps that began earlier have the one percentile alone.
                slowest = one.get("whole_p99_ns", one["p99_ns"])
                found[f"deadline:{device}"] = slowest / (1e9 * deadline) - 1
        refused = (self.untrained or {}).get("refused", {})
        for target in limits.targets:
            found[f"target:{target}"] = float(target in refused)
        return found

    def surveyed(self, limits: ConstraintsSection, measured: Measured) -> dict[str, Any]:
        """Make the network's line for the log, from what was found before it is trained."""
        facts, latest = self.file or {}, self.latest or {}
        kept = (BYTES, "sha256", "parameters", "frame_period_s")
        return {
            "state": latest["state"],
            "point": self.point,
            "violations": self.violations(limits, measured) if facts else {},
            **{name: facts[name] for name in kept if name in facts},
            "reason": latest.get("reason"),
        }

    def record(self, limits: ConstraintsSection, measured: Measured) -> dict[str, Any]:
        """Make the trial's line for the log, from what was found."""
        facts, latest = self.file or {}, self.latest or {}
        violations = self.violations(limits, measured) if facts else {}
        state = latest["state"]
        if state == DONE:
            state = INFEASIBLE if any(one > 0 for one in violations.values()) else COMPLETE
        objectives: dict[str, Any] = {BYTES: facts[BYTES]} if facts else {}
        intervals: dict[str, Any] = {}
        for device, one in measured.items():
            objectives[f"{P99}:{device}"] = one["p99_ns"]
            intervals[f"{P99}:{device}"] = [one["low_ns"], one["high_ns"]]
        if "score" in latest:
            objectives[ACCURACY], intervals[ACCURACY] = latest["score"], latest["interval"]
        kept = ("sha256", "file_bytes", "parameters", "frame_period_s", "curve", "by_seed")
        return {
            "trial": self.number,
            "state": state,
            "point": self.point,
            "label": " ".join([facts["label"], *front_end_words(self.point)]) if facts else "",
            "objectives": objectives,
            "intervals": intervals,
            "violations": violations,
            "refused": (self.untrained or {}).get("refused", {}),
            "trained": bool(self.trained and self.trained["state"] == DONE),
            "file": facts.get("file"),
            **{name: facts[name] for name in kept if name in facts},
            "reason": latest.get("reason"),
            "seconds": self.seconds,
            "node": latest.get("node"),
        }


def front_end_words(point: Point) -> list[str]:
    """Say how a point's front end differs from others, a word for each key."""
    keys = dict(point.get("front_end", {}))
    keys |= {name.removeprefix("data."): point[name] for name in point if name.startswith("data.")}
    return [
        f"{key}={'+'.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in keys.items()
    ]
