"""What a step model must be for a target, as data: a JSON file for each, with its sources."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent
RUNTIMES_FILE = "runtimes.json"
VERSIONS_FILE = "operator_versions.json"
MICRO_FILE = "micro.json"
#: In the order in which they are listed; each is a file of this folder.
TARGETS = ("cpu", "gpu", "edgetpu", "micro")
