"""How long the device program takes to start: ``edgestep-device.pyz`` against its dependencies.

Programs take turns, each in a process of its own. Printed are medians in milliseconds, by the
clock on the wall and of the CPU, which a busy machine spoils less. ``python -c pass`` and the
imports of click and NumPy are what no program of ours can be faster than; ``own`` is a command's
time above NumPy and click.

    python benchmarks/start_time.py [MODEL] [--against FILE.pyz]... [--rounds N] [--json]

The program of this tree is made and measured; --against adds that of an older one to the run.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from device_runner.measure.machine import describe_machine
from pipeline.bundle import BUNDLE_NAME, write_bundle

MODEL = Path(__file__).parents[1] / "tests" / "step_models" / "gru-int8.tflite"
FLOOR = "numpy and click"
IMPORTS = {
    "python": "pass",
    "click": "import click",
    "numpy": "import numpy",
    FLOOR: "import numpy, click",
}


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, resolve_path=True),
                default=MODEL)  # fmt: skip
@click.option("--against", type=click.Path(exists=True, dir_okay=False, resolve_path=True),
              multiple=True, help="Another device program; may be given again.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True)
@click.option("--backend", default="litert", show_default=True, help="Of verify.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def main(model: str, against: tuple[str, ...], rounds: int, backend: str, as_json: bool) -> None:
    """Measure how long the device program takes to start."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = (str(write_bundle(Path(folder, BUNDLE_NAME))), *against)
        sizes = {program: Path(program).stat().st_size for program in chosen}
        times = measure(commands(chosen, model, backend), rounds, folder)
    medians = {
        name: {"wall": statistics.median(walls), "cpu": statistics.median(cpus)}
        for name, (walls, cpus) in (
            (name, zip(*values, strict=True)) for name, values in times.items()
        )
    }
    if as_json:
        facts = {"machine": describe_machine(), "rounds": rounds, "median_ms": medians}
        click.echo(json.dumps({**facts, "program_bytes": sizes}))
        return
    click.echo(f"{'ms':36}  wall   cpu   own wall   cpu")
    for name, median in medians.items():
        line = f"{name:36}{median['wall']:6.0f}{median['cpu']:6.0f}"
        if name not in IMPORTS:
            own = (median[clock] - medians[FLOOR][clock] for clock in ("wall", "cpu"))
            line += "     {:6.0f}{:6.0f}".format(*own)
        click.echo(line)
    for program, size in sizes.items():
        click.echo(f"{size:,} bytes   {program}")


def commands(programs: tuple[str, ...], model: str, backend: str) -> dict[str, list[str]]:
    """Arguments of Python by the name of what is measured."""
    found = {name: ["-c", code] for name, code in IMPORTS.items()}
    for program in programs:
        for arguments in (["--help"], ["inspect", model], ["verify", model, "--backend", backend]):
            found[f"{Path(program).name} {arguments[0]}"] = [program, *arguments]
    return found


def measure(
    commands: dict[str, list[str]], rounds: int, folder: str
) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds of each command, of the clock and of the CPU, by its name.

    One untimed round first fills the disk cache.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, arguments in commands.items():
            before, start = os.times(), time.perf_counter()
            subprocess.run(  # noqa: S603  # this Python, with our own arguments
                [sys.executable, *arguments], cwd=folder, check=True, capture_output=True
            )
            wall, after = time.perf_counter() - start, os.times()
            user, system = (
                after.children_user - before.children_user,
                after.children_system - before.children_system,
            )
            if number:
                times[name].append((1e3 * wall, 1e3 * (user + system)))
    return times


if __name__ == "__main__":
    main()
