"""The LSTM step of plain operators with explicit state against TFLite's fused LSTM operator.

An LSTM of random weights is converted twice, in float32 and in int8: as edgestep does it, and from
Keras' own layer over a sequence of one step, which TensorFlow turns into
UNIDIRECTIONAL_SEQUENCE_LSTM. That operator keeps its state in variables of the interpreter: it
cannot be read, written, or handed to another model. Both are stepped on LiteRT over the same
stream; errors are against Keras' layer over the whole stream, as a share of its outputs' spread,
times are of a bare invoke in one interleaved run, nanoseconds.

    python benchmarks/fused_lstm.py [--units N]... [--json]
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from device_runner.measure.machine import describe_machine
from device_runner.model.flatbuffer import read_graph
from models.tensorflow_log import load_tensorflow, quiet

INPUTS, OUTPUTS = 40, 9
STEPS, CALIBRATION_STEPS = 300, 2000
ROUNDS, CALLS = 100, 50


def build(units: int) -> tuple[Any, Any]:
    """(our network, the same in Keras' layers for a batch of one sequence of one step)."""
    import tf_keras as keras

    from models.network import Architecture, recurrences

    keras.utils.set_random_seed(1)
    ours = Architecture("lstm", (units,), INPUTS, OUTPUTS).build()
    cell = recurrences(ours)[0].cell
    fused = keras.Sequential(
        [
            keras.layers.InputLayer((1, INPUTS), batch_size=1),
            keras.layers.LSTM(units, return_sequences=True),
            keras.layers.Dense(OUTPUTS),
        ]
    )
    fused.layers[0].set_weights(
        [w.numpy() for w in (cell.kernel, cell.recurrent_kernel, cell.bias)]
    )
    fused.layers[1].set_weights(ours.get_layer("head").get_weights())
    return ours, fused


def fused_flatbuffer(model: Any, frames: NDArray[Any] | None) -> bytes:
    """Float32, or with ``frames`` [steps, inputs] to calibrate with int8."""
    import tensorflow as tf

    with quiet():
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if frames is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([f[None, None]] for f in frames)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return bytes(converter.convert())


class Stepper:
    """A model stepped by plain invokes; states are handed on where it has any."""

    def __init__(self, flatbuffer: bytes, explicit: bool) -> None:
        with quiet():
            self.interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
            self.interpreter.allocate_tensors()
        inputs = {d["index"]: d for d in self.interpreter.get_input_details()}
        outputs = {d["index"]: d for d in self.interpreter.get_output_details()}
        self.states: list[tuple[int, int]] = []
        if explicit:
            signature = read_graph(flatbuffer).signature("step")
            names = [name for name in signature.inputs if name != "x"]
            self.states = [(signature.inputs[n], signature.outputs[n]) for n in names]
            self.x, self.y = inputs[signature.inputs["x"]], outputs[signature.outputs["y"]]
        else:
            (self.x,), (self.y,) = inputs.values(), outputs.values()
        for index, _ in self.states:
            details = inputs[index]
            zero = details["quantization"][1]
            self.interpreter.set_tensor(index, np.full(details["shape"], zero, details["dtype"]))

    def step(self, frame: NDArray[Any]) -> NDArray[Any]:
        scale, zero = self.x["quantization"]
        if scale:
            frame = np.clip(np.round(frame / scale) + zero, -128, 127)
        given = frame.reshape(self.x["shape"]).astype(self.x["dtype"])
        self.interpreter.set_tensor(self.x["index"], given)
        self.interpreter.invoke()
        for old, new in self.states:
            self.interpreter.set_tensor(old, self.interpreter.get_tensor(new))
        scale, zero = self.y["quantization"]
        y = self.interpreter.get_tensor(self.y["index"]).astype(np.float32).ravel()
        return np.asarray((y - zero) * scale if scale else y)


def measure(units: int) -> dict[str, dict[str, float]]:
    """By form and scheme: rms error as a share of the spread, and the median time of an invoke."""
    from convert.export import float_step
    from convert.schemes import apply_scheme, parse_scheme

    ours, fused = build(units)
    random = np.random.default_rng(2)
    calibration = random.normal(size=(CALIBRATION_STEPS, INPUTS)).astype(np.float32)
    frames = random.normal(size=(STEPS, INPUTS)).astype(np.float32)
    step = float_step(ours)
    scheme = parse_scheme("int8")
    int8 = apply_scheme(scheme, step, step.calibrate([calibration]))
    steppers = {
        "plain float32": Stepper(step.flatbuffer, True),
        "fused float32": Stepper(fused_flatbuffer(fused, None), False),
        "plain int8": Stepper(int8, True),
        "fused int8": Stepper(fused_flatbuffer(fused, calibration), False),
    }
    wanted = ours(frames[np.newaxis]).numpy()[0]
    spread = float(wanted.max() - wanted.min())
    errors = {}
    for name, stepper in steppers.items():
        given = np.array([stepper.step(frame) for frame in frames])
        errors[name] = float(np.sqrt(np.mean((given - wanted) ** 2))) / spread
    times = interleaved({name: item.interpreter.invoke for name, item in steppers.items()})
    return {name: {"error": errors[name], "ns": times[name]} for name in steppers}


def interleaved(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median nanoseconds of a call."""
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter_ns()
            for _ in range(CALLS):
                way()
            samples[name].append((time.perf_counter_ns() - start) / CALLS)
    return {name: statistics.median(values) for name, values in samples.items()}


@click.command()
@click.option(
    "--units", "sizes", multiple=True, type=click.IntRange(1), default=(64, 128), show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per size.")
def main(sizes: tuple[int, ...], as_json: bool) -> None:
    """Compare the two forms of an LSTM step."""
    load_tensorflow()
    if not as_json:
        click.echo(f"{describe_machine()['model']}, LiteRT, 1 thread, {INPUTS} inputs")
        click.echo(f"{'units':>6}  {'form':<14}{'rms error':>11}{'ns':>9}")
    for units in sizes:
        found = measure(units)
        if as_json:
            click.echo(json.dumps({"units": units, "forms": found}))
            continue
        for name, values in found.items():
            click.echo(f"{units:6}  {name:<14}{values['error']:11.2e}{values['ns']:9.0f}")


if __name__ == "__main__":
    main()
