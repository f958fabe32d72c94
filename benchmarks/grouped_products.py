"""How the recurrent product of a grouped cell is best computed in a step.

Of one grouped GRU's recurrent product, [1, H] -> [1, 3H] in G groups, three forms are converted to
float32 and int8 and run on LiteRT in one interleaved run: ``dense`` (the blocks in one matrix of
zeros otherwise), ``split`` (a product per group: SPLIT, G products, CONCATENATION) and ``batched``
(one BATCH_MATMUL, in float32 alone: its int8 form is not known to be right on all runtimes).
``plain`` is the product of the ungrouped cell. Nanoseconds of a bare invoke. Random weights.
The order of the results of ``split`` and ``batched`` is not that of the gates: a cell built on them
would need a further operator or two.

    python benchmarks/grouped_products.py [--units N]... [--groups G] [--json]
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import click
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from device_runner.measure.machine import describe_machine
from models.tensorflow_log import load_tensorflow, quiet

GATES = 3
ROUNDS, CALLS = 100, 50


def products(units: int, groups: int) -> dict[str, Any]:
    """The forms by name, functions of h [1, H]."""
    import tensorflow as tf

    size = units // groups
    random = np.random.default_rng(1)
    blocks = random.normal(0, size**-0.5, (groups, size, GATES * size)).astype(np.float32)
    whole = random.normal(0, units**-0.5, (units, GATES * units)).astype(np.float32)
    dense = np.zeros_like(whole)
    for group, block in enumerate(blocks):
        rows = slice(group * size, (group + 1) * size)
        dense[rows, group * GATES * size : (group + 1) * GATES * size] = block

    def split(h: tf.Tensor) -> tf.Tensor:
        parts = zip(tf.split(h, groups, -1), blocks, strict=True)
        return tf.concat([tf.matmul(part, block) for part, block in parts], -1)

    return {
        "plain": lambda h: tf.matmul(h, whole),
        "dense": lambda h: tf.matmul(h, dense),
        "split": split,
        "batched": lambda h: tf.reshape(
            tf.matmul(tf.reshape(h, (groups, 1, size)), blocks), (1, GATES * units)
        ),
    }


def interpreter(function: Any, units: int, int8: bool) -> Interpreter:
    """A converted form, ready to be run."""
    import tensorflow as tf

    concrete = tf.function(
        function, input_signature=[tf.TensorSpec((1, units), tf.float32)]
    ).get_concrete_function()
    frames = np.random.default_rng(2).uniform(-1, 1, (200, 1, units)).astype(np.float32)
    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([frame] for frame in frames)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        made = Interpreter(model_content=converter.convert(), num_threads=1)
        made.allocate_tensors()
    return made


def measure(units: int, groups: int) -> dict[str, float]:
    """Median nanoseconds by form and scheme."""
    ways = {}
    for scheme in ("float32", "int8"):
        for name, function in products(units, groups).items():
            if (name, scheme) != ("batched", "int8"):
                ways[f"{name} {scheme}"] = interpreter(function, units, scheme == "int8")
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, made in ways.items():
            start = time.perf_counter_ns()
            for _ in range(CALLS):
                made.invoke()
            samples[name].append((time.perf_counter_ns() - start) / CALLS)
    return {name: statistics.median(values) for name, values in samples.items()}


@click.command()
@click.option(
    "--units", "sizes", multiple=True, type=click.IntRange(4), default=(64, 128, 256),
    show_default=True,
)  # fmt: skip
@click.option("--groups", default=4, show_default=True, type=click.IntRange(2))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per size.")
def main(sizes: tuple[int, ...], groups: int, as_json: bool) -> None:
    """Time the forms of a grouped product."""
    for units in sizes:
        if units % groups:
            raise click.UsageError(f"{groups} groups do not divide {units} units")
    load_tensorflow()
    if not as_json:
        click.echo(f"{describe_machine()['model']}, LiteRT, 1 thread, {groups} groups, ns")
    for units in sizes:
        times = measure(units, groups)
        if as_json:
            click.echo(json.dumps({"units": units, "groups": groups, "ns": times}))
        else:
            click.echo(f"{units:5}  " + "  ".join(f"{n} {t:.0f}" for n, t in times.items()))


if __name__ == "__main__":
    main()
