"""What libedgestep computes in a step, taken from the library itself.

The library loads the model for its portable kernels and tells its plan: which kernel with which
numbers, where each value lies in a stream's block, and the weights as they are packed. So the C
that is written of it computes what the library does.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import NotExportableError
from device_runner.backends.native_library import load_library
from device_runner.errors import MissingRuntimeError
from device_runner.model.step_file import StepModel

_MESSAGE_BYTES = 256


@dataclass(frozen=True)
class Plan:
    """A model's step as libedgestep computes it; good while the model is loaded.

    Attributes:
        block_bytes: size of a stream's block, in which all values of a step lie.
        cycle: steps until the phases begin again.
        first_phase: the step of the cycle that a new stream begins with.
        phase_of: which phase each step of a cycle is.
        initial: each state's first stored bytes, in the contract's order.
        phases: what each phase computes, as native/src/describe.c writes it.
    """

    block_bytes: int
    cycle: int
    first_phase: int
    phase_of: tuple[int, ...]
    initial: tuple[bytes, ...]
    phases: tuple[dict[str, Any], ...]


@contextmanager
def portable_plan(model: StepModel) -> Iterator[Plan]:
    """Load a step model into libedgestep and give its plan.

    Raises:
        MissingRuntimeError: the library is not compiled.
        NotExportableError: the library does not know something in the model.
    """
    library = load_library()
    try:
        load, describe = library.es_load_portable, library.es_describe
    except AttributeError as error:
        raise MissingRuntimeError("libedgestep is an older one; install edgestep again") from error
    load.restype, describe.restype = ctypes.c_int, ctypes.c_size_t
    describe.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    handle, why = ctypes.c_void_p(), ctypes.create_string_buffer(_MESSAGE_BYTES)
    contract = model.contract.to_json().encode()
    failed = load(
        ctypes.c_char_p(model.flatbuffer), ctypes.c_size_t(len(model.flatbuffer)),
        ctypes.c_char_p(contract), ctypes.c_size_t(len(contract)), ctypes.byref(handle), why,
    )  # fmt: skip
    if failed:
        raise NotExportableError(
            f"{model.path}: libedgestep refuses the model ({why.value.decode()})"
        )
    try:
        size = describe(handle, None, 0)
        text = ctypes.create_string_buffer(size + 1)
        describe(handle, text, size + 1)
        yield _plan(model, json.loads(text.value))
    finally:
        library.es_free(handle)


def _plan(model: StepModel, described: dict[str, Any]) -> Plan:
    states = zip(described["initial"], model.contract.states, strict=True)
    return Plan(
        described["block_bytes"],
        described["cycle"],
        described["first_phase"],
        tuple(described["phase_of"]),
        tuple(ctypes.string_at(address, state.byte_count) for address, state in states),
        tuple(described["phases"]),
    )


def constants_at(address: int, count: int, dtype: str) -> NDArray[Any]:
    """Copy a plan's constants from where the library holds them."""
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer(ctypes.string_at(address, size), dtype)
