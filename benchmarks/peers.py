"""What a step costs beside other runtimes: real values to real values, in a Python loop.

LSTMs and GRUs of 40 inputs with random weights, the same in every runtime; frames are those of
japanese-vowels, mixed into 40 channels. Every runtime is used as its documentation shows for one
step after another, with one thread, in a process of its own; the processes take turns in short
rounds. Outputs of all frames are compared with those of ``native`` in float32 first. Printed are
medians over the rounds in microseconds; +- is half the distance of the quartiles. ``C loop`` is
plain loops over the weights, compiled with -O3 for this machine, and called by ctypes.

    python benchmarks/peers.py [--cells lstm,gru] [--units 16,32,...] [--python PYTHON] [--picture]

``make bench-peers`` installs what it needs. ``--python`` runs the others in another environment.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np
import tf_keras as keras
from native_kernels import INPUTS, wide_task
from peer_steps import PEERS
from record import write_record

from calibration.rollout import long_streams
from convert.export import export, float_step
from device_runner.measure.machine import describe_machine
from models.network import Architecture
from models.tasks.task import Task

HERE = Path(__file__).parent
OURS = ("native", "native int8", "litert", "litert int8")
# Whom ours are compared with: int8 with whatever is fastest.
OPPONENTS = {"native": ("float32",), "native int8": ("float32", "int8")}
FRAMES, ROUNDS, ROUND_US = 200, 101, 3000
# The largest difference from our float32, as a share of the outputs' range. The weights are random,
# so int8's is larger than a trained network's.
ALLOWED = {"float32": 1e-3, "int8": 0.25}


def write_case(task: Task, cell: str, units: int, folder: Path) -> None:
    """Write the step models, the weights and the frames of a network into a folder."""
    keras.utils.set_random_seed(1)
    architecture = Architecture(cell, (units,), INPUTS, len(task.labels))
    network = architecture.build()
    normalization = network.get_layer("normalization")
    normalization.adapt(*task.normalization)
    step = float_step(network)
    ranges = step.calibrate(long_streams(task.train.sequences, 500, 1))
    for scheme in ("float32", "int8"):
        export(network, architecture, task, scheme, folder / f"{scheme}.tflite", step, ranges)
    (recurrence,) = (layer for layer in network.layers if hasattr(layer, "cell"))
    inner, head = recurrence.cell, network.get_layer("head")
    kernel = inner.kernel.numpy()
    weights = {
        # The normalization is a part of the first product everywhere.
        "kernel": normalization.scale.numpy()[:, np.newaxis] * kernel,
        "bias": inner.bias.numpy() + normalization.shift.numpy() @ kernel,
        "recurrent": inner.recurrent_kernel.numpy(),
        "head": head.kernel.numpy(),
        "head_bias": head.bias.numpy(),
    }
    if cell == "gru":
        weights["recurrent_bias"] = inner.recurrent_bias.numpy()
    np.savez(folder / "weights.npz", **weights)
    frames = np.concatenate([np.asarray(one) for one in task.test.sequences])[:FRAMES]
    np.save(folder / "frames.npy", frames.astype(np.float32))


class Peer:
    """A process that steps one way, and why it does not, if so."""

    def __init__(self, name: str, python: str, folder: Path, stack: ExitStack) -> None:
        self.name, self.missing = name, ""
        self._log = stack.enter_context((folder / f"{name}.log").open("w+"))
        paths = os.pathsep.join([str(HERE), str(HERE.parent)])
        self._process = subprocess.Popen(
            [python, "-W", "ignore", str(HERE / "peer_steps.py"), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )  # fmt: skip
        stack.callback(self._process.wait)
        stack.callback(self._process.kill)

    def build(self, folder: Path) -> bool:
        """Build the step of a folder; tell whether it works."""
        if not self.missing and not self._ask(str(folder)):
            self._log.seek(0)
            lines = self._log.read().strip().splitlines()
            self.missing = lines[-1] if lines else "it ends without a word"
        return not self.missing

    def microseconds(self, steps: int) -> float:
        """Step so many frames; return the time of one."""
        return float(self._ask(str(steps))) / 1e3

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self._process.stdout.readline()


def compare(folder: Path, peers: list[Peer], rounds: int) -> dict[str, Any]:
    """Measure a case; return by name the times and differences, or why there are none.

    Raises:
        click.ClickException: a peer computes something else.
    """
    working = [peer for peer in peers if peer.build(folder)]
    found: dict[str, Any] = {peer.name: {"missing": peer.missing} for peer in peers if peer.missing}
    expected = np.load(folder / "native.npy")
    steps = {}
    for peer in working:
        once = min(peer.microseconds(100) for _ in range(5))
        steps[peer.name] = max(20, int(ROUND_US / once))
        difference = np.abs(np.load(folder / f"{peer.name}.npy") - expected).max()
        share = float(difference / np.ptp(expected))
        if not share <= ALLOWED[PEERS[peer.name][1]]:
            raise click.ClickException(f"{peer.name} computes something else: {share:.3g}")
        found[peer.name] = {"difference": share}
    times: dict[str, list[float]] = {peer.name: [] for peer in working}
    for _ in range(rounds):
        for peer in working:
            times[peer.name].append(peer.microseconds(steps[peer.name]))
    for name, measured in times.items():
        low, median, high = statistics.quantiles(measured, n=4)
        found[name].update({"us": median, "+-": (high - low) / 2})
    return found


def best_peer(row: Mapping[str, Any], schemes: Sequence[str]) -> tuple[str, float]:
    """Return the fastest way of these schemes that is not ours, and its microseconds."""
    times = {
        name: row[name]["us"]
        for name, (_, scheme) in PEERS.items()
        if name not in (*OURS, "C loop") and scheme in schemes and "us" in row.get(name, {})
    }
    fastest = min(times, key=lambda one: times[one], default="-")
    return fastest, times.get(fastest, float("nan"))


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the results of one cell as a table in Markdown, a way a line."""
    cell = next(iter(rows)).split("-")[0]
    units = [key.split("-")[1] for key in rows]
    lines = [f"| {cell.upper()}, units | " + " | ".join(units) + " |", "|---|" + "---|" * len(rows)]
    for name in PEERS:
        cells = []
        for row in rows.values():
            facts = row.get(name, {})
            cells.append(f"{facts['us']:.2f} ±{facts['+-']:.2f}" if "us" in facts else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for ours, schemes in OPPONENTS.items():
        cells = []
        for row in rows.values():
            name, peer = best_peer(row, schemes)
            cells.append(f"{peer / row[ours]['us']:.1f} ({name})" if ours in row else "-")
        what = "best peer" if len(schemes) > 1 else "best float peer"
        lines.append(f"| {what} / {ours} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the times over the units, a picture for each cell side by side."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "edgestep"
    cells = list(dict.fromkeys(key.split("-")[0] for key in rows))
    figure, axes = plt.subplots(1, len(cells), figsize=(5 * len(cells), 4.5), sharey=True)
    for cell, plot in zip(cells, np.atleast_1d(axes), strict=True):
        for name in PEERS:
            points = [
                (int(key.split("-")[1]), row[name]["us"])
                for key, row in rows.items()
                if key.startswith(f"{cell}-") and "us" in row.get(name, {})
            ]
            if points:
                ours = name.startswith("native")
                style = {
                    "linewidth": 2.5 if ours else 1,
                    "linestyle": "--" if "int8" in name else "-",
                }
                plot.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name, **style)
        plot.set(xscale="log", yscale="log", xlabel="units", title=cell.upper())
        units = [int(key.split("-")[1]) for key in rows if key.startswith(f"{cell}-")]
        plot.set_xticks(units, [str(unit) for unit in units])
        plot.minorticks_off()
        plot.grid(alpha=0.3)
    axis = np.atleast_1d(axes)[0]
    axis.set_ylabel("microseconds of a step, real values in and out")
    np.atleast_1d(axes)[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


@click.command(help=__doc__)
@click.option("--cells", default="lstm,gru", show_default=True)
@click.option("--units", default="16,32,64,128,256,512", show_default=True)
@click.option("--only", default=",".join(PEERS), help="Names of the ways, by commas.")
@click.option("--python", default=sys.executable, help="Runs the ways that are not ours.")
@click.option("--rounds", default=ROUNDS, show_default=True)
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path))
def main(cells: str, units: str, only: str, python: str, rounds: int, picture: Path | None) -> None:
    """Measure every network on everything."""
    rows: dict[str, dict[str, Any]] = {}
    names = ["native", *(name for name in only.split(",") if name != "native")]
    task = wide_task()
    with tempfile.TemporaryDirectory(prefix="edgestep-peers-") as parent, ExitStack() as stack:
        peers = [
            Peer(name, sys.executable if name in OURS else python, Path(parent), stack)
            for name in names
        ]
        for cell in cells.split(","):
            for size in units.split(","):
                folder = Path(parent, f"{cell}-{size}")
                folder.mkdir()
                write_case(task, cell, int(size), folder)
                row = rows[folder.name] = compare(folder, peers, rounds)
                click.echo(json.dumps({"network": folder.name, **row}), err=True)
    for cell in cells.split(","):
        click.echo(table({key: row for key, row in rows.items() if key.startswith(f"{cell}-")}))
        click.echo()
    click.echo(f"{rounds} rounds of about {ROUND_US / 1000:g} ms; {describe_machine()}")
    write_record("peers", "Stream.step beside other runtimes", [{"rows": rows}])
    if picture is not None:
        draw(rows, picture)


if __name__ == "__main__":
    main()
