"""What it costs to answer for the last W frames: lanes against computing the window anew.

A Keras GRU over windows of W frames is asked every ``hop`` frames. Ways to answer, all run in turns
in one process, one thread:

- ``lanes``: the step model that ``edgestep convert --hop HOP`` makes, a step a frame;
- ``carry``: the one of ``--carry``, whose state is never reset: another function, for comparison;
- ``while``, ``unrolled``: the same model over W frames as TFLite makes it, in one call an answer,
  with a loop or with a copy of the step for each frame;
- ``predict``: stock ``model.predict`` on the window, one call an answer.

The weights are random: they do not change the time. That all ways but ``carry`` compute the same is
checked before.

    python benchmarks/windows.py [--units N] [--window W]... [--json]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from record import write_record

from device_runner.measure.machine import describe_machine
from device_runner.stream import Stream
from models.tensorflow_log import load_tensorflow, quiet

INPUTS, OUTPUTS = 12, 9
ROUNDS = 40
FRAMES_A_ROUND, CALLS_A_ROUND, PREDICTS_A_ROUND = 250, 10, 1
TOLERANCE = 1e-4

#: [window, inputs] -> [outputs].
Compute = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass
class Way:
    """A way to answer.

    Attributes:
        call: what is timed, once.
        calls: how often in a round.
        samples: nanoseconds of each call.
    """

    call: Callable[[], object]
    calls: int
    samples: list[int] = field(default_factory=list)

    def percentile(self, percent: float) -> float:
        """Microseconds."""
        return float(np.percentile(self.samples, percent)) / 1e3


def make_models(units: int, window: int, folder: Path) -> tuple[Path, Compute, dict[str, bytes]]:
    """Make a GRU over windows in both Keras, with equal weights.

    Returns:
        The Keras 3 file, its ``predict``, and the TFLite forms of the whole window.
    """
    load_tensorflow()
    import keras
    import tensorflow as tf
    import tf_keras

    def build(package: Any, **options: Any) -> Any:
        shape = {"batch_size": 1} if package is tf_keras else {}
        frames = package.Input((window, INPUTS), **shape)
        last = package.layers.GRU(units, **options)(frames)
        return package.Model(frames, package.layers.Dense(OUTPUTS)(last))

    model = build(keras)
    path = folder / f"gru-{window}.keras"
    model.save(path)
    forms = {}
    for name, unroll in (("while", False), ("unrolled", True)):
        same = build(tf_keras, unroll=unroll)
        same.set_weights(model.get_weights())
        with quiet():
            forms[name] = bytes(tf.lite.TFLiteConverter.from_keras_model(same).convert())

    def predict(frames: NDArray[Any]) -> NDArray[Any]:
        output: NDArray[Any] = model.predict(frames[np.newaxis], verbose=0)
        return np.array(output[0])

    return path, predict, forms


def step_model(path: Path, frames: NDArray[Any], name: str, *options: str) -> Stream:
    """Convert a Keras file in a process of its own, and open a stream of the result."""
    data, output = path.with_suffix(".npy"), path.with_name(f"{path.stem}-{name}.tflite")
    np.save(data, frames)
    command = [sys.executable, "-m", "edgestep", "convert", str(path), "--target", "cpu"]
    command += ["--scheme", "float32", "--data", str(data), "--output", str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise click.ClickException(done.stderr.strip().splitlines()[-1])
    return Stream(output, "litert")


def whole_window(flatbuffer: bytes) -> Compute:
    """Load a TFLite form of the whole window."""
    interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
    interpreter.allocate_tensors()
    given, wanted = (
        details[0]["index"]
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    )

    def compute(frames: NDArray[Any]) -> NDArray[Any]:
        interpreter.set_tensor(given, frames[np.newaxis])
        interpreter.invoke()
        output: NDArray[Any] = interpreter.get_tensor(wanted)
        return np.array(output[0])

    return compute


def check(stream: Stream, hop: int, window: int, ways: dict[str, Compute], frames: Any) -> None:
    """Raise ClickException unless the stream answers what the ways compute over each window."""
    stream.reset()
    answers = np.asarray(stream.run(frames))
    ends = range(window - 1, len(frames), hop)
    for name, compute in ways.items():
        for end in (ends[0], ends[len(ends) // 2], ends[-1]):
            wanted = compute(frames[end + 1 - window : end + 1])
            difference = float(np.abs(answers[end] - wanted).max())
            if not difference <= TOLERANCE:
                raise click.ClickException(
                    f"{window} frames: lanes and {name} differ by {difference:.2g}; the times mean "
                    "nothing"
                )


def measure(units: int, window: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Measure one window length, a row for each hop."""
    path, predict, forms = make_models(units, window, folder)
    frames = np.random.default_rng(1).normal(size=(4 * window + 40, INPUTS)).astype(np.float32)
    hops = (1, max(1, window // 4), window)
    lanes = {hop: step_model(path, frames, f"hop{hop}", "--hop", str(hop)) for hop in hops}
    carried = step_model(path, frames, "carry", "--carry")
    computed = {name: whole_window(flatbuffer) for name, flatbuffer in forms.items()}
    for hop, stream in lanes.items():
        check(stream, hop, window, {**computed, "predict": predict}, frames)
    last, stored = frames[-window:], [frame.tobytes() for frame in frames]
    ways = {
        **{
            f"lanes {hop}": Way(_stepping(one, stored), FRAMES_A_ROUND)
            for hop, one in lanes.items()
        },
        "carry": Way(_stepping(carried, stored), FRAMES_A_ROUND),
        **{
            name: Way(lambda compute=compute: compute(last), CALLS_A_ROUND)  # type: ignore[misc]
            for name, compute in computed.items()
        },
        "predict": Way(lambda: predict(last), PREDICTS_A_ROUND),
    }
    for _ in range(ROUNDS):
        for way in ways.values():
            way.call()
            for _ in range(way.calls):
                start = time.perf_counter_ns()
                way.call()
                way.samples.append(time.perf_counter_ns() - start)
    for hop in hops:
        yield _row(window, hop, ways)


def _stepping(stream: Stream, stored: list[bytes]) -> Callable[[], object]:
    """Make a call that steps the next frame, over and over."""
    stream.reset()
    step, count, place = stream.step_bytes, len(stored), 0

    def call() -> None:
        nonlocal place
        step(stored[place])
        place = (place + 1) % count

    return call


def _row(window: int, hop: int, ways: dict[str, Way]) -> dict[str, Any]:
    lanes = ways[f"lanes {hop}"]
    mean = float(np.mean(lanes.samples)) / 1e3
    row: dict[str, Any] = {
        "window": window,
        "hop": hop,
        "lanes": -(-window // hop),
        "lanes_p50_us": lanes.percentile(50),
        "lanes_p99_us": lanes.percentile(99),
        "lanes_mean_us": mean,
        "carry_p50_us": ways["carry"].percentile(50),
        "carry_p99_us": ways["carry"].percentile(99),
    }
    for name in ("while", "unrolled", "predict"):
        anew = ways[name]
        row[f"{name}_p50_us"], row[f"{name}_p99_us"] = anew.percentile(50), anew.percentile(99)
        # What a frame costs on average: an answer every hop frames.
        row[f"{name}_per_lanes"] = anew.percentile(50) / hop / lanes.percentile(50)
    return row


COLUMNS = (
    ("window", "window", "{:d}"), ("hop", "hop", "{:d}"), ("lanes", "lanes", "{:d}"),
    ("lanes p50", "lanes_p50_us", "{:.2f}"), ("p99", "lanes_p99_us", "{:.2f}"),
    ("carry p50", "carry_p50_us", "{:.2f}"),
    ("while p50", "while_p50_us", "{:.1f}"), ("p99", "while_p99_us", "{:.1f}"),
    ("unrolled p50", "unrolled_p50_us", "{:.1f}"), ("p99", "unrolled_p99_us", "{:.1f}"),
    ("predict p50", "predict_p50_us", "{:.0f}"),
    ("while/lanes", "while_per_lanes", "{:.1f}"),
    ("unrolled/lanes", "unrolled_per_lanes", "{:.1f}"),
    ("predict/lanes", "predict_per_lanes", "{:.0f}"),
)  # fmt: skip


@click.command()
@click.option("--units", default=64, show_default=True, help="Units of the GRU.")
@click.option("--window", "windows", multiple=True, type=click.IntRange(2), default=(16, 64, 128),
              show_default=True, help="Frames in a window; may be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def main(units: int, windows: tuple[int, ...], as_json: bool) -> None:
    """Compare lanes with computing windows anew."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for window in windows:
            rows += list(measure(units, window, Path(folder)))
    best = max(rows, key=lambda row: row["lanes"])
    write_record(
        "windows",
        f"GRU-{units} `float32`, windows of {best['window']} frames at each frame, against one "
        "call of the window",
        rows,
        p50=f"{1 / min(best['while_per_lanes'], best['unrolled_per_lanes']):.3f} x",
        score="the same outputs",
    )
    if as_json:
        click.echo(json.dumps(rows))
        return
    click.echo(
        f"{describe_machine()['model']}, LiteRT, 1 thread, GRU-{units} float32, us; lanes and "
        "carry a frame, the others an answer; ratios a frame, of medians"
    )
    widths = [max(len(name), 7) for name, _, _ in COLUMNS]
    click.echo("  ".join(name.rjust(n) for (name, _, _), n in zip(COLUMNS, widths, strict=True)))
    for row in rows:
        cells = (form.format(row[key]) for _, key, form in COLUMNS)
        click.echo("  ".join(cell.rjust(n) for cell, n in zip(cells, widths, strict=True)))


if __name__ == "__main__":
    main()
