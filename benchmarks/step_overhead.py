"""What the runner's loop adds to the bare invoke, and what other ways to write the loop add.

Five loops over the same step model on LiteRT, in one interleaved run:

- ``invoke``: the bare invoke, no input written, no state passed on;
- ``stream``: the runner's whole step (input written, invoke, state passed on, output read);
- ``values``: the same from real values to real values (``Stream.step``), both quantized and
  dequantized by NumPy where the model is;
- ``tensors``: the stored bytes again, with the interpreter's set_tensor and get_tensor;
- ``signature``: the same with get_signature_runner, as TFLite's guides show it.

And what ``edgestep bench`` says of a model is held against an independent loop: the median of
single steps, by the runner's own measurement and by a few lines that share no code with it.

    python benchmarks/step_overhead.py [FILE...] [--json]
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from bare_loop import bare_loop
from numpy.typing import NDArray

from device_runner.measure import latency
from device_runner.measure.latency import BenchSettings
from device_runner.measure.machine import describe_machine
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME, STEP_SIGNATURE
from device_runner.model.step_file import StepModel, load_step_model
from device_runner.stream import Stream

DEFAULT_FILES = tuple(
    f"runs/demo/{cell}-128-s1-{scheme}.tflite"
    for cell in ("simple-rnn", "lstm", "gru", "oru")
    for scheme in ("float32", "int8")
)
ROUNDS = 60
STEPS_PER_ROUND = 500
COMPARISONS = 15

Loop = Callable[[int], None]


def invoke_loop(model: StepModel, frames: list[NDArray[Any]]) -> Loop:
    invoke = Stream(model, "litert").backend.invoke

    def loop(count: int) -> None:
        for _ in range(count):
            invoke()

    return loop


def stream_loop(model: StepModel, frames: list[NDArray[Any]]) -> Loop:
    step = Stream(model, "litert").step_bytes
    source = itertools.cycle([frame.tobytes() for frame in frames])

    def loop(count: int) -> None:
        for frame in itertools.islice(source, count):
            step(frame)

    return loop


def values_loop(model: StepModel, frames: list[NDArray[Any]]) -> Loop:
    step = Stream(model, "litert").step
    source = itertools.cycle([model.contract.input.dequantize(frame) for frame in frames])

    def loop(count: int) -> None:
        for frame in itertools.islice(source, count):
            step(frame)

    return loop


def tensors_loop(model: StepModel, frames: list[NDArray[Any]]) -> Loop:
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


def signature_loop(model: StepModel, frames: list[NDArray[Any]]) -> Loop:
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


def runner_against_independent_loop(model: StepModel, frames: list[NDArray[Any]]) -> float:
    """p50 of the runner's measurement over the median of single steps timed here, in turns."""
    step = bare_loop(model.flatbuffer, STEP_SIGNATURE)
    stored = itertools.cycle([frame.tobytes() for frame in frames])
    ratios = []
    for _ in range(COMPARISONS):
        settings = BenchSettings(steps=STEPS_PER_ROUND * 4, rounds=4, warmup_s=0.05)
        (measured,) = latency.measure([Stream(model, "litert")], settings)
        times = []
        for frame in itertools.islice(stored, STEPS_PER_ROUND * 4):
            start = time.perf_counter_ns()
            step(frame)
            times.append(time.perf_counter_ns() - start)
        ratios.append((measured.step.percentiles["p50"] or 0) / statistics.median(times))
    return statistics.median(ratios)


LOOPS = {
    "invoke": invoke_loop,
    "stream": stream_loop,
    "values": values_loop,
    "tensors": tensors_loop,
    "signature": signature_loop,
}


def measure(file: Path) -> tuple[dict[str, float], float]:
    """Median nanoseconds per step of each loop, and the runner's p50 over an independent one."""
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
    times = {name: float(np.median(values)) for name, values in samples.items()}
    return times, runner_against_independent_loop(model, frames)


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
            f"{'model':26}{'invoke':>8}{'stream':>8}{'values':>8}{'tensors':>9}{'signature':>11}"
            f"{'stream/invoke':>15}{'signature/stream':>18}{'p50/independent':>17}"
        )
    for file in files or tuple(map(Path, DEFAULT_FILES)):
        times, agreement = measure(file)
        ratios = {
            "stream_per_invoke": times["stream"] / times["invoke"],
            "signature_per_stream": times["signature"] / times["stream"],
            "runner_per_independent_loop": agreement,
        }
        if as_json:
            click.echo(json.dumps({"file": file.name, "nanoseconds": times, **ratios}))
            continue
        click.echo(
            f"{file.stem:26}{times['invoke']:8.0f}{times['stream']:8.0f}{times['values']:8.0f}"
            f"{times['tensors']:9.0f}{times['signature']:11.0f}{ratios['stream_per_invoke']:15.2f}"
            f"{ratios['signature_per_stream']:18.2f}{agreement:17.3f}"
        )


if __name__ == "__main__":
    main()
