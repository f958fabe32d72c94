"""What a step of a hierarchical stack costs: its slow recurrence stepped every fourth step, against
the same stack stepped whole.

Takes the step models of recipes/hierarchical.toml, which must have been run, and measures them in
one interleaved run on one thread, microseconds per step. "cycle" is the median over runs of four
steps of their mean, as percentiles of single steps are here those of two kinds of steps.

    python benchmarks/hierarchical.py [--folder FOLDER] [--json]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from record import write_record

from device_runner.errors import DeviceRunnerError
from device_runner.measure.latency import BenchSettings, ModelLatency, measure
from device_runner.measure.machine import describe_machine
from device_runner.operators.multiply_adds import mean_multiply_adds
from device_runner.stream import Stream

WHOLE, SLOW = "gru-32-192-every-1-1", "gru-32-192-every-1-4"
CYCLE = 4


def cycle_ns(latency: ModelLatency) -> float:
    """Nanoseconds per step: the median of the means of CYCLE steps in a row."""
    samples = np.asarray(latency.samples)
    whole = samples[: len(samples) // CYCLE * CYCLE]
    return float(np.median(whole.reshape(-1, CYCLE).mean(1)))


@click.command()
@click.option("--folder", default="runs/hierarchical", show_default=True,
              type=click.Path(path_type=Path), help="Of the recipe's step models.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def main(folder: Path, as_json: bool) -> None:
    """Compare the mean step of a hierarchical stack with that of the same stack stepped whole."""
    names = [(model, scheme) for scheme in ("float32", "int8") for model in (WHOLE, SLOW)]
    try:
        streams = [Stream(folder / f"{model}-s1-{scheme}.tflite") for model, scheme in names]
    except DeviceRunnerError as error:
        raise click.ClickException(
            f"{error.message}; run 'edgestep run recipes/hierarchical.toml' first"
        ) from None
    rows: list[dict[str, Any]] = []
    found = measure(streams, BenchSettings(keep_samples=True))
    for (model, scheme), stream, latency in zip(names, streams, found, strict=True):
        step = latency.step
        rows.append(
            {
                "model": model,
                "scheme": scheme,
                "multiply_adds": mean_multiply_adds(stream.model),
                "bytes": stream.model.file_bytes,
                "cycle": round(cycle_ns(latency) / 1e3, 3),
                **{
                    name: value and round(value / 1e3, 3)
                    for name, value in step.percentiles.items()
                },
            }
        )
    ratios = {
        scheme: rows[place + 1]["cycle"] / rows[place]["cycle"]
        for place, scheme in ((0, "float32"), (2, "int8"))
    }
    write_record(
        "hierarchical",
        "GRU of 32 units, one of 192 above it every fourth step, int8, against both at each step; "
        "an average step",
        rows,
        size=f"{rows[3]['bytes'] / rows[2]['bytes']:.2f}",
        p50=f"{ratios['int8']:.2f}",
    )
    if as_json:
        click.echo(json.dumps({"machine": describe_machine(), "rows": rows, "ratios": ratios}))
        return
    for row in rows:
        times = "  ".join(f"{name} {row[name]}" for name in ("cycle", "p50", "p99"))
        click.echo(
            f"{row['model']:22} {row['scheme']:8} {row['multiply_adds']:7,} multiply-adds, "
            f"{row['bytes']:7,} bytes; microseconds: {times}"
        )
    for scheme, ratio in ratios.items():
        click.echo(f"{scheme}: an average step costs {ratio:.2f} of one of the whole stack")


if __name__ == "__main__":
    main()
