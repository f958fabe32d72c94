"""What a command that got a damaged file may do, and what it may not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY_LIMIT_BYTES = 1.5e9
PROCESSOR_LIMIT_S = 60.0
# Of the clock, on a machine that does other things too.
WALL_LIMIT_S = 400.0
EXIT_CODES = (0, 2, 3, 4, 5)
# Written there by a file that says where it wants to be.
FORBIDDEN = Path("/tmp/edgestep-faults-owned")
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, a signal's name or "too long", and what it took."""

    ending: int | str
    wall_s: float
    processor_s: float
    memory_bytes: int
    complaints: tuple[str, ...]


def make_box(folder: Path) -> Path:
    """Make a place for a command, with room around it for what it must not write."""
    for name in ("a/b/work", "home/.config", "tmp"):
        (folder / name).mkdir(parents=True)
    return folder


class Server:
    """A fork server; it is started anew where it ended."""

    def __init__(self, root: Path, with_tensorflow: bool) -> None:
        self.root = root
        self.command = [sys.executable, "-m", "tests.faults.fork_server"]
        self.command += ["tensorflow"] if with_tensorflow else []
        self.process: subprocess.Popen[str] | None = None

    def run(self, box: Path, arguments: list[str]) -> Outcome:
        """Run a command in a box and judge what it did."""
        before = _outside(box)
        answer = self._ask({"box": str(box), "arguments": arguments, "limit_s": WALL_LIMIT_S})
        return Outcome(**answer, complaints=tuple(_complaints(answer, box, before)))

    def close(self) -> None:
        if self.process is not None:
            assert self.process.stdin
            self.process.stdin.close()
            self.process.wait(60)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                self.command, cwd=self.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            assert self.process.stdout
            assert json.loads(self.process.stdout.readline()) == {"ready": True}
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def _outside(box: Path) -> set[str]:
    """What is around the folder that a command works in, but caches of packages."""
    names = ("a/b/work", "stdin", "stdout", "stderr", "tmp", "home/.cache", "home/.keras",
             "home/.config/matplotlib")  # fmt: skip
    given = [box / name for name in names]
    return {
        path.relative_to(box).as_posix()
        for path in box.rglob("*")
        if not any(path.is_relative_to(one) for one in given)
    }


def _complaints(answer: dict[str, Any], box: Path, before: set[str]) -> list[str]:
    ending, found = answer["ending"], []
    if ending not in EXIT_CODES:
        found.append(f"ended with {ending}")
    if answer["processor_s"] > PROCESSOR_LIMIT_S:
        found.append(f"took {answer['processor_s']:.0f} s of a processor")
    if answer["memory_bytes"] > MEMORY_LIMIT_BYTES:
        found.append(f"took {answer['memory_bytes'] / 1e9:.1f} GB")
    written = sorted(_outside(box) - before)
    if FORBIDDEN.exists():
        written.append(str(FORBIDDEN))
        shutil.rmtree(FORBIDDEN, ignore_errors=True)
        FORBIDDEN.unlink(missing_ok=True)
    if written:
        found.append(f"wrote outside: {written[:3]}")
    shown = {name: (box / name).read_bytes() for name in ("stdout", "stderr")}
    texts = {name: content.decode("utf-8", "surrogateescape") for name, content in shown.items()}
    for name, text in texts.items():
        if control := _CONTROLS.search(text):
            found.append(f"{name} holds {control[0]!r}")
    errors = texts["stderr"]
    if "Traceback (most recent call last)" in errors:
        found.append(f"a traceback: {errors.strip().splitlines()[-1][:200]}")
    lines = [line for line in errors.splitlines() if line.startswith("Error:")]
    if ending and (len(lines) != 1 or errors.splitlines()[-1] != lines[0]):
        found.append(f"not one line of error but: {errors[-300:]!r}")
    return found
