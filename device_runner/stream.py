"""The state loop: one step model, one stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from device_runner.backends import AUTOMATIC, load_backend
from device_runner.backends.interpreter import InterpreterBackend
from device_runner.contract import (
    INPUT_NAME,
    OUTPUT_NAME,
    StepModel,
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
        self._initial = [(inputs[state.name], state.initial_bytes()) for state in contract.states]
        self.step_bytes = _bind_step(
            self.backend.invoke,
            inputs[INPUT_NAME],
            outputs[OUTPUT_NAME],
            [(inputs[state.name], outputs[state.name]) for state in contract.states],
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
        contract = self.model.contract
        width = contract.input.shape[-1]
        array = np.asarray(x)
        if array.shape not in ((width,), (1, width)):
            raise BadInputError(f"input has shape {array.shape}; the model takes ({width},)")
        values = check_values(array.reshape(1, width), width)
        stored = self.step_bytes(contract.input.quantize(values).tobytes())
        return contract.output.dequantize(np.frombuffer(stored, contract.output.dtype))

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
