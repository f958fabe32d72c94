"""``results.jsonl`` of a sweep: everything that was decided and found, a line each, in order.

The file is the truth: a sweep goes on from it, and Optuna's study is made anew from it. Each line
is an object with ``sweep_format`` and ``kind``:

- ``sweep``: what is searched (once, first);
- ``control``: how fast the control model usually is on a device;
- ``surveyed``: what a network costs that is not trained yet (sampler "ehvi");
- ``asked``: a trial's number and its point, before anything of it is done;
- ``measured``: what a step of a file costs on a device;
- ``trial``: how a trial ended (docs/sweep.md lists its keys);
- ``front``: the networks that none beats, with their scores on the test data (last).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_runner import strict_json
from device_runner.atomic_write import write_atomically
from pipeline.errors import PipelineError
from pipeline.sweep.space import Point

SWEEP_FORMAT = 1
RESULTS_FILE = "results.jsonl"
#: How a trial may end.
COMPLETE, PRUNED, INFEASIBLE, IMPOSSIBLE, FAILED = (
    "complete", "pruned", "infeasible", "impossible", "failed",
)  # fmt: skip


@dataclass
class SweepLog:
    """The lines of a sweep, by what they are about.

    Attributes:
        asked: each trial's point, by its number.
        trials: how each finished trial ended.
        measured: by device and SHA-256 of the file.
        controls: by device.
        surveyed: by what tells a network from others (:func:`pipeline.sweep.survey.graph_key`).
        front: the last line, where there is one.
    """

    path: Path
    header: dict[str, Any] | None = None
    asked: dict[int, Point] = field(default_factory=dict)
    trials: dict[int, dict[str, Any]] = field(default_factory=dict)
    measured: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    controls: dict[str, dict[str, Any]] = field(default_factory=dict)
    surveyed: dict[str, dict[str, Any]] = field(default_factory=dict)
    front: dict[str, Any] | None = None

    @classmethod
    def load(cls, path: Path) -> SweepLog:
        """Read the file, or begin one; a line that was being written when the sweep was killed is
        cut off.

        Raises:
            PipelineError: the file is damaged, or is none of a sweep.
        """
        log = cls(path)
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            write_atomically(path, whole)
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                facts = strict_json.loads(line.decode())
                if facts["sweep_format"] != SWEEP_FORMAT:
                    raise ValueError(f"its format is {facts['sweep_format']}")
                log._take(facts)
            except (ValueError, KeyError, TypeError) as error:
                raise PipelineError(
                    f"{path}: line {number} is no line of a sweep ({error}); move the file away, "
                    "or name another folder with --runs-dir"
                ) from error
        return log

    def append(self, kind: str, **facts: Any) -> dict[str, Any]:
        """Write a line, synced to the disk; return it."""
        line = {"sweep_format": SWEEP_FORMAT, "kind": kind, **facts}
        text = json.dumps(line, allow_nan=False) + "\n"
        with self.path.open("ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        self._take(json.loads(text))
        return line

    def _take(self, line: dict[str, Any]) -> None:
        kind = line["kind"]
        if kind == "sweep":
            self.header = line
        elif kind == "asked":
            self.asked[line["trial"]] = line["point"]
        elif kind == "trial":
            if line["trial"] in self.trials:
                raise ValueError(f"trial {line['trial']} ended twice")
            self.trials[line["trial"]] = line
        elif kind == "measured":
            self.measured[line["device"], line["sha256"]] = line
        elif kind == "control":
            self.controls[line["device"]] = line
        elif kind == "surveyed":
            self.surveyed[line["graph"]] = line
        elif kind == "front":
            self.front = line

    def complete(self) -> list[dict[str, Any]]:
        """List the trials that were trained to the end, in order."""
        found = (self.trials[number] for number in sorted(self.trials))
        return [one for one in found if one["state"] == COMPLETE]
