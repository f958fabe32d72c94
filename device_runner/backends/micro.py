"""The backend for TensorFlow Lite Micro, the runtime of microcontrollers, on this computer.

It tells whether a microcontroller takes the model, what it computes, and how much memory it needs.
The distribution is ``tflite-micro``. Its kernels here are the portable ones, so a time says nothing
about a microcontroller.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from device_runner.backends.backend import Backend, LoadOptions, distribution_version
from device_runner.backends.host_step import frame_places
from device_runner.backends.kernels import PORTABLE
from device_runner.backends.native_output import STDERR, captured
from device_runner.errors import BadModelError, MissingRuntimeError, one_line
from device_runner.model.contract import Contract
from device_runner.model.names import PHASE_NAME, STEP_SIGNATURE
from device_runner.model.phases import phase_bytes
from device_runner.model.step_file import StepModel
from device_runner.model.stored_frames import stored_frames

NAME = "micro"
# The arena is doubled between these until the model fits. No microcontroller has the larger one.
SMALLEST_ARENA_BYTES = 16 * 1024
LARGEST_ARENA_BYTES = 64 * 1024 * 1024
ARENA_STEP_BYTES = 64
# What the runtime writes to standard error if the arena is too small, and of what it used.
_TOO_SMALL = re.compile(r"missing: \d+|[Ff]ailed to allocate|Too many buffers")
_USED = re.compile(r"Arena allocation total (\d+) bytes")
# Some kernels do not look whether they got memory, and crash in an arena that is too small.
_CRASHED = "crashed: failed to allocate"
# The reason comes last, in two lines: what does not fit, and in which operator.
_REASON_LINES = 2

Result = TypeVar("Result")


def load(model: StepModel, options: LoadOptions) -> MicroBackend:
    """Load a step model into TensorFlow Lite Micro's interpreter; it ignores the options."""
    model.require_one_row(NAME)
    runtime, version = _runtime(), probe()
    arena = SMALLEST_ARENA_BYTES
    while True:
        error, log = _with_log(_tried, runtime, model, arena)
        if error is None:
            break
        if not _TOO_SMALL.search(log):
            lines = [line.strip() for line in log.splitlines() if line.strip()]
            reason = "; ".join(lines[-_REASON_LINES:]) or one_line(error)
            raise BadModelError(
                f"{model.path}: {NAME} {version} refuses the model ({reason}); "
                "export it as int8 or int16x8"
            )
        arena *= 2
        if arena > LARGEST_ARENA_BYTES:
            raise BadModelError(f"{model.path}: {NAME} {version} {_too_large(log)}")
    arena = _smallest(runtime, model, arena, log)
    interpreter, _ = _with_log(_interpreter, runtime, model, arena)
    if isinstance(interpreter, Exception):
        raise BadModelError(f"{model.path}: {NAME} {version} {_too_large(_CRASHED)}")
    return MicroBackend(version, interpreter, model, arena)


def _too_large(log: str) -> str:
    """Say what became of the last try, in the largest arena."""
    if _CRASHED in log:
        return "crashes on the model; do not use it here, or use another backend"
    return (
        f"needs more than {LARGEST_ARENA_BYTES:,} bytes of memory for the model; make a smaller one"
    )


def probe() -> str:
    """Return tflite-micro's version."""
    _runtime()
    return distribution_version("tflite-micro")


class MicroBackend(Backend):
    """A step model in TensorFlow Lite Micro's interpreter.

    Args:
        arena_bytes: size in bytes of its one block of memory, for tensors and what describes them.
            It is the smallest with which the model loads and steps here, to 64 bytes. A 32-bit
            microcontroller needs less, as its pointers are half as long.

    Raises:
        BadModelError: the signature's tensors are not the graph's inputs and outputs.
    """

    def __init__(self, version: str, interpreter: Any, model: StepModel, arena_bytes: int) -> None:
        super().__init__(NAME, version)
        self.kernels = PORTABLE
        self.interpreter = interpreter
        self.arena_bytes = arena_bytes
        contract = model.contract
        inputs, outputs = _tensor_numbers(model)
        names = [state.name for state in contract.states]
        self._inputs = inputs
        self._specs = {state.name: state for state in contract.states}
        self._states = {state.name: np.zeros(state.shape, state.dtype) for state in contract.states}
        states = self._states
        set_input, get_output = interpreter.set_input, interpreter.get_output
        places = frame_places([spec.byte_count for spec in contract.inputs])
        targets = []
        for spec, place in zip(contract.inputs, places, strict=True):
            x = np.zeros(spec.shape, spec.dtype)
            targets.append((x, x.reshape(-1).view(np.uint8).data, place, inputs[spec.name]))
        numbers = [outputs[spec.name] for spec in contract.outputs]
        results: list[NDArray[Any]] = []
        self._lanes = lanes = None if contract.window is None else _Lanes(contract)
        stored = stored_frames(model)
        frames = {
            spec.name: target[0] for spec, target in zip(contract.inputs, targets, strict=True)
        }

        def invoke() -> None:
            if not stored or lanes is None or lanes.due:
                interpreter.invoke()

        def put(frame: Any) -> None:
            frame = memoryview(frame)
            for x, view, place, number in targets:
                view[:] = frame[place]
                set_input(x, number)

        def advance() -> None:
            # Inputs and outputs share memory if their lifetimes allow it. So all outputs are read
            # before anything is written.
            results[:] = [get_output(number) for number in numbers]
            for name in names:
                states[name] = (
                    _moved_on(states[name], frames[stored[name]])
                    if stored
                    else get_output(outputs[name])
                )
            if lanes is not None:
                results[:] = lanes.turn(results, states)
            for name in names:
                set_input(states[name], inputs[name])

        self.put, self.advance = put, advance
        self.invoke = invoke if stored else interpreter.invoke
        self.get = lambda: b"".join([y.tobytes() for y in results])
        self.write_state(contract.initial_state())

    @property
    def frame(self) -> int:
        return 0 if self._lanes is None else self._lanes.frame

    def read_state(self) -> dict[str, bytes]:
        states = {name: array.tobytes() for name, array in self._states.items()}
        return states if self._lanes is None else {**states, PHASE_NAME: phase_bytes(self.frame)}

    def write_state(self, state: Mapping[str, bytes]) -> None:
        for name, spec in self._specs.items():
            self._states[name] = np.frombuffer(state[name], spec.dtype).reshape(spec.shape)
            self.interpreter.set_input(self._states[name], self._inputs[name])
        if self._lanes is not None:
            frame = int.from_bytes(state[PHASE_NAME], "little")
            self._lanes.frame = self._lanes.window.reduced(frame)


def _tensor_numbers(model: StepModel) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of each input and output of the step by name.

    This runtime knows no signatures: tensors are counted in the order of the graph.
    """
    graph, signature = model.graph, model.graph.signature(STEP_SIGNATURE)
    if set(graph.inputs) != set(signature.inputs.values()) or set(graph.outputs) != set(
        signature.outputs.values()
    ):
        raise BadModelError(
            f"{model.path}: the step's tensors are not the graph's inputs and outputs; "
            "export the model again"
        )
    return (
        {name: graph.inputs.index(index) for name, index in signature.inputs.items()},
        {name: graph.outputs.index(index) for name, index in signature.outputs.items()},
    )


class _Lanes:
    """The rows of a window's answers and beginnings; see :mod:`device_runner.model.window`.

    Args:
        contract: it has a window.
    """

    def __init__(self, contract: Contract) -> None:
        if contract.window is None:
            raise ValueError("the contract has no window")
        self.window = contract.window
        self.frame = 0
        self._turns = self.window.turns()
        self._initial = {
            state.name: np.frombuffer(state.initial_bytes(), state.dtype).reshape(state.shape)
            for state in contract.states
        }

    @property
    def due(self) -> bool:
        """Whether the next frame gives something."""
        return self._turns[self.frame].given is not None

    def turn(
        self, results: list[NDArray[Any]], states: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """Return what the frame gives, if anything, and begin a row of the states anew."""
        given, beginning, self.frame = self._turns[self.frame]
        if beginning is not None:
            for name, initial in self._initial.items():
                states[name][beginning] = initial[beginning]
        if given is None:
            return []
        return [array[given] for array in results] if self.window.lanes else results


def _moved_on(frames: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    """Return a window's frames without the first, and with a new one behind them."""
    return np.concatenate([frames[:, 1:], x.reshape(1, 1, *frames.shape[2:])], 1)


def _interpreter(runtime: Any, model: StepModel, arena: int) -> Any:
    """Return an interpreter that has computed a step, or the error that it ended in."""
    try:
        interpreter = runtime.Interpreter.from_bytes(model.flatbuffer, arena_size=arena)
        # Its memory is not cleared, and its content need not be a valid token id.
        for position, index in enumerate(model.graph.inputs):
            tensor = model.graph.tensors[index]
            interpreter.set_input(np.zeros(tensor.shape, tensor.dtype), position)
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        return error
    return interpreter


def _tried(runtime: Any, model: StepModel, arena: int) -> Exception | None:
    """Return the error that a try in an arena ends in, if any; it writes how much was used.

    A child tries it, as it may crash: then it writes that.
    """
    if not hasattr(os, "fork"):
        return _try(runtime, model, arena)
    child = os.fork()
    if child == 0:
        os._exit(0 if _try(runtime, model, arena) is None else 1)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        os.write(STDERR, f"{_CRASHED}\n".encode())
    return None if status == 0 else RuntimeError("it does not say why")


def _try(runtime: Any, model: StepModel, arena: int) -> Exception | None:
    interpreter = _interpreter(runtime, model, arena)
    if isinstance(interpreter, Exception):
        return interpreter
    interpreter.print_allocations()
    return None


def _smallest(runtime: Any, model: StepModel, arena: int, log: str) -> int:
    """Find the smallest arena.

    It lies between what is used of ``arena``, as the ``log`` of its try says, and the whole of it:
    loading needs more than what is used afterwards.
    """
    used = _USED.search(log)
    too_small = int(used.group(1)) // ARENA_STEP_BYTES * ARENA_STEP_BYTES if used else 0
    while arena - too_small > ARENA_STEP_BYTES:
        middle = (too_small + arena) // 2 // ARENA_STEP_BYTES * ARENA_STEP_BYTES
        error, _ = _with_log(_tried, runtime, model, middle)
        if error is None:
            arena = middle
        else:
            too_small = middle
    return arena


def _with_log(call: Callable[..., Result], *arguments: Any) -> tuple[Result, str]:
    """Return what ``call(*arguments)`` gives, and what the runtime wrote to standard error.

    The runtime states its reasons nowhere else.
    """
    with captured(STDERR) as log:
        result = call(*arguments)
        return result, log().strip()


def _runtime() -> Any:
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise MissingRuntimeError(
            f"tflite-micro is not usable ({one_line(error)}); "
            "install it with 'pip install --pre tflite-micro'"
        ) from error
    return runtime
