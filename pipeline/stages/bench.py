"""Measure what a step of each model costs on this machine."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.own_process import module_command
from device_runner.measure.machine import describe_machine
from pipeline.errors import PipelineError
from pipeline.files import digests
from pipeline.recipe import BenchSection
from pipeline.work import Report, Work

# One result per line, in the form of device_runner/measure/result.schema.json.
RESULTS_FILE = "results.jsonl"
PACED_FILE = "paced.jsonl"


@dataclass(frozen=True)
class Bench(Work):
    """Measures step models, which take turns in one process; then each at its pace, if asked to."""

    files: tuple[Path, ...]
    section: BenchSection

    name = "bench"
    needs_tensorflow = False

    @property
    def subject(self) -> str:
        return "all-models"

    def settings(self) -> dict[str, Any]:
        return {
            "files": digests(self.files),
            "bench": self.section.model_dump(),
            "machine": describe_machine(),
        }

    def chosen(self) -> dict[str, tuple[str, ...]]:
        return {"device_runner.commands": ("bench",)}

    def build(self, folder: Path, report: Report) -> None:
        section = self.section
        how = ["--steps", str(section.steps), "--rounds", str(section.rounds)]
        how += ["--warmup", str(section.warmup_s)]
        report(0, 2, "")
        (folder / RESULTS_FILE).write_text(self._bench(how))
        report(1, 2, "")
        paced = ["--paced", "--duration", str(section.paced_s)]
        (folder / PACED_FILE).write_text(self._bench(paced) if section.paced_s else "")

    def _bench(self, how: list[str]) -> str:
        """Return the results, a line each."""
        section = self.section
        # A process of its own: what a user on the device runs, without TensorFlow's threads.
        command = [*module_command("device_runner"), "bench", "--json", *how]
        command += ["--backend", section.backend, "--threads", str(section.threads)]
        command += map(str, self.files)
        process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if process.returncode:
            message = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
            raise PipelineError(f"the benchmark failed: {message[-1]}")
        return process.stdout
