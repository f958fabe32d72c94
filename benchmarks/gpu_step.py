"""One step on a GPU against the same step on the CPU, for networks of growing size.

A step is little work, and starting the GPU and waiting for it costs the same for every network:
this shows from which size on it pays. Recurrent networks of random weights, stored in float16, are
held to their golden sequences on both, then measured in one interleaved run, the CPU with one
thread. TensorRT takes the same files with --scheme float32 (tensorrt_step.py).

The files are made if FOLDER lacks them, which needs TensorFlow. On a machine without it, copy the
folder there: the measurement needs what a device has (README, "On a device").

    python benchmarks/gpu_step.py [--cell CELL] [--units N]... [--scheme SCHEME] [--folder FOLDER]
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from record import write_record

from device_runner.errors import DeviceRunnerError
from device_runner.measure.latency import BenchSettings, measure
from device_runner.measure.machine import describe_machine
from device_runner.operators.multiply_adds import mean_multiply_adds
from device_runner.stream import Stream
from device_runner.verify import verify

UNITS = (128, 512, 1024, 2048)
# Both are computed in float32; of float16 there is half as much to copy.
SCHEMES = ("float16", "float32")
BACKENDS = ("litert", "litert-gpu")
TASK = "japanese-vowels"
# A step on a GPU takes a good part of a millisecond.
SETTINGS = BenchSettings(steps=2_000, rounds=10)


def make_file(cell: str, units: int, scheme: str, path: Path) -> None:
    """Export a network of random weights."""
    from models.tensorflow_log import load_tensorflow

    load_tensorflow()
    import tf_keras as keras

    from convert.export import export
    from models.network import Architecture
    from models.tasks import load_task

    task = load_task(TASK)
    keras.utils.set_random_seed(1)
    architecture = Architecture(cell, (units,), len(task.channels), len(task.labels))
    network = architecture.build()
    network.get_layer("normalization").adapt(*task.normalization)
    path.parent.mkdir(parents=True, exist_ok=True)
    export(network, architecture, task, scheme, path)


@click.command()
@click.option("--cell", default="gru", show_default=True)
@click.option("--units", multiple=True, type=click.IntRange(1), help=f"[default: {UNITS}]")
@click.option("--scheme", default="float16", show_default=True, type=click.Choice(SCHEMES))
@click.option(
    "--folder",
    default="runs/gpu-step",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where the step models are, or are put.",
)
@click.option("--only-export", is_flag=True, help="Make the files, measure nothing.")
def main(cell: str, units: tuple[int, ...], scheme: str, folder: Path, only_export: bool) -> None:
    """Measure a step on the GPU beside the same on the CPU."""
    sizes = units or UNITS
    files = [folder / f"{cell}-{size}-{scheme}.tflite" for size in sizes]
    for size, file in zip(sizes, files, strict=True):
        if not file.exists():
            make_file(cell, size, scheme, file)
    if only_export:
        return
    try:
        streams = [Stream(file, backend) for file in files for backend in BACKENDS]
        errors = []
        for stream in streams:
            verification = verify(stream)
            if verification.failure:
                raise verification.error(stream.model.path)
            errors.append(verification.max_abs)
    except DeviceRunnerError as error:
        raise click.ClickException(error.message) from None
    gpu = streams[1].backend.version
    click.echo(f"{describe_machine()['model']}, 1 thread; {gpu}; medians, microseconds")
    click.echo(
        f"{'units':>6}{'multiply-adds':>15}{'CPU':>9}{'GPU':>9}{'GPU/CPU':>9}{'largest error':>15}"
    )
    found = measure(streams, SETTINGS)
    rows = []
    for number, size in enumerate(sizes):
        on_cpu, on_gpu = (
            float(latency.step.percentiles["p50"] or np.nan) / 1e3
            for latency in found[2 * number : 2 * number + 2]
        )
        rows.append(
            {
                "units": size,
                "multiply_adds": mean_multiply_adds(streams[2 * number].model),
                "cpu_us": on_cpu,
                "gpu_us": on_gpu,
                "ratio": on_gpu / on_cpu,
                "largest_error": errors[2 * number + 1],
            }
        )
        click.echo(
            f"{size:6}{rows[-1]['multiply_adds']:15,}{on_cpu:9.1f}{on_gpu:9.1f}"
            f"{on_gpu / on_cpu:9.2f}{errors[2 * number + 1]:15.1g}"
        )
    write_record(
        "gpu_step",
        f"{cell} of {sizes[0]} and of {sizes[-1]} units `{scheme}`, on {gpu.partition(' on ')[2]} "
        f"against one core of {describe_machine()['model']}",
        rows,
        p50=f"{rows[0]['ratio']:.3g} x and {rows[-1]['ratio']:.3g} x",
        score=f"the same outputs to {max(row['largest_error'] for row in rows):.0e}",
    )


if __name__ == "__main__":
    main()
