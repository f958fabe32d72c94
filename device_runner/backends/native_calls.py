"""Bind a step of libedgestep as calls of C that take and give Python's objects themselves.

``native_call`` is a small module of C, compiled where Python's headers are. Without it the backend
calls the library by ctypes, which costs a microsecond or two more at each step.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from device_runner.backends.native_library import load_call_module
from device_runner.model.contract import Contract
from device_runner.model.frames import StepValues, not_finite_output
from device_runner.model.tensor_spec import TensorSpec

# Other threads may run while a call reads more bytes of weights than this, all its rows and lanes
# counted. In a shorter one, letting them costs more than they gain.
_LONG_CALL_BYTES = 128 * 1024


class Calls(NamedTuple):
    """A stream's calls.

    ``step`` takes and gives real values as :meth:`Stream.step` does, ``step_bytes`` the stored
    bytes as :attr:`Stream.step_bytes` does. ``invoke`` steps the frame that lies in memory, and
    returns how many bytes it gave.
    """

    step: Callable[[Any], StepValues]
    step_bytes: Callable[[Any], bytes]
    invoke: Callable[[], int]


class StreamMemory(Protocol):
    """A stream of the library, and the memory of a frame and of what a step gives."""

    pointer: ctypes.c_void_p
    frame_address: int
    given_address: int


def bind_calls(
    library: ctypes.CDLL,
    stream: StreamMemory,
    contract: Contract,
    model_bytes: int,
    general: Callable[[Any], StepValues],
    general_bytes: Callable[[Any], bytes],
) -> Calls | None:
    """Bind the calls on a stream of the library.

    Args:
        stream: is kept alive by the calls.
        model_bytes: the model's size, which tells how long a row of a call takes.
        general, general_bytes: what is called, with the frame, if the calls do not know it.

    Returns:
        None if the module is not compiled, does not know this NumPy, or the model has inputs or
        outputs of other kinds than real values and token ids.
    """
    make = _call_type()
    answers = contract.answers
    if make is None or not all(map(_is_real, answers)):
        return None
    if not all(x.vocabulary is not None or _is_real(x) for x in contract.inputs):
        return None
    sample = np.zeros((2, 3), np.float32)

    def not_finite(values: Any) -> StepValues:
        named = values if isinstance(values, dict) else {answers[0].name: values}
        raise next(
            not_finite_output(y, named[y.name])
            for y in answers
            if not np.isfinite(named[y.name]).all()
        )

    try:
        call = make(
            step_values=_address(library.es_step),
            step_bytes=_address(library.es_step_bytes),
            stream=stream.pointer.value or 0,
            frame=stream.frame_address,
            given=stream.given_address,
            owner=stream,
            numpy_table=_numpy_table(),
            sample=sample,
            sample_address=sample.ctypes.data,
            float32=np.dtype(np.float32),
            float64=np.dtype(np.float64),
            general=general,
            general_bytes=general_bytes,
            not_finite=not_finite,
            inputs=tuple((x.name, x.frame_shape, x.vocabulary or 0) for x in contract.inputs),
            outputs=tuple((y.name, y.frame_shape, 0) for y in answers),
            input_bytes=sum(x.byte_count for x in contract.inputs),
            output_bytes=sum(y.byte_count for y in answers),
            release=model_bytes * contract.rows * _lanes(contract) > _LONG_CALL_BYTES,
        )
    except (RuntimeError, ValueError):
        return None
    return Calls(call.step, call.step_bytes, call.invoke)


def _lanes(contract: Contract) -> int:
    return (contract.window and contract.window.lanes) or 1


def _is_real(spec: TensorSpec) -> bool:
    return spec.scale is not None or spec.dtype == "float32"


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _numpy_table() -> Any:
    try:
        core = importlib.import_module("numpy._core._multiarray_umath")
    except ImportError:  # NumPy 1
        core = importlib.import_module("numpy.core._multiarray_umath")
    return core._ARRAY_API


def _call_type() -> Callable[..., Any] | None:
    return getattr(load_call_module(), "Call", None)
