"""What each target requires of a step model, as data: a JSON file each, with its sources."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parent
RUNTIMES_FILE = "runtimes.json"
VERSIONS_FILE = "operator_versions.json"
MICRO_FILE = "micro.json"


class TargetEntry(NamedTuple):
    """A target in the list.

    Attributes:
        profile: its profile, a JSON file of this folder.
        source: where that comes from, in a few words.
        purpose: what it is for, in a few words.
    """

    profile: str
    source: str
    purpose: str


TARGETS: dict[str, TargetEntry] = {
    "cpu": TargetEntry("cpu.json", "runtimes of PyPI, asked", "a TFLite runtime on a processor"),
    "gpu": TargetEntry("gpu.json", "LiteRT's accelerator, tried", "a GPU, through LiteRT"),
    "edgetpu": TargetEntry("edgetpu.json", "Coral's documentation", "a Coral Edge TPU"),
    "micro": TargetEntry("micro.json", "tflite-micro, asked", "a microcontroller"),
}


def target_names() -> str:
    """List the targets in a sentence: "cpu, gpu, edgetpu or micro"."""
    *others, last = TARGETS
    return f"{', '.join(others)} or {last}"
