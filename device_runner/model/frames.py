"""Turn real values into a step's stored bytes, and its bytes back into real values.

The functions that :class:`device_runner.stream.Stream` calls at every step are closures. Each is
bound to memory that is allocated once.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadInputError, NotFiniteError
from device_runner.model.input_checks import by_input, check_values
from device_runner.model.names import INPUT_NAME
from device_runner.model.tensor_spec import TensorSpec
from device_runner.model.token_frames import bind_encode_token, bind_encode_tokens

# Of little-endian float32.
_HIGHEST_BYTES = slice(3, None, 4)
# Added to a float32 number below 2**22, it leaves the nearest whole number, ties to even, in the
# low bits.
_ROUNDING = 1.5 * 2**23
# Up to so many output values, looking at their bytes costs less than a product.
FEW_VALUES = 256

#: One step's values, or a sequence's: of one tensor, or by name of several.
StepValues = NDArray[Any] | dict[str, NDArray[Any]]


def stored_frames(values: Mapping[str, NDArray[Any]], specs: Sequence[TensorSpec]) -> list[bytes]:
    """Store checked sequences of all inputs as one frame of bytes per step.

    Args:
        values: by name, [steps, *frame shape], as
            :func:`device_runner.model.input_checks.check_inputs` gives them.
        specs: of the inputs, in the contract's order.

    Example:
        >>> x = TensorSpec("x", (1, 2), "int8", scale=0.5, zero_point=1)
        >>> stored_frames({"x": np.array([[0.0, 1.0], [2.0, -1.0]])}, [x])
        [b'\\x01\\x03', b'\\x05\\xff']
    """
    columns = [spec.quantize(values[spec.name]) for spec in specs]
    if len(columns) == 1:
        return [frame.tobytes() for frame in columns[0]]
    return [b"".join(frame.tobytes() for frame in frames) for frames in zip(*columns, strict=True)]


def bind_encode(specs: Sequence[TensorSpec]) -> Callable[[Any], memoryview]:
    """Make the function that checks a step's inputs and returns their stored bytes."""
    memory = bytearray(sum(spec.byte_count for spec in specs))
    raw = memoryview(memory)
    parts, start = [], 0
    for spec in specs:
        stored = np.frombuffer(memory, spec.dtype, math.prod(spec.shape), start)
        parts.append(_bind_of(spec)(spec, stored, raw))
        start += spec.byte_count
    if len(parts) == 1:
        return parts[0]

    def encode(x: Any) -> memoryview:
        for part, value in zip(parts, by_input(x, specs), strict=True):
            part(value)
        return raw

    return encode


def _bind_of(spec: TensorSpec) -> Callable[..., Callable[[Any], memoryview]]:
    if spec.vocabulary is None:
        return _bind_encode_values
    return bind_encode_token if spec.shape[0] == 1 else bind_encode_tokens


def _bind_encode_values(
    spec: TensorSpec, stored: NDArray[Any], raw: memoryview
) -> Callable[[Any], memoryview]:
    """Make the function that checks one input's real values, stores them and returns ``raw``.

    They are stored in ``stored`` [values], whose bytes ``raw`` shows.

    NumPy's calls on small arrays cost more than a small model's step, so each one counts."""
    shape, frame_shape = spec.shape, spec.frame_shape
    what = "input" if spec.name == INPUT_NAME else f"input '{spec.name}'"
    store = _bind_store(spec, stored)
    array, float32 = np.ndarray, np.dtype(np.float32)

    def encode(x: Any) -> memoryview:
        if type(x) is array and x.shape == frame_shape and x.dtype is float32:
            store(x, True)
            return raw
        try:
            frame = np.asarray(x)
        except ValueError as error:
            raise BadInputError(f"{what} is not an array of numbers ({error})") from error
        if frame.shape == shape:
            frame = frame.reshape(frame_shape)
        if frame.shape != frame_shape:
            if isinstance(x, Mapping):
                return encode(by_input(x, [spec])[0])
            raise BadInputError(f"{what} has shape {frame.shape}; the model takes {frame_shape}")
        if frame.dtype.kind not in "fiub":
            raise BadInputError(f"{what} has dtype {frame.dtype}; numbers are needed")
        store(frame, False)
        return raw

    return encode


def _bind_store(spec: TensorSpec, stored: NDArray[Any]) -> Callable[[NDArray[Any], bool], None]:
    """Make the function that stores a frame of the right shape, and raises if it is not finite.

    It takes the frame, and whether it is float32. It computes in place what
    :meth:`TensorSpec.quantize` does. Constants are arrays as long as the values, because a scalar
    operand more than doubles the cost of a call.
    """
    if spec.scale is None or spec.zero_point is None:
        return _bind_store_plain(spec, stored)
    values = np.empty(stored.size, np.float32)
    shaped = values.reshape(spec.frame_shape)
    lowest, highest = _limits(spec.dtype)
    zero, narrow = spec.zero_point, stored.dtype.itemsize < 4
    scale, low, high, magic, zeros = (
        np.full_like(values, constant)
        for constant in (spec.scale, lowest - zero, highest - zero, _ROUNDING, zero)
    )
    shaped_scale = scale.reshape(spec.frame_shape)
    integers = _low_parts(values, stored.dtype) if narrow else stored
    zero_points = np.full_like(stored, zero)
    add, divide, maximum, minimum, rint = np.add, np.divide, np.maximum, np.minimum, np.rint
    isfinite, sum_of_squares = math.isfinite, values.dot

    def store(frame: NDArray[Any], is_float32: bool) -> None:
        if is_float32:
            divide(frame, shaped_scale, out=shaped)
        else:
            shaped[...] = frame  # converts to float32, as run() does
            divide(values, scale, out=values)
        # One product finds every NaN and infinity; its own overflow is ruled out afterwards.
        if not isfinite(sum_of_squares(values)):
            check_values(frame[np.newaxis], spec)
        # The limits are whole numbers, so it makes no difference that rounding comes after them.
        maximum(values, low, out=values)
        minimum(values, high, out=values)
        if narrow:
            add(values, magic, out=values)
            add(integers, zero_points, out=stored)
        else:
            stored[...] = rint(values) + zeros

    return store


def _bind_store_plain(
    spec: TensorSpec, stored: NDArray[Any]
) -> Callable[[NDArray[Any], bool], None]:
    """Make the function for an input that is not quantized; see :func:`_bind_store`."""
    shaped = stored.reshape(spec.frame_shape)
    isfinite, whole = math.isfinite, ...
    if stored.dtype == np.float32:
        sum_of_squares = stored.dot

        def store(frame: NDArray[Any], _: bool) -> None:
            shaped[whole] = frame
            if not isfinite(sum_of_squares(stored)):
                check_values(frame[np.newaxis], spec)

        return store

    def store_as(frame: NDArray[Any], _: bool) -> None:
        shaped[whole] = check_values(frame[np.newaxis], spec)[0]

    return store_as


def _low_parts(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """View the low bytes of float32 numbers as integers of 1 or 2 bytes."""
    parts = values.view(dtype)
    step = 4 // dtype.itemsize
    return parts[::step] if sys.byteorder == "little" else parts[step - 1 :: step]


def bind_decode_rows(specs: Sequence[TensorSpec]) -> Callable[[bytes], StepValues]:
    """Make the function that turns the bytes of all rows into real values.

    What is not finite is left: it is one row's, and the others are sound.
    """
    ends = list(itertools.accumulate(spec.byte_count for spec in specs))
    parts = [
        (spec, slice(end - spec.byte_count, end)) for spec, end in zip(specs, ends, strict=True)
    ]

    def decode(stored: bytes) -> StepValues:
        values = {
            spec.name: spec.dequantize(np.frombuffer(stored[place], spec.dtype)).reshape(
                spec.frame_shape
            )
            for spec, place in parts
        }
        return values if len(values) > 1 else values[specs[0].name]

    return decode


def bind_decode_answer(specs: Sequence[TensorSpec]) -> Callable[[bytes], StepValues]:
    """Make the function that does what :func:`bind_decode` says, and turns b"" into NaN.

    Args:
        specs: of the outputs as an answer has them (:attr:`Contract.answers`).
    """
    decode = bind_decode(specs)
    nothing = [np.full(spec.frame_shape, np.nan, _real_dtype(spec)) for spec in specs]
    names = [spec.name for spec in specs]

    def decode_answer(stored: bytes) -> StepValues:
        if stored:
            return decode(stored)
        copies = [values.copy() for values in nothing]
        return copies[0] if len(copies) == 1 else dict(zip(names, copies, strict=True))

    return decode_answer


def _real_dtype(spec: TensorSpec) -> np.dtype[Any]:
    return np.dtype(spec.dtype if spec.scale is None else np.float32)


def bind_decode(specs: Sequence[TensorSpec]) -> Callable[[bytes], StepValues]:
    """Make the function that turns the outputs' bytes into real values."""
    if len(specs) == 1:
        return _bind_decode_one(specs[0])
    parts, start = [], 0
    for spec in specs:
        end = start + spec.byte_count
        parts.append((spec.name, slice(start, end), _bind_decode_one(spec)))
        start = end

    def decode(stored: bytes) -> StepValues:
        return {name: one(stored[place]) for name, place, one in parts}

    return decode


def _bind_decode_one(spec: TensorSpec) -> Callable[[bytes], NDArray[Any]]:
    """Make the function that turns one output's bytes into real values.

    It computes what :meth:`TensorSpec.dequantize` does. Floats that are not finite raise
    NotFiniteError: the state that gave them gives nothing else from then on."""
    dtype, shape = np.dtype(spec.dtype), spec.frame_shape
    if spec.scale is None and dtype.kind == "f":
        return _bind_decode_floats(spec, dtype)
    if len(shape) != 1:
        return lambda stored: spec.dequantize(np.frombuffer(stored, dtype)).reshape(shape)
    if spec.scale is None or spec.zero_point is None:
        return lambda stored: np.frombuffer(stored, dtype).copy()
    if dtype.itemsize == 1:
        return _bind_decode_bytes(spec)
    # Arrays, for the reason in _bind_store.
    scale = np.full(shape, spec.scale, np.float32)
    zero_point = np.full(shape, spec.zero_point, np.float32)
    frombuffer, subtract, multiply = np.frombuffer, np.subtract, np.multiply

    def decode(stored: bytes) -> NDArray[Any]:
        values = subtract(frombuffer(stored, dtype), zero_point, dtype=np.float32)
        return multiply(values, scale, values)

    return decode


def _bind_decode_bytes(spec: TensorSpec) -> Callable[[bytes], NDArray[Any]]:
    """Make the function for one output of quantized bytes: one look-up for each."""
    real_values = spec.dequantize(np.arange(256, dtype=np.uint8).view(spec.dtype)).take
    frombuffer, uint8 = np.frombuffer, np.dtype(np.uint8)

    def decode(stored: bytes) -> NDArray[Any]:
        return real_values(frombuffer(stored, uint8))

    return decode


def _bind_decode_floats(spec: TensorSpec, dtype: np.dtype[Any]) -> Callable[[bytes], NDArray[Any]]:
    """Make the function for one output of floats; for the costs see _bind_encode_values."""
    shape, size = spec.frame_shape, math.prod(spec.frame_shape)
    # NaN and infinity times zero are NaN, which counts as true; any other number gives 0.
    not_finite = np.zeros(size, dtype).dot
    frombuffer = np.frombuffer

    def decode(stored: bytes) -> NDArray[Any]:
        values = frombuffer(bytearray(stored), dtype)  # cheaper than a copy of the array
        if not_finite(values):
            raise not_finite_output(spec, values)
        return values

    def decode_few(stored: bytes) -> NDArray[Any]:
        # For a few values it is cheaper to look at their bytes: the highest one, which has the
        # sign and most of the exponent, is one of two in NaN, infinity and numbers beyond 1.7e38.
        highest = stored[_HIGHEST_BYTES]
        values = frombuffer(bytearray(stored), dtype)
        if (0x7F in highest or 0xFF in highest) and not_finite(values):
            raise not_finite_output(spec, values)
        return values

    bound = decode_few if dtype == np.float32 and size <= FEW_VALUES else decode
    return bound if len(shape) == 1 else lambda stored: bound(stored).astype("f4").reshape(shape)


def not_finite_output(
    spec: TensorSpec, values: NDArray[Any], step: int | None = None
) -> NotFiniteError:
    """Make the error for an output that holds NaN or infinity, perhaps at a step of a sequence."""
    first = values[~np.isfinite(values)].flat[0]
    where = "" if step is None else f" at step {step}"
    return NotFiniteError(
        f"output '{spec.name}' is {first}{where}: the numbers have left float32's range, and the "
        "state will not recover; reset(), and clean or clip the input"
    )


def check_finite(outputs: Mapping[str, NDArray[Any]], answered: NDArray[np.bool_]) -> None:
    """Check a sequence's outputs.

    Args:
        outputs: by name, [steps, *frame shape].
        answered: [steps], whether the step has an answer; one without has NaN.

    Raises:
        NotFiniteError: an answer is not finite; the message says at which step, from 0.
    """
    for name, values in outputs.items():
        finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        good = finite | ~answered
        if not good.all():
            step = int(np.argmin(good))
            spec = TensorSpec(name, values.shape, str(values.dtype))
            raise not_finite_output(spec, values[step], step)


def decode_sequence(
    stored: Sequence[bytes], specs: Sequence[TensorSpec]
) -> dict[str, NDArray[Any]]:
    """Return the outputs of several steps by name, given the bytes of each.

    A step without bytes has no answer: its values are NaN.
    """
    answered = np.array([len(one) > 0 for one in stored], bool)
    answers = _decode_answers(b"".join(stored), int(answered.sum()), specs)
    if answered.all():
        return answers
    outputs = {}
    for name, values in answers.items():
        outputs[name] = np.full((len(stored), *values.shape[1:]), np.nan, values.dtype)
        outputs[name][answered] = values
    return outputs


def _decode_answers(
    stored: bytes, steps: int, specs: Sequence[TensorSpec]
) -> dict[str, NDArray[Any]]:
    """Return the outputs of steps that all have some, given their bytes step after step."""
    table = np.frombuffer(stored, np.uint8).reshape(steps, -1 if steps else 1)
    outputs, start = {}, 0
    for spec in specs:
        end = start + spec.byte_count
        column = np.ascontiguousarray(table[:, start:end]) if steps else np.empty(0, np.uint8)
        values = spec.dequantize(column.view(spec.dtype))
        outputs[spec.name], start = values.reshape(steps, *spec.frame_shape), end
    return outputs


def _limits(dtype: str) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return limits.min, limits.max
