"""Whether what a sweep says of a step's time is found again: its front, measured afresh.

The files that none beats are measured by ``edgestep bench`` as the sweep did (``rounds`` of 1000
steps), each beside the sweep's control model, in processes of their own that take turns. For each
file this prints the sweep's p50 and p99 of a step, the fresh ones, and how far they are apart; the
whole 99th percentile too, which counts the disturbances of a few rounds. Without --sweep the files
are measured twice, and the second time stands for the fresh one: that compares the two percentiles
under the load that the machine has, whatever files they are.

    python benchmarks/sweep_agreement.py --sweep runs/sweep-japanese-vowels
    python benchmarks/sweep_agreement.py tests/step_models/*-int8.tflite --times 6
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import click

from device_runner.model.step_file import load_step_model
from pipeline.sweep.log import RESULTS_FILE, SweepLog
from pipeline.sweep.measuring import MeasuringQueue, steady_p99
from pipeline.sweep.settings import MeasuringSection

NEAR = 0.05
ESTIMATES = ("p50", "p99 of rounds", "whole p99")

Times = dict[str, float]


def measure(files: list[Path], control: Path, times: int, section: MeasuringSection) -> list[Times]:
    """Measure each file ``times`` times, the files taking turns; times of a step in nanoseconds,
    a repeat after the other."""
    queue = MeasuringQueue("here", section, control)
    found: list[Times] = []
    with click.progressbar(length=times * len(files), label="measuring") as bar:
        for _ in range(times):
            for file in files:
                _, result = queue.bench([control, file])
                found.append(_times(result))
                bar.update(1)
    return found


def _times(result: dict[str, Any]) -> Times:
    percentiles = result["latency_ns"]["step"]["percentiles"]
    return {"p50": percentiles["p50"], "p99 of rounds": steady_p99(result),
            "whole p99": percentiles["p99"]}  # fmt: skip


def median_of(found: list[Times]) -> Times:
    return {name: statistics.median(one[name] for one in found) for name in ESTIMATES}


def of_sweep(folder: Path) -> tuple[list[Path], list[Times]]:
    """Return a sweep's front, and what the sweep says of a step of each file."""
    log = SweepLog.load(folder / RESULTS_FILE)
    files = [folder / one["file"] for one in (log.front or {"trials": []})["trials"]]
    if not files:
        raise click.ClickException(f"{folder} holds no finished sweep with a front")
    said = []
    for file in files:
        one = next(line for (_, sha), line in log.measured.items()
                   if sha == load_step_model(file).sha256)  # fmt: skip
        before = one.get("front_end_p99_ns", 0)
        said.append({"p50": one["step"]["percentiles"]["p50"],
                     "p99 of rounds": one["p99_ns"] - before,
                     "whole p99": one["whole_p99_ns"] - before})  # fmt: skip
    return files, said


def show(name: str, said: Times, fresh: Times) -> dict[str, float]:
    """Print a file's row; return how far the two are apart, by estimate."""
    apart = {one: fresh[one] / said[one] - 1 for one in ESTIMATES}
    cells = " ".join(
        f"{said[one] / 1e3:8.3f} {fresh[one] / 1e3:8.3f} {apart[one]:+6.1%}" for one in ESTIMATES
    )
    click.echo(f"{name:34} {cells}")
    return apart


@click.command(help=__doc__)
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--sweep", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="The folder of a sweep that has ended.")  # fmt: skip
@click.option("--times", default=3, show_default=True, help="Processes for each file.")
def main(files: tuple[Path, ...], sweep: Path | None, times: int) -> None:
    section = MeasuringSection()
    if sweep:
        chosen, said = of_sweep(sweep)
        control = sweep / "control.tflite"
        fresh = measure(chosen, control, times, section)
    elif files:
        chosen, control = list(files), files[0]
        found = measure(chosen, control, 2 * times, section)
        half = times * len(chosen)
        fresh = found[half:]
        said = [median_of(found[place : half : len(chosen)]) for place in range(len(chosen))]
    else:
        raise click.UsageError("name files, or a sweep with --sweep")
    heads = " ".join(f"{name + ', us':>17} {'apart':>7}" for name in ESTIMATES)
    click.echo(f"{'file (before, afresh)':34} {heads}")
    apart = [
        show(file.stem, said[place], median_of(fresh[place :: len(chosen)]))
        for place, file in enumerate(chosen)
    ]
    for name in ESTIMATES:
        away = [abs(one[name]) for one in apart]
        near = sum(one <= NEAR for one in away)
        click.echo(f"{name}: {near} of {len(away)} within {NEAR:.0%}, the furthest {max(away):.1%}")


if __name__ == "__main__":
    main()
