"""What it buys to carry the state: stepping against computing a window anew at every frame.

Without a state of its own a model looks at the last W frames whenever one comes in. Three ways to
get the output after each frame are run in turns, one thread, microseconds per frame:

- ``step``: the step model, state handed on;
- ``window``: what a converter makes of the same LSTM over W frames, one fused operator with float
  weights, called once a frame;
- ``again``: the step model from its initial state through all W frames, once a frame.

Weights are random: they do not change the time. That ``window`` and ``again`` compute the same is
checked before.

    python benchmarks/incremental.py [--units N] [--window W]... [--json]
"""

from __future__ import annotations

import functools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from record import write_record

from device_runner.measure.machine import describe_machine
from models.tensorflow_log import load_tensorflow, quiet

INPUTS = 12
OUTPUTS = 9
ROUNDS = 30
TOLERANCE = 1e-4


#: Frames [steps, inputs] -> the outputs after the last.
Compute = Callable[[NDArray[Any]], NDArray[Any]]


def build(units: int, windows: tuple[int, ...]) -> tuple[bytes, dict[int, bytes]]:
    """The float step graph of an LSTM, and its graph over each window; with equal weights."""
    load_tensorflow()
    import tensorflow as tf
    import tf_keras as keras

    from convert.step.keras_graph import keras_step_graph
    from convert.step.step_module import StepModule, to_float_graph
    from models.network import Architecture, recurrences

    network = Architecture("lstm", (units,), INPUTS, OUTPUTS).build()
    network.get_layer("normalization").adapt(np.zeros(INPUTS), np.ones(INPUTS))
    (layer,) = recurrences(network)
    whole = {}
    for window in windows:
        frames = keras.Input((window, INPUTS), batch_size=1)
        last = keras.layers.LSTM(units)
        model = keras.Model(frames, keras.layers.Dense(OUTPUTS)(last(frames)))
        last.set_weights([layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias])
        model.layers[-1].set_weights(network.get_layer("head").get_weights())
        with quiet():
            whole[window] = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    return to_float_graph(StepModule(keras_step_graph(network))), whole


class Loaded:
    """A flatbuffer in LiteRT, its inputs and outputs by name."""

    def __init__(self, flatbuffer: bytes) -> None:
        self.interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
        self.interpreter.allocate_tensors()
        runner = self.interpreter.get_signature_runner()
        self.inputs = {name: d["index"] for name, d in runner.get_input_details().items()}
        self.outputs = {name: d["index"] for name, d in runner.get_output_details().items()}

    def set(self, name: str, value: NDArray[Any]) -> None:
        self.interpreter.set_tensor(self.inputs[name], value)

    def get(self, name: str) -> NDArray[Any]:
        return np.asarray(self.interpreter.get_tensor(self.outputs[name]))


def ways(
    step: bytes, whole: dict[int, bytes], units: int
) -> tuple[Compute, dict[tuple[str, int], Compute]]:
    """A step of the stream, and for each window two ways to compute it anew: frames [W, inputs]
    -> outputs after the last."""
    model = Loaded(step)
    states = [name for name in model.inputs if name != "x"]
    zeros = np.zeros((1, units), np.float32)

    def one_step(frame: NDArray[Any]) -> NDArray[Any]:
        model.set("x", frame)
        model.interpreter.invoke()
        for name in states:
            model.set(name, model.get(name))
        return model.get("y")

    def again(frames: NDArray[Any]) -> NDArray[Any]:
        for name in states:
            model.set(name, zeros)
        for position in range(len(frames)):
            y = one_step(frames[position : position + 1])
        return y

    found: dict[tuple[str, int], Compute] = {}
    for window, flatbuffer in whole.items():
        fused = Loaded(flatbuffer)
        (given,), (wanted,) = fused.inputs, fused.outputs

        found["window", window], found["again", window] = at_once(fused, given, wanted), again
    return one_step, found


def at_once(fused: Loaded, given: str, wanted: str) -> Compute:
    """The whole window in one call."""

    def compute(frames: NDArray[Any]) -> NDArray[Any]:
        fused.set(given, frames[np.newaxis])
        fused.interpreter.invoke()
        return fused.get(wanted)

    return compute


@click.command()
@click.option("--units", default=64, show_default=True, help="Units of the LSTM.")
@click.option("--window", "windows", multiple=True, type=click.IntRange(2), default=(8, 32, 128),
              show_default=True, help="Frames that are looked at; may be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def main(units: int, windows: tuple[int, ...], as_json: bool) -> None:
    """Compare stepping with computing windows anew."""
    step, whole = build(units, windows)
    one_step, anew = ways(step, whole, units)
    frames = np.random.default_rng(1).normal(size=(max(windows), INPUTS)).astype(np.float32)
    for window in windows:
        first, second = (anew[way, window](frames[:window]) for way in ("window", "again"))
        difference = float(np.abs(first - second).max())
        if difference > TOLERANCE:
            raise click.ClickException(
                f"over {window} frames the two differ by {difference:.2g}; the times mean nothing"
            )
    samples: dict[tuple[str, int], list[float]] = {("step", 1): []}
    for _ in range(ROUNDS):
        samples["step", 1].append(_microseconds(lambda: one_step(frames[:1]), 200))
        for (way, window), compute in anew.items():
            own = frames[:window]
            taken = _microseconds(functools.partial(compute, own), 5)
            samples.setdefault((way, window), []).append(taken)
    medians = {key: statistics.median(values) for key, values in samples.items()}
    stepping = medians["step", 1]
    rows = [
        {
            "units": units,
            "frames": window,
            "step_us": stepping,
            "window_us": medians["window", window],
            "again_us": medians["again", window],
            "window_per_step": medians["window", window] / stepping,
            "again_per_step": medians["again", window] / stepping,
        }
        for window in windows
    ]
    longest = rows[-1]
    write_record(
        "incremental",
        f"LSTM-{units} `float32`, against one call over {longest['frames']} frames",
        rows,
        p50=f"{1 / longest['window_per_step']:.3f} x",
        score="the same outputs",
    )
    if as_json:
        click.echo(json.dumps(rows))
        return
    click.echo(
        f"{describe_machine()['model']}, LiteRT, 1 thread, LSTM-{units} float32, "
        f"medians of {ROUNDS} interleaved rounds, us per frame"
    )
    click.echo(
        f"{'frames':>8}{'step':>9}{'window':>9}{'again':>9}{'window/step':>13}{'again/step':>12}"
    )
    for row in rows:
        click.echo(
            f"{row['frames']:8d}{row['step_us']:9.2f}{row['window_us']:9.2f}{row['again_us']:9.2f}"
            f"{row['window_per_step']:13.1f}{row['again_per_step']:12.1f}"
        )


def _microseconds(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(count):
        call()
    return (time.perf_counter_ns() - start) / count / 1e3


if __name__ == "__main__":
    main()
