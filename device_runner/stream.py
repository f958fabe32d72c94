"""The state loop: one step model, one stream."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from device_runner.backends import AUTOMATIC, load_backend
from device_runner.backends.interpreter import InterpreterBackend
from device_runner.contract import (
    INPUT_NAME,
    OUTPUT_NAME,
    StepModel,
    TensorSpec,
    check_values,
    load_step_model,
)
from device_runner.errors import BadInputError


class Stream:
    """Steps a model through a stream of inputs, carrying the state from step to step.

    Example::

        stream = Stream("gru-64-s1-int8.tflite")
        for frame in frames:            # each a vector in the input's real units
            scores = stream.step(frame)

    The state never leaves the runtime's memory and is never dequantized: its bytes are copied
    from the output tensor to the input tensor. Not thread-safe: one stream per thread.

    Args:
        model: path of a .tflite step model, or one already loaded.
        backend: name of the runtime, or "auto".
        threads: threads the runtime may use for one step.
    """

    def __init__(
        self, model: StepModel | str | Path, backend: str = AUTOMATIC, threads: int = 1
    ) -> None:
        self.model = model if isinstance(model, StepModel) else load_step_model(model)
        self.backend: InterpreterBackend = load_backend(self.model, backend, threads)
        contract = self.model.contract
        inputs, outputs = self.backend.inputs, self.backend.outputs
        states = [(inputs[state.name], outputs[state.name]) for state in contract.states]
        self._initial = [(inputs[state.name], state.initial_bytes()) for state in contract.states]
        self._write_input = _bind_write(contract.input, inputs[INPUT_NAME])
        self._read_output = _bind_read(contract.output, outputs[OUTPUT_NAME])
        self._advance = _bind_advance(self.backend.invoke, states)
        self.step_bytes = _bind_step(
            self.backend.invoke, inputs[INPUT_NAME], outputs[OUTPUT_NAME], states
        )
        self.reset()

    def reset(self) -> None:
        """Begin a new sequence: write the initial states."""
        for view, initial in self._initial:
            view[:] = initial

    def step(self, x: np.ndarray) -> np.ndarray:
        """One time step in real units: ``x`` [inputs] float -> ``y`` [outputs] float32.

        Raises:
            BadInputError: ``x`` has the wrong shape or dtype, or holds NaN or infinity.
        """
        self._write_input(x)
        self._advance()
        return self._read_output()

    def run(self, x: np.ndarray) -> np.ndarray:
        """Step through a sequence without reset: ``x`` [steps, inputs] -> ``y`` [steps, outputs].

        Raises:
            BadInputError: as :meth:`step`.
        """
        contract = self.model.contract
        values = check_values(x, contract.input.shape[-1])
        stored = b"".join(self.step_bytes(row.tobytes()) for row in contract.input.quantize(values))
        y = np.frombuffer(stored, contract.output.dtype).reshape(-1, contract.output.shape[-1])
        return contract.output.dequantize(y)

    def state_bytes(self) -> dict[str, bytes]:
        """The current state, as stored, by state name."""
        names = (state.name for state in self.model.contract.states)
        return {name: bytes(self.backend.inputs[name]) for name in names}


def _bind_step(
    invoke: Callable[[], None],
    x: memoryview,
    y: memoryview,
    states: list[tuple[memoryview, memoryview]],
) -> Callable[[bytes], bytes]:
    """The whole step as one closure over byte views: the fastest a Python loop gets."""

    def step_bytes(frame: bytes) -> bytes:
        x[:] = frame
        invoke()
        for state_in, state_out in states:
            state_in[:] = state_out
        return bytes(y)

    return step_bytes


def _bind_advance(
    invoke: Callable[[], None], states: list[tuple[memoryview, memoryview]]
) -> Callable[[], None]:
    """The step between the border tensors: invoke, and the state passed on."""

    def advance() -> None:
        invoke()
        for state_in, state_out in states:
            state_in[:] = state_out

    return advance


def _bind_write(spec: TensorSpec, view: memoryview) -> Callable[[np.ndarray], None]:
    """A function that checks a frame of real values and writes it, quantized, into the input
    tensor. As :meth:`TensorSpec.quantize`, on memory allocated once: NumPy's small-array calls
    cost more than a small model's step, so each one counts."""
    width = spec.shape[-1]
    tensor = np.frombuffer(view, spec.dtype)
    values = np.empty(width, np.float32)
    quantized = spec.scale is not None and spec.zero_point is not None
    if quantized:
        scale, zero_point = np.float32(spec.scale), np.float32(spec.zero_point)
        lowest, highest = (np.float32(limit) for limit in _limits(spec.dtype))

    def write(x: np.ndarray) -> None:
        try:
            frame = np.asarray(x)
        except ValueError as error:
            raise BadInputError(f"input is no array of numbers ({error})") from error
        if frame.shape == (1, width):
            frame = frame[0]
        if frame.shape != (width,):
            raise BadInputError(f"input has shape {frame.shape}; the model takes ({width},)")
        if frame.dtype.kind not in "fiub":
            raise BadInputError(f"input has dtype {frame.dtype}; numbers are needed")
        values[:] = frame  # to float32 first, as run() does
        # One product finds every NaN and infinity; an overflow of its own is sorted out after.
        if not math.isfinite(np.dot(values, values)):
            check_values(frame[np.newaxis], width)
        if not quantized:
            tensor[:] = values
            return
        np.divide(values, scale, out=values)
        np.rint(values, out=values)
        np.add(values, zero_point, out=values)
        np.maximum(values, lowest, out=values)
        np.minimum(values, highest, out=values)
        tensor[:] = values

    return write


def _bind_read(spec: TensorSpec, view: memoryview) -> Callable[[], np.ndarray]:
    """A function that reads the output tensor as real values, as :meth:`TensorSpec.dequantize`."""
    tensor = np.frombuffer(view, spec.dtype)
    if spec.scale is None or spec.zero_point is None:
        return tensor.copy
    scale, zero_point = np.float32(spec.scale), np.float32(spec.zero_point)

    def read() -> np.ndarray:
        values = np.subtract(tensor, zero_point, dtype=np.float32)
        np.multiply(values, scale, out=values)
        return values

    return read


def _limits(dtype: str) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return limits.min, limits.max
