"""libedgestep beside C++ that was compiled for one network: sizes known at compile time.

The network is a recurrence of 40 inputs and a head, float32, random weights. ``template`` is
``template_step.cpp``, compiled by g++ with -O3 -march=native -ffast-math for each size. Outputs are
compared. Nanoseconds of one step, one thread, medians of interleaved rounds; +- is half the
distance of the quartiles.

    python benchmarks/template_step.py [--cells lstm,gru] [--units 16,32,64,128]
"""

from __future__ import annotations

import ctypes
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import tf_keras as keras
from native_kernels import FRAMES, INPUTS, step_files, wide_task
from native_library import Steps, timer
from numpy.typing import NDArray
from record import write_record

from device_runner.measure.machine import describe_machine
from device_runner.stream import Stream
from models.network import Architecture
from models.tasks.task import Task

ROOT = Path(__file__).parents[1]
ROUNDS, STEPS = 61, 2000
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
# In the order of template_step.cpp.
MEMBERS = (
    "scale", "shift", "kernel", "bias", "recurrent_kernel", "recurrent_bias", "head/kernel",
    "head/bias",
)  # fmt: skip
# Of the largest output.
TOLERANCE = 1e-4


class Template:
    """A network compiled for its sizes."""

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        inputs, columns = weights["kernel"].shape
        units, self.outputs = weights["head/kernel"].shape
        sizes = {
            "INPUTS": inputs, "UNITS": units, "OUTPUTS": self.outputs, "GATES": columns // units
        }  # fmt: skip
        compiler = shutil.which("g++")
        if compiler is None:
            raise click.ClickException("this benchmark needs g++ (apt install g++)")
        folder = Path(tempfile.mkdtemp(prefix="edgestep-"))
        command = [
            compiler,
            "-std=c++17",
            "-O3",
            "-march=native",
            "-ffast-math",
            "-shared",
            "-fPIC",
        ]
        command += [f"-D{name}={size}" for name, size in sizes.items()]
        source = str(ROOT / "benchmarks" / "template_step.cpp")
        subprocess.run([*command, source, "-o", str(folder / "step.so")], check=True)  # noqa: S603
        self.library = ctypes.CDLL(str(folder / "step.so"))
        shutil.rmtree(folder)
        self.library.template_time.restype = ctypes.c_double
        for number, name in enumerate(MEMBERS):
            if name in weights:
                values = np.ascontiguousarray(weights[name], np.float32)
                self.library.template_load(
                    number, values.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(values.size)
                )

    def run(self, frames: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """Step frames from where the state is; return nanoseconds of a step, and the outputs."""
        outputs = np.empty((len(frames), self.outputs), np.float32)
        pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (frames, outputs))
        first, second = pointers
        return self.library.template_time(first, ctypes.c_size_t(len(frames)), second), outputs


def weights_of(task: Task, cell: str, units: int) -> dict[str, NDArray[Any]]:
    """Return the weights that ``step_files`` draws, by the names in MEMBERS."""
    keras.utils.set_random_seed(1)
    network = Architecture(cell, (units,), INPUTS, len(task.labels)).build()
    network.get_layer("normalization").adapt(*task.normalization)
    named = {weight.name.removesuffix(":0"): weight.numpy() for weight in network.weights}
    found = {}
    for name, values in named.items():
        short = name if name.startswith("head") else name.rpartition("/")[2]
        found[short] = values
    return found


def compare(task: Task, cell: str, units: int, folder: Path) -> dict[str, Any]:
    """Measure one network in both."""
    (path,) = step_files(task, cell, units, ["float32"], folder)
    frames = np.random.default_rng(8).normal(0, 1, (FRAMES, INPUTS)).astype(np.float32)
    template = Template(weights_of(task, cell, units))
    template.library.template_reset()
    wanted: NDArray[Any] = np.asarray(Stream(path, "native").run(frames))
    _, given = template.run(frames)
    error = float(np.abs(given - wanted).max() / np.abs(wanted).max())
    if error > TOLERANCE:
        raise click.ClickException(f"{cell}-{units}: the template's outputs are off by {error:.1g}")
    steps = Steps(path, frames.tobytes())
    times: dict[str, list[float]] = {"template": [], "libedgestep": []}
    for _ in range(ROUNDS):
        repeats = STEPS // FRAMES
        times["template"].append(statistics.mean(template.run(frames)[0] for _ in range(repeats)))
        times["libedgestep"].append(statistics.mean(steps.nanoseconds() for _ in range(repeats)))
    row: dict[str, Any] = {"network": f"{cell}-{units}", "largest difference": error}
    for name, found in times.items():
        low, row[name], high = statistics.quantiles(found, n=4)
        row[f"{name} +-"] = (high - low) / 2
    return {**row, "times faster": row["template"] / row["libedgestep"]}


@click.command(help=__doc__)
@click.option("--cells", default="lstm,gru", show_default=True)
@click.option("--units", default="16,32,64,128", show_default=True)
def main(cells: str, units: str) -> None:
    """Measure every network and print a row for each."""
    task, rows = wide_task(), []
    click.echo(f"{'network':10}{'template ns':>18}{'libedgestep ns':>18}{'faster':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for cell in cells.split(","):
            for size in units.split(","):
                row = compare(task, cell, int(size), Path(folder))
                rows.append(row)
                shown = "".join(
                    f"{row[name]:11.0f} +-{row[f'{name} +-']:4.0f}"
                    for name in ("template", "libedgestep")
                )
                click.echo(f"{row['network']:10}{shown}{row['times faster']:9.2f}x")
    kernels = timer().es_instruction_set().decode()
    click.echo(f"medians of {ROUNDS} rounds; {kernels} kernels; {describe_machine()}")
    write_record("template_step", "libedgestep beside C++ compiled for one network", rows)


if __name__ == "__main__":
    main()
