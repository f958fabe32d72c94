"""What the runner's loop adds to the bare invoke, and what other ways to write the loop add.

Four loops over the same step model on LiteRT, in one interleaved run:

- ``invoke``: the bare invoke, no input written, no state passed on;
- ``stream``: the runner's whole step (input written, invoke, state passed on, output read);
- ``tensors``: the same with the interpreter's set_tensor and get_tensor;
- ``signature``: the same with get_signature_runner, as TFLite's guides show it.

    python benchmarks/step_overhead.py [FILE...] [--json]
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from device_runner.contract import (
    INPUT_NAME,
    OUTPUT_NAME,
    STEP_SIGNATURE,
    StepModel,
    load_step_model,
)
from device_runner.machine import describe_machine
from device_runner.stream import Stream

DEFAULT_FILES = tuple(
    f"runs/demo/{cell}-128-s1-{scheme}.tflite"
    for cell in ("simple-rnn", "lstm", "gru", "oru")
    for scheme in ("float32", "int8")
)
ROUNDS = 60
STEPS_PER_ROUND = 500

Loop = Callable[[int], None]


def invoke_loop(model: StepModel, frames: list[np.ndarray]) -> Loop:
    invoke = Stream(model, "litert").backend.invoke

    def loop(count: int) -> None:
        for _ in range(count):
            invoke()

    return loop


def stream_loop(model: StepModel, frames: list[np.ndarray]) -> Loop:
    step = Stream(model, "litert").step_bytes
    source = itertools.cycle([frame.tobytes() for frame in frames])

    def loop(count: int) -> None:
        for frame in itertools.islice(source, count):
            step(frame)

    return loop


def tensors_loop(model: StepModel, frames: list[np.ndarray]) -> Loop:
    interpreter = Interpreter(model_content=model.flatbuffer, num_threads=1)
    interpreter.allocate_tensors()
    signature = model.graph.signature(STEP_SIGNATURE)
    x, y = signature.inputs[INPUT_NAME], signature.outputs[OUTPUT_NAME]
    pairs = [
        (index, signature.outputs[name])
        for name, index in signature.inputs.items()
        if name != INPUT_NAME
    ]
    source = itertools.cycle(frames)
    for state in model.contract.states:
        initial = np.frombuffer(state.initial_bytes(), state.dtype).reshape(state.shape)
        interpreter.set_tensor(signature.inputs[state.name], initial)

    def loop(count: int) -> None:
        for frame in itertools.islice(source, count):
            interpreter.set_tensor(x, frame)
            interpreter.invoke()
            for state_in, state_out in pairs:
                interpreter.set_tensor(state_in, interpreter.get_tensor(state_out))
            interpreter.get_tensor(y)

    return loop


def signature_loop(model: StepModel, frames: list[np.ndarray]) -> Loop:
    interpreter = Interpreter(model_content=model.flatbuffer, num_threads=1)
    runner = interpreter.get_signature_runner(STEP_SIGNATURE)
    states = {
        state.name: np.frombuffer(state.initial_bytes(), state.dtype).reshape(state.shape)
        for state in model.contract.states
    }
    source = itertools.cycle(frames)

    def loop(count: int) -> None:
        for frame in itertools.islice(source, count):
            outputs = runner(**{INPUT_NAME: frame}, **states)
            for name in states:
                states[name] = outputs[name]

    return loop


LOOPS = {
    "invoke": invoke_loop,
    "stream": stream_loop,
    "tensors": tensors_loop,
    "signature": signature_loop,
}


def measure(file: Path) -> dict[str, float]:
    """Median nanoseconds per step of each loop."""
    model = load_step_model(file)
    frames = list(model.contract.input.quantize(model.golden.x)[:, np.newaxis])
    loops = {name: make(model, frames) for name, make in LOOPS.items()}
    samples: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, loop in loops.items():
            loop(STEPS_PER_ROUND // 10)
            start = time.perf_counter_ns()
            loop(STEPS_PER_ROUND)
            samples[name].append((time.perf_counter_ns() - start) / STEPS_PER_ROUND)
    return {name: float(np.median(values)) for name, values in samples.items()}


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file.")
def main(files: tuple[Path, ...], as_json: bool) -> None:
    """Compare the loops on FILES (default: the models that 'make demo' leaves)."""
    if not as_json:
        facts = describe_machine()
        click.echo(
            f"{facts['model']}, LiteRT, 1 thread, medians of {ROUNDS} interleaved rounds, ns"
        )
        click.echo(
            f"{'model':26}{'invoke':>8}{'stream':>8}{'tensors':>9}{'signature':>11}"
            f"{'stream/invoke':>15}{'signature/stream':>18}"
        )
    for file in files or tuple(map(Path, DEFAULT_FILES)):
        times = measure(file)
        ratios = {
            "stream_per_invoke": times["stream"] / times["invoke"],
            "signature_per_stream": times["signature"] / times["stream"],
        }
        if as_json:
            click.echo(json.dumps({"file": file.name, "nanoseconds": times, **ratios}))
            continue
        click.echo(
            f"{file.stem:26}{times['invoke']:8.0f}{times['stream']:8.0f}{times['tensors']:9.0f}"
            f"{times['signature']:11.0f}{ratios['stream_per_invoke']:15.2f}"
            f"{ratios['signature_per_stream']:18.2f}"
        )


if __name__ == "__main__":
    main()
