"""Run the golden sequences of all step models on every installed runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files import digests, read_json_lines, write_json_lines
from pipeline.work import Report, Work

VERIFICATION_FILE = "verification.jsonl"


@dataclass(frozen=True)
class RuntimeAnswer:
    """How a runtime did on a file's golden sequences.

    ``failure`` is None if it is right, or if ``unsupported`` says why it does not take the file.
    """

    file: str
    backend: str
    failure: str | None
    unsupported: str | None = None


@dataclass(frozen=True)
class Verify(Work):
    """Verifies step models, each runtime in a process of its own."""

    files: tuple[Path, ...]

    name = "verify"
    needs_tensorflow = False

    @property
    def subject(self) -> str:
        return "all-models"

    def settings(self) -> dict[str, Any]:
        return {"files": digests(self.files)}

    def chosen(self) -> dict[str, tuple[str, ...]]:
        return {"device_runner.commands": ("verify",)}

    def build(self, folder: Path, report: Report) -> None:
        from convert.verify import verify_on_runtimes

        write_json_lines(folder / VERIFICATION_FILE, verify_on_runtimes(self.files))


def load_answers(path: Path) -> list[RuntimeAnswer]:
    """Read what a finished verification found."""
    return [
        RuntimeAnswer(one["file"], one["backend"], one["failure"], one.get("unsupported"))
        for one in read_json_lines(path)
    ]
