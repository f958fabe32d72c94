"""The backend that steps models with libedgestep, the C library of this project.

The library is compiled when the package is installed, if there is a C compiler. It steps a model
in one call, so ``invoke`` also hands the state on, and ``advance`` has nothing left to do.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.backends.backend import Backend, LoadOptions
from device_runner.backends.kernels import LIBEDGESTEP
from device_runner.backends.native_calls import Calls, bind_calls
from device_runner.backends.native_library import load_call_module, load_library
from device_runner.errors import BadModelError, UnsupportedModelError
from device_runner.model.frames import StepValues, not_finite_output
from device_runner.model.names import PHASE_NAME
from device_runner.model.step_file import StepModel

NAME = "native"
_MESSAGE_BYTES = 256
_ALIGNMENT = 64
# What loading returns for a sound model with something unknown, and a step if an output is not
# finite; edgestep.h has the others.
_UNSUPPORTED, _NOT_FINITE = 2, 6


def load(model: StepModel, options: LoadOptions) -> NativeBackend:
    """Load a step model into libedgestep; it uses one thread and ignores the options."""
    return NativeBackend(LoadedModel(load_library(), model))


def probe() -> str:
    """Return which kernels the library uses on this machine, and how it is called."""
    kernels = _kernels(load_library())
    called = "ctypes" if load_call_module() is None else "a module of its own"
    return f"libedgestep, {kernels} kernels, called by {called}"


class LoadedModel:
    """A step model in libedgestep, which any number of streams share.

    Raises:
        UnsupportedModelError: the library does not know something in the model.
        BadModelError: the model is damaged.
    """

    def __init__(self, library: ctypes.CDLL, model: StepModel) -> None:
        self.library, self.contract = library, model.contract
        self.handle, why = ctypes.c_void_p(), ctypes.create_string_buffer(_MESSAGE_BYTES)
        described = model.contract.to_json().encode()
        flatbuffer = model.flatbuffer
        self.model_bytes = len(flatbuffer)
        failed = library.es_load_parts(
            flatbuffer, len(flatbuffer), described, len(described), ctypes.byref(self.handle), why
        )
        if failed:
            reason = why.value.decode()
            text = f"{model.path}: libedgestep refuses the model ({reason}); use another backend"
            if failed == _UNSUPPORTED:
                raise UnsupportedModelError(text, reason)
            raise BadModelError(text)
        weakref.finalize(self, library.es_free, self.handle)


class NativeBackend(Backend):
    """One stream on a step model in libedgestep: a block of memory of its own."""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__(NAME, _kernels(loaded.library))
        self.kernels = LIBEDGESTEP
        self._loaded = loaded
        self._contract = contract = loaded.contract
        self._stream = stream = _Stream(loaded)
        call, given = stream.bind_step(), stream.given.tobytes
        frame_view, whole = stream.frame, slice(None)
        windowed = contract.window is not None
        count = stream.output_bytes

        def step(frame: Any) -> bytes:
            frame_view[whole] = frame
            call()
            return given()

        def windowed_step(frame: Any) -> bytes:
            frame_view[whole] = frame
            return given() if call() else b""

        answered = [0]
        self._by_ctypes = windowed_step if windowed else step
        calls = self._calls(_nothing_general)
        bare = call if calls is None else calls.invoke

        def put(frame: Any) -> None:
            frame_view[whole] = frame

        def invoke() -> None:
            answered[0] = bare()

        self.put, self.invoke = put, invoke
        self.advance = _nothing
        self.get = lambda: given() if answered[0] == count else b""
        self.step = self._by_ctypes if calls is None else calls.step_bytes  # type: ignore[assignment, method-assign]

    def another_stream(self) -> NativeBackend:
        other = NativeBackend(self._loaded)
        other.choice = self.choice
        return other

    def _calls(self, general: Callable[[Any], StepValues]) -> Calls | None:
        stream = self._stream
        return bind_calls(
            self._loaded.library,
            stream,
            self._contract,
            self._loaded.model_bytes,
            general,
            self._by_ctypes,
        )

    def values_step(self, general: Callable[[Any], StepValues]) -> Callable[[Any], StepValues]:
        contract = self._contract
        if (calls := self._calls(general)) is not None:
            return calls.step
        if len(contract.inputs) > 1 or len(contract.outputs) > 1 or contract.window is not None:
            return general
        if contract.input.vocabulary is not None:
            return general
        output = contract.output
        frame_shape, array, numbers = contract.input.frame_shape, np.ndarray, frozenset("fiub")
        x = np.empty(frame_shape, np.float32)
        y = np.empty(contract.output.frame_shape, np.float32)
        call, copy, whole = self._stream.bind_values_step(x, y), y.copy, ...

        def step(values: Any) -> StepValues:
            is_frame = type(values) is array and values.shape == frame_shape
            if is_frame and values.dtype.kind in numbers:
                x[whole] = values
                status = call()
                if status == 0:
                    return copy()
                if status == _NOT_FINITE:
                    raise not_finite_output(output, y)
            # What is wrong with it, or how it is to be understood, is said there.
            return general(values)

        return step

    @property
    def frame(self) -> int:
        if self._contract.window is None:
            return 0
        return int.from_bytes(self.read_state()[PHASE_NAME], "little")

    def read_state(self) -> dict[str, bytes]:
        states = self._stream.state()
        return dict(zip(self._sizes(), _cut(states, self._sizes().values()), strict=True))

    def write_state(self, state: Mapping[str, bytes]) -> None:
        self._stream.set_state(b"".join(state[name] for name in self._sizes()))

    def _sizes(self) -> dict[str, int]:
        return {name: len(initial) for name, initial in self._contract.initial_state().items()}


class _Stream:
    """A stream's block of memory and the calls on it, which keep model and block alive."""

    def __init__(self, loaded: LoadedModel) -> None:
        library, handle = loaded.library, loaded.handle
        self._loaded, self._library, self._handle = loaded, library, handle
        memory = ctypes.create_string_buffer(library.es_stream_bytes(handle) + _ALIGNMENT)
        start = ctypes.addressof(memory)
        self._memory = memory
        aligned = start + -start % _ALIGNMENT
        self.pointer = ctypes.c_void_p(library.es_open(handle, ctypes.c_void_p(aligned)))
        self.output_bytes: int = library.es_output_bytes(handle)
        self.frame = memoryview(bytearray(library.es_input_bytes(handle)))
        self.given = memoryview(bytearray(self.output_bytes))
        self.frame_address, self.given_address = _address(self.frame), _address(self.given)

    def bind_step(self) -> Callable[[], int]:
        """Return the call that steps the bytes in ``frame``, and returns how many it has given.

        They are in ``given``.
        """
        step = _OwningCall(
            self._library.es_step_bytes,
            self.pointer,
            ctypes.c_void_p(self.frame_address),
            ctypes.c_void_p(self.given_address),
        )
        step.owner = self
        return step

    def bind_values_step(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> Callable[[], int]:
        """Return the call that steps the real values in ``x`` into ``y``.

        It returns 0, or a status of edgestep.h.
        """
        step = _OwningCall(
            self._library.es_step,
            self.pointer,
            ctypes.c_void_p(x.ctypes.data),
            ctypes.c_void_p(y.ctypes.data),
        )
        step.owner = (self, x, y)
        return step

    def state(self) -> bytes:
        """Return the states' bytes, in the contract's order."""
        states = ctypes.create_string_buffer(self._library.es_state_bytes(self._handle))
        self._library.es_get_state(self.pointer, states)
        return states.raw

    def set_state(self, states: bytes) -> None:
        """Set what :meth:`state` returned."""
        self._library.es_set_state(self.pointer, states)


class _OwningCall(functools.partial[int]):
    """A call that owns the memory which it works on."""

    owner: object


def _address(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def _nothing_general(values: Any) -> StepValues:
    raise AssertionError("only stored bytes are stepped by this call")


def _nothing() -> None:
    """Do nothing: the step has handed the state on."""


def _cut(data: bytes, sizes: Any) -> list[bytes]:
    ends = list(itertools.accumulate(sizes))
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def _kernels(library: ctypes.CDLL) -> str:
    name: bytes = library.es_instruction_set()
    return name.decode()
