"""What it buys to compute several piled-up frames in one call: N steps unrolled into one graph.

A float step graph is converted along with a signature ``chunk`` of N steps on the same weights, and
both are run on LiteRT in one interleaved run, nanoseconds per frame:

- ``single``: N calls of the step, state handed on between them, as the runner does it;
- ``signature``: one call of the chunk through get_signature_runner, the only way to a second
  signature of a file;
- ``direct``: one bare invoke of the chunk, which a file of its own would allow.

Weights are random: they do not change the time.

    python benchmarks/unrolled_chunks.py [--cell CELL] [--units N] [--chunk N]... [--json]
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from bare_loop import bare_loop

from device_runner.measure.machine import describe_machine
from models.cells import CELLS
from models.tensorflow_log import load_tensorflow, quiet

INPUTS, OUTPUTS = 12, 9
ROUNDS = 300
CALLS = 20


def convert(cell: str, units: int, chunk: int) -> tuple[bytes, bytes]:
    """(step, step with chunk): the flatbuffers; in the second the chunk comes first."""
    import tensorflow as tf

    from convert.step.keras_graph import keras_step_graph
    from convert.step.step_module import StepModule, to_float_graph
    from models.network import Architecture

    network = Architecture(cell, (units,), INPUTS, OUTPUTS, {}).build()
    network.get_layer("normalization").adapt(np.zeros(INPUTS), np.ones(INPUTS))
    module = StepModule(keras_step_graph(network))

    def unrolled(x: tf.Tensor, *states: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = []
        for frame in range(chunk):
            result = module.step(x[frame : frame + 1], *states)
            outputs.append(result["y"])
            states = tuple(result[name] for name in module.states)
        return {"y": tf.concat(outputs, 0), **dict(zip(module.states, states, strict=True))}

    module.chunk = tf.function(
        unrolled,
        input_signature=[
            tf.TensorSpec((chunk, INPUTS), tf.float32, name="x"),
            *(
                tf.TensorSpec((1, *state.shape), tf.float32, name=name)
                for name, state in module.states.items()
            ),
        ],
    )
    step = to_float_graph(module)
    with tempfile.TemporaryDirectory() as folder, quiet():
        tf.saved_model.save(module, folder, signatures={"step": module.step, "chunk": module.chunk})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["chunk", "step"]
        )
        return step, bytes(converter.convert())


def measure(cell: str, units: int, chunk: int) -> dict[str, float]:
    """Median nanoseconds per frame of the three ways."""
    step_graph, chunk_graph = convert(cell, units, chunk)
    frames = np.random.default_rng(1).standard_normal((chunk, INPUTS)).astype(np.float32)
    stored = [frame.tobytes() for frame in frames]
    step, direct = bare_loop(step_graph, "step"), bare_loop(chunk_graph, "chunk")
    interpreter = Interpreter(model_content=chunk_graph, num_threads=1)
    runner = interpreter.get_signature_runner("chunk")
    shapes = runner.get_input_details()
    given: dict[str, Any] = {
        name: np.zeros(details["shape"], np.float32) for name, details in shapes.items()
    }
    given["x"] = frames

    def single() -> None:
        for frame in stored:
            step(frame)

    ways: dict[str, Callable[[], Any]] = {
        "single": single,
        "signature": lambda: runner(**given),
        "direct": lambda: direct(frames.tobytes()),
    }
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            for _ in range(5):
                way()
            start = time.perf_counter_ns()
            for _ in range(CALLS):
                way()
            samples[name].append((time.perf_counter_ns() - start) / CALLS / chunk)
    return {name: statistics.median(values) for name, values in samples.items()}


@click.command()
@click.option("--cell", type=click.Choice(list(CELLS)), default="lstm", show_default=True)
@click.option("--units", default=128, show_default=True, type=click.IntRange(1))
@click.option(
    "--chunk", "chunks", multiple=True, type=click.IntRange(2, 64), default=(4, 8, 16),
    show_default=True,
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object per chunk.")
def main(cell: str, units: int, chunks: tuple[int, ...], as_json: bool) -> None:
    """Compare the ways to compute piled-up frames."""
    load_tensorflow()
    if not as_json:
        click.echo(f"{describe_machine()['model']}, LiteRT, 1 thread, {cell}-{units} float32, ns")
        click.echo(f"{'chunk':>6}{'single':>9}{'signature':>11}{'direct':>9}")
    for chunk in chunks:
        times = measure(cell, units, chunk)
        if as_json:
            click.echo(json.dumps({"cell": cell, "units": units, "chunk": chunk, **times}))
        else:
            click.echo(
                f"{chunk:6}{times['single']:9.0f}{times['signature']:11.0f}{times['direct']:9.0f}"
            )


if __name__ == "__main__":
    main()
