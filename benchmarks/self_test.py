"""What it costs to test libedgestep on a file that ``auto`` opens, beside reading the file.

Each is done anew in interleaved rounds; printed are medians in milliseconds.

    python benchmarks/self_test.py [FILES] [--json]
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import click

from device_runner.backends import load_backend, self_test
from device_runner.model.step_file import load_step_model

KEPT = Path(__file__).parents[1] / "tests" / "step_models"
ROUNDS = 30


def measure(file: Path) -> dict[str, float]:
    """Return the milliseconds to read a file, to load it into libedgestep, and to test it."""
    times: dict[str, list[float]] = {"read": [], "load": [], "test": []}
    for _ in range(ROUNDS):
        self_test._passed.clear()
        clock = [time.perf_counter()]
        model = load_step_model(file)
        clock.append(time.perf_counter())
        backend = load_backend(model, "native")
        clock.append(time.perf_counter())
        if failure := self_test.self_test(model, backend):
            raise click.ClickException(f"{file}: {failure}")
        clock.append(time.perf_counter())
        for name, begin, end in zip(times, clock, clock[1:], strict=False):
            times[name].append(1e3 * (end - begin))
    return {name: statistics.median(found) for name, found in times.items()}


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True)
def main(files: tuple[Path, ...], as_json: bool) -> None:
    """Measure FILES (default: the kept step models)."""
    found = {}
    for file in files or sorted(KEPT.glob("*.tflite")):
        found[file.stem] = measure(file)
        if not as_json:
            click.echo(
                f"{file.stem:28}"
                + "".join(f"{name} {value:6.2f} ms   " for name, value in found[file.stem].items())
            )
    if as_json:
        click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
