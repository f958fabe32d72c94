"""How far runtimes are from what the exporting one recorded: what device_runner.replay allows.

    python -m benchmarks.runtime_agreement [--emulated] FILE...

steps each file of integers on every runtime that is installed here, and on the emulated boards of
'make test-arm64', in processes of their own. It prints for each runtime on how many files it gives
the recorded bits, and the largest share of values that are off by more than a few steps.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from device_runner.backends import BACKENDS

Verify = Callable[[list[str]], str]
# Those that round integers at each operator.
RUNTIMES = ("litert", "tflite-runtime", "tensorflow", "micro")


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--emulated", is_flag=True, help="On emulated Arm boards, too.")
def main(files: tuple[str, ...], emulated: bool) -> None:
    """Step FILES on every runtime and compare with what is recorded in them."""
    paths = [str(Path(file).resolve()) for file in files]
    for name in RUNTIMES:
        if name in BACKENDS:
            _show(f"{name}, here", _here(name), paths)
    if emulated:
        with tempfile.TemporaryDirectory() as folder:
            for place, verify in _boards(Path(folder)):
                _show(place, verify, paths)


def _here(backend: str) -> Verify:
    def verify(files: list[str]) -> str:
        command = [sys.executable, "-m", "device_runner", "verify", "--json"]
        done = subprocess.run(
            [*command, "--backend", backend, *files], capture_output=True, text=True, check=False
        )
        return done.stdout

    return verify


def _boards(folder: Path) -> list[tuple[str, Verify]]:
    from pipeline.bundle import BUNDLE_NAME, write_bundle

    # Tests have no types.
    boards = importlib.import_module("tests.arm64.conftest")
    arm = importlib.import_module("tests.arm64.emulated_arm")
    root, bundle = arm.build(), write_bundle(folder / BUNDLE_NAME)
    names = boards.BACKENDS

    def on(board: str, runtime: str) -> Verify:
        options = ("verify", "--json", "--backend", names[runtime])
        python = arm.ArmPython(root, board, runtime)
        return lambda files: str(
            python.run(bundle, *options, *files, cwd=folder, timeout=600).stdout
        )

    return [(f"{names[runtime]}, {board}", on(board, runtime)) for board, runtime in boards.SYSTEMS]


def _show(place: str, verify: Verify, files: list[str]) -> None:
    """Verify the files and print one line, and one for each file that fails."""
    answers = [json.loads(line) for line in verify(files).splitlines()]
    replays = [(one["file"], one["replay"]) for one in answers if one.get("replay")]
    if not replays:
        print(f"{place:34} not installed, or refuses all")
        return
    same = sum(replay["same_bits"] for _, replay in replays)
    worst, off = max(replays, key=lambda one: one[1]["off"])[0], max(r["off"] for _, r in replays)
    print(
        f"{place:34} the recorded bits on {same} of {len(replays)} files; "
        f"off: {off:.2%} at most ({Path(worst).stem})",
        flush=True,
    )
    for one in answers:
        if one["failure"]:
            print(f"  {Path(one['file']).stem}: {one['failure']}")


if __name__ == "__main__":
    main()
