"""What it buys to look up input products instead of embeddings: the same step, with the product of
embedding and input matrix made one table at export, against the step that computes it.

Both are run on LiteRT in float32 and int8, in one interleaved run: nanoseconds per step, input
written and state handed on, and bytes of the graph. Weights are random, which does not change the
time; the largest difference of the float32 outputs is printed too.

    python benchmarks/folded_embedding.py [--cell CELL] [--units N] [--vocabulary N]...
        [--embedding N] [--json]
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import click
import numpy as np
from bare_loop import bare_loop
from numpy.typing import NDArray
from record import write_record

from device_runner.measure.machine import describe_machine
from models.cells import CELLS
from models.tensorflow_log import load_tensorflow

OUTPUTS = 23
ROUNDS = 200
CALLS = 100
CALIBRATION_STEPS = 2000
WAYS = ("float32", "float32 folded", "int8", "int8 folded")


def graphs(cell: str, units: int, vocabulary: int, embedding: int) -> dict[str, bytes]:
    """The step graph of one network in each of WAYS."""
    import tf_keras as keras

    from convert.export import float_step
    from convert.schemes import apply_scheme, parse_scheme
    from models.network import Architecture

    keras.utils.set_random_seed(1)
    network = Architecture(
        cell, (units,), 1, OUTPUTS, vocabulary=vocabulary, embedding=embedding
    ).build()
    tokens = _tokens(vocabulary, CALIBRATION_STEPS)[:, np.newaxis]
    scheme = parse_scheme("int8")
    found = {}
    for suffix, fold in (("", False), (" folded", True)):
        step = float_step(network, fold_embedding=fold)
        found["float32" + suffix] = step.flatbuffer
        ranges = step.calibrate([tokens])
        found["int8" + suffix] = apply_scheme(scheme, step, ranges)
    return found


def measure(cell: str, units: int, vocabulary: int, embedding: int) -> dict[str, float]:
    """Median nanoseconds per step and bytes in each of WAYS, and the largest difference."""
    made = graphs(cell, units, vocabulary, embedding)
    loops = {way: bare_loop(made[way], "step") for way in WAYS}
    frames = [token.tobytes() for token in _tokens(vocabulary, CALLS)]
    outputs = {
        way: np.frombuffer(b"".join(map(loops[way], frames)), np.float32)
        for way in ("float32", "float32 folded")
    }
    samples: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way, step in loops.items():
            start = time.perf_counter_ns()
            for frame in frames:
                step(frame)
            samples[way].append((time.perf_counter_ns() - start) / CALLS)
    return {
        **{f"{way} ns": statistics.median(values) for way, values in samples.items()},
        **{f"{way} bytes": len(made[way]) for way in WAYS},
        "difference": float(np.abs(outputs["float32"] - outputs["float32 folded"]).max()),
    }


def _tokens(vocabulary: int, count: int) -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, vocabulary, count).astype(np.int32)


@click.command()
@click.option("--cell", type=click.Choice(list(CELLS)), default="gru", show_default=True)
@click.option("--units", default=128, show_default=True, type=click.IntRange(1))
@click.option("--embedding", default=32, show_default=True, type=click.IntRange(1))
@click.option(
    "--vocabulary", "vocabularies", multiple=True, type=click.IntRange(2), default=(100, 5000),
    show_default=True,
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object per vocabulary.")
def main(
    cell: str, units: int, embedding: int, vocabularies: tuple[int, ...], as_json: bool
) -> None:
    """Compare steps with and without an input product."""
    load_tensorflow()
    if not as_json:
        click.echo(
            f"{describe_machine()['model']}, LiteRT, 1 thread, {cell}-{units}, "
            f"embedding of {embedding}"
        )
        click.echo(f"{'vocabulary':>10}  {'way':15}{'ns a step':>10}{'ratio':>7}{'bytes':>11}")
    rows: list[dict[str, Any]] = []
    for vocabulary in vocabularies:
        found = measure(cell, units, vocabulary, embedding)
        rows.append({"cell": cell, "units": units, "vocabulary": vocabulary, **found})
        if as_json:
            click.echo(json.dumps(rows[-1]))
            continue
        for way in WAYS:
            ratio = found[f"{way} ns"] / found[f"{way.split()[0]} ns"]
            click.echo(
                f"{vocabulary:10}  {way:15}{found[f'{way} ns']:10.0f}{ratio:7.2f}"
                f"{found[f'{way} bytes']:11,.0f}"
            )
        click.echo(f"largest difference of the float32 outputs: {found['difference']:.1e}")
    last = rows[-1]
    write_record(
        "folded_embedding",
        f"{cell}-{units} `int8`, {last['vocabulary']} tokens, against an embedding and a product",
        rows,
        size=f"{last['int8 folded bytes'] / last['int8 bytes']:.2f} x",
        p50=f"{last['int8 folded ns'] / last['int8 ns']:.2f} x",
        score=f"the same outputs to {last['difference']:.0e}",
    )


if __name__ == "__main__":
    main()
