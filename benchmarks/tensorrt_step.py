"""One step in TensorRT on an NVIDIA GPU: a step model built into an engine and timed.

Each float32 step model is written as ONNX in memory and built into an engine, in float32 without
TF32 (seconds to a minute). Its golden frames are stepped without a reset: the states stay on the
GPU in two buffers that take turns, the frame goes in and the first output comes back, as in a live
stream. The outputs are held against LiteRT's on the CPU; then single steps are timed, the wait for
the output included. Printed are the largest difference as a share of the outputs' range, and p50
and p99 of a step in microseconds.

    python benchmarks/tensorrt_step.py [--steps N] [--seconds S] FILE.tflite...

Needs an NVIDIA GPU with its driver, and "pip install tensorrt cuda-bindings onnx". No further file
is begun once --seconds (default 300) are over. It has not run on a GPU yet: docs/gpu.md.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from record import write_record

from convert.exporters.onnx import to_onnx
from device_runner.backends.onnxruntime import state_output_name
from device_runner.errors import MissingRuntimeError, VerificationError
from device_runner.model.step_file import StepModel, load_step_model
from device_runner.stream import Stream

WARM_UP, CHECKED_FRAMES = 50, 200
WORKSPACE_BYTES = 1 << 30
# The largest difference from LiteRT, as a share of the outputs' range.
ALLOWED = 1e-3
INSTALL = "pip install tensorrt cuda-bindings"


class Cuda:
    """The few calls of CUDA's runtime that a step needs; each raises what CUDA reports."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise MissingRuntimeError(
                f"CUDA's bindings are missing ({error}); {INSTALL}"
            ) from error
        self._runtime = runtime
        try:
            (count,) = self._call("cudaGetDeviceCount")
        except (MissingRuntimeError, RuntimeError) as error:
            raise MissingRuntimeError(f"there is no NVIDIA GPU to be seen ({error})") from error
        if not count:
            raise MissingRuntimeError("there is no NVIDIA GPU; run this on a machine that has one")
        (self.stream,) = self._call("cudaStreamCreate")

    def _call(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        error, *values = getattr(self._runtime, name)(*arguments)
        if int(error):
            raise MissingRuntimeError(f"{name}: {error!r}")
        return tuple(values)

    def device_buffer(self, size: int) -> int:
        """Give the address of so many bytes of zeros on the GPU."""
        (address,) = self._call("cudaMalloc", size)
        self._call("cudaMemset", address, 0, size)
        return int(address)

    def host_array(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """Give a float32 array in memory that the GPU copies from and to without a detour."""
        count = int(np.prod(shape))
        (address,) = self._call("cudaMallocHost", 4 * count)
        pointer = ctypes.cast(int(address), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, (count,)).reshape(shape)

    def copy(self, target: int, source: int, size: int, to_device: bool) -> None:
        """Queue a copy of so many bytes."""
        kinds = self._runtime.cudaMemcpyKind
        kind = kinds.cudaMemcpyHostToDevice if to_device else kinds.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", target, source, size, kind, self.stream)

    def wait(self) -> None:
        """Wait until all that was queued is done."""
        self._call("cudaStreamSynchronize", self.stream)


class Engine:
    """A step in TensorRT, with its states on the GPU."""

    def __init__(self, model: StepModel, cuda: Cuda) -> None:
        self._cuda = cuda
        self._context = _built(to_onnx(model))
        contract = model.contract
        x, y = contract.input, contract.answers[0]
        self._frame: NDArray[np.float32] = cuda.host_array(x.shape)
        self._answer: NDArray[np.float32] = cuda.host_array(y.shape)
        self._x, self._y = (
            cuda.device_buffer(array.nbytes) for array in (self._frame, self._answer)
        )
        self._context.set_tensor_address(x.name, self._x)
        self._context.set_tensor_address(y.name, self._y)
        for other in contract.answers[1:]:
            size = 4 * int(np.prod(other.shape))
            self._context.set_tensor_address(other.name, cuda.device_buffer(size))
        self._states = {
            state.name: [cuda.device_buffer(4 * int(np.prod(state.shape))) for _ in range(2)]
            for state in contract.states
        }

    def step(self, frame: NDArray[Any]) -> NDArray[np.float32]:
        """Compute one step; the array that it gives is written over by the next one."""
        cuda = self._cuda
        np.copyto(self._frame, frame.reshape(self._frame.shape))
        cuda.copy(self._x, self._frame.ctypes.data, self._frame.nbytes, to_device=True)
        for name, buffers in self._states.items():
            self._context.set_tensor_address(name, buffers[0])
            self._context.set_tensor_address(state_output_name(name), buffers[1])
            buffers.reverse()
        self._context.execute_async_v3(int(cuda.stream))
        cuda.copy(self._answer.ctypes.data, self._y, self._answer.nbytes, to_device=False)
        cuda.wait()
        answer: NDArray[np.float32] = self._answer[0]
        return answer


def _built(onnx_bytes: bytes) -> Any:
    """Build an engine and give its context."""
    tensorrt = _tensorrt()
    log = tensorrt.Logger(tensorrt.Logger.WARNING)
    builder = tensorrt.Builder(log)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, log)
    if not parser.parse(onnx_bytes):
        raise click.ClickException(f"TensorRT does not take the step: {parser.get_error(0)}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise click.ClickException("TensorRT could not build an engine; its log says why")
    return tensorrt.Runtime(log).deserialize_cuda_engine(plan).create_execution_context()


def _tensorrt() -> Any:
    try:
        import tensorrt
    except ImportError as error:
        raise MissingRuntimeError(f"TensorRT is missing ({error}); {INSTALL}") from error
    return tensorrt


def measure(model: StepModel, cuda: Cuda, steps: int) -> dict[str, Any]:
    """Build a model, check it, and time its steps.

    Raises:
        VerificationError: its outputs are not LiteRT's.
    """
    begin = time.perf_counter()
    engine = Engine(model, cuda)
    built_s = time.perf_counter() - begin
    frames = np.resize(model.golden.x, (CHECKED_FRAMES, *model.golden.x.shape[1:]))
    expected = np.asarray(Stream(model, "litert").run(frames))
    found = np.stack([engine.step(frame).copy() for frame in frames])
    error = float(np.abs(found - expected).max() / np.ptp(expected))
    if not error <= ALLOWED:
        raise VerificationError(f"{model.path}: the outputs differ from LiteRT's by {error:.2%}")
    times = np.empty(WARM_UP + steps)
    for number in range(len(times)):
        start = time.perf_counter_ns()
        engine.step(frames[number % CHECKED_FRAMES])
        times[number] = time.perf_counter_ns() - start
    p50, p99 = np.percentile(times[WARM_UP:], (50, 99)) / 1000
    return {"file": model.path.name, "built_s": built_s, "error": error, "p50": p50, "p99": p99}


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--steps", default=5000, show_default=True, type=click.IntRange(100))
@click.option("--seconds", default=300.0, show_default=True, help="No file is begun after it.")
def main(files: tuple[Path, ...], steps: int, seconds: float) -> None:
    """Build and time each of FILES."""
    begin = time.monotonic()
    models = [load_step_model(file) for file in files]
    for model in models:
        to_onnx(model)  # refuses what is not float32 before a GPU is asked for
    _tensorrt()
    cuda = Cuda()
    click.echo("| file | built, s | error | p50, us | p99, us |\n|---|---|---|---|---|")
    rows = []
    for model in models:
        if time.monotonic() - begin > seconds:
            click.echo(f"{model.path}: left out, {seconds:g} s are over", err=True)
            continue
        row = measure(model, cuda, steps)
        rows.append(row)
        click.echo(
            f"| {row['file']} | {row['built_s']:.1f} | {row['error']:.1e} "
            f"| {row['p50']:.1f} | {row['p99']:.1f} |"
        )
    write_record("tensorrt_step", "a step in TensorRT on a GPU", rows)


if __name__ == "__main__":
    main()
