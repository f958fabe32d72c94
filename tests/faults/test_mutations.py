"""Thousands of damaged files: each ends in success or in one line, whatever is damaged.

EDGESTEP_FAULT_CASES says how many (3000), EDGESTEP_FAULT_SEED with which seed (1), and
EDGESTEP_FAULT_RECORD names a file for the figures of docs/reliability.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from convert.exporters.web_library import web_library
from tests.faults.judgement import Outcome, Server, make_box
from tests.faults.kinds import KINDS

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
CASES = int(os.environ.get("EDGESTEP_FAULT_CASES", "3000"))
SEED = int(os.environ.get("EDGESTEP_FAULT_SEED", "1"))


@pytest.fixture(scope="session")
def originals(made_once) -> Path:
    def make(folder: Path) -> None:
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-m", "tests.faults.originals", folder],
            cwd=ROOT, check=True, capture_output=True,
        )  # fmt: skip

    return made_once("fault-originals", make)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[bool, Server]]:
    # Compiled here, so that no case has to.
    with contextlib.suppress(click.ClickException):
        web_library()
    found = {needed: Server(ROOT, needed) for needed in (False, True)}
    yield found
    for server in found.values():
        server.close()


@pytest.mark.parametrize("name", KINDS)
def test_damaged_files_end_in_one_line(name, originals, servers, tmp_path):
    kind = KINDS[name]
    count = max(1, round(CASES * kind.share))
    outcomes: list[Outcome] = []
    complaints: list[str] = []
    for number in range(count):
        outcome, arguments, box = _one(
            name, number, servers[kind.needs_tensorflow], originals, tmp_path
        )
        outcomes.append(outcome)
        if outcome.complaints:
            complaints.append(f"{number}: {' '.join(arguments)}: {'; '.join(outcome.complaints)}")
        else:
            shutil.rmtree(box)
    _record(name, outcomes, complaints)
    assert not complaints, "\n".join([f"{len(complaints)} of {count} cases", *complaints])


def _one(
    name: str, number: int, server: Server, originals: Path, folder: Path
) -> tuple[Outcome, list[str], Path]:
    box = make_box(folder / str(number))
    rng = random.Random(f"{SEED} {name} {number}")
    arguments = KINDS[name].make(rng, box / "a" / "b" / "work", originals)
    return server.run(box, arguments), arguments, box


def _record(name: str, outcomes: list[Outcome], complaints: list[str]) -> None:
    """Print a kind's figures, and append them to a file where one is named."""
    facts: dict[str, Any] = {
        "kind": name,
        "cases": len(outcomes),
        "refused": sum(one.ending != 0 for one in outcomes),
        "complaints": len(complaints),
        "most_processor_s": round(max(one.processor_s for one in outcomes), 1),
        "most_wall_s": round(max(one.wall_s for one in outcomes), 1),
        "most_memory_mb": round(max(one.memory_bytes for one in outcomes) / 1e6),
    }
    print(json.dumps(facts))
    if path := os.environ.get("EDGESTEP_FAULT_RECORD"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")
