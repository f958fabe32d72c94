"""Golden sequences: real inputs with the float model's outputs, to verify a device with."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadModelError, one_line
from device_runner.model.array_files import check_npz
from device_runner.model.contract import Contract, Tolerance
from device_runner.model.names import GOLDEN_LENGTHS
from device_runner.model.rows import check_golden_size
from device_runner.model.tensor_spec import TOKEN_DTYPE, TensorSpec
from device_runner.model.window import Window

GOLDEN_FILE = "golden.npz"
# No step model's golden sequences are larger when they are unpacked.
GOLDEN_LIMIT_BYTES = 64 * 1024 * 1024
# Golden outputs may be rounded by at most this share of the tolerance.
FINER_THAN_TOLERANCE = 0.05
# The largest rounding error of float16 as a share of the value, within its normal range.
FLOAT16_ROUNDING = 2.0**-11


@dataclass(frozen=True)
class Golden:
    """Real sequences with the float model's outputs.

    Args:
        inputs: by name in the contract's order, [steps, *frame shape] each: float32 in real units,
            or int32 [steps, 1] token ids.
        outputs: by name in the contract's order, [steps, outputs] each, float32. Of a model with a
            window, the rows of frames without an answer are NaN.
        lengths: steps of each sequence, by which the arrays are cut. The state is reset before each
            sequence.

    Example:
        >>> x, y = np.zeros((5, 2), np.float32), np.ones((5, 3), np.float32)
        >>> golden = Golden({"x": x}, {"y": y}, (2, 3))
        >>> [sequence["x"].shape for sequence in golden.sequences()]
        [(2, 2), (3, 2)]
    """

    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]
    lengths: tuple[int, ...]

    @property
    def x(self) -> NDArray[Any]:
        """The first input, [steps, inputs]."""
        return next(iter(self.inputs.values()))

    @property
    def y(self) -> NDArray[Any]:
        """The first output, [steps, outputs]."""
        return next(iter(self.outputs.values()))

    @property
    def steps(self) -> int:
        """Number of steps in all sequences."""
        return sum(self.lengths)

    def answered(self, window: Window | None) -> NDArray[np.bool_]:
        """Tell for each step whether it has an answer; ``window`` is the contract's.

        Example:
            >>> golden = Golden({"x": np.zeros((7, 1))}, {"y": np.zeros((7, 1))}, (4, 3))
            >>> golden.answered(Window(steps=2, hop=1, lanes=2)).astype(int).tolist()
            [0, 1, 1, 1, 0, 1, 1]
        """
        answered = np.full(self.steps, window is None)
        start = 0
        for length in self.lengths:
            if window is not None:
                answered[start : start + length][window.answered_frames(length)] = True
            start += length
        return answered

    def sequences(self) -> list[dict[str, NDArray[Any]]]:
        """The inputs of each sequence by name."""
        ends = np.cumsum(self.lengths)
        return [
            {name: values[end - length : end] for name, values in self.inputs.items()}
            for length, end in zip(self.lengths, ends, strict=True)
        ]


def golden_input(values: NDArray[Any]) -> NDArray[Any]:
    """Round an input's values as a golden file holds them.

    Real values are rounded to float16, which halves their size in the file. They stay as they are
    if float16 would lose them: beyond 65504, or in a channel whose values are all so small (below
    6e-5) that few of their digits would be left.

    Args:
        values: [steps, *frame shape] float in real units, or integer token ids.

    Returns:
        float32 values, or the ids themselves.

    Example:
        >>> golden_input(np.array([[0.1], [70000.0]])).ravel().tolist()
        [0.10000000149011612, 70000.0]
        >>> golden_input(np.array([[0.1], [7.0]])).ravel().tolist()
        [0.0999755859375, 7.0]
    """
    if values.dtype.kind != "f":
        return values
    real = values.astype(np.float32)
    rounded = _to_float16(real).astype(np.float32)
    error, size = (np.abs(array).max(axis=0, initial=0) for array in (rounded - real, real))
    return rounded if (error <= FLOAT16_ROUNDING * size).all() else real


def golden_bytes(golden: Golden, tolerance: Tolerance) -> bytes:
    """Write the content of ``golden.npz``; ``tolerance`` is the contract's."""
    arrays: dict[str, NDArray[Any]] = {
        name: _smaller_if_equal(values) for name, values in golden.inputs.items()
    }
    for name, values in golden.outputs.items():
        arrays[name] = _smaller_if_fine(values, tolerance.rms)
    arrays[GOLDEN_LENGTHS] = np.array(golden.lengths, np.int32)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def read_golden(data: bytes, contract: Contract) -> Golden:
    """Read the content of ``golden.npz``.

    Raises:
        BadModelError: it cannot be read, or does not fit the contract's inputs and outputs.
    """
    names = {spec.name for spec in (*contract.inputs, *contract.outputs)} | {GOLDEN_LENGTHS}
    try:
        check_npz(data, GOLDEN_LIMIT_BYTES, names)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            inputs, outputs = (
                {spec.name: _values(arrays[spec.name], spec) for spec in specs}
                for specs in (contract.inputs, contract.outputs)
            )
            lengths = tuple(int(n) for n in arrays[GOLDEN_LENGTHS])
    except Exception as error:  # NumPy's readers raise a dozen types for damaged data
        raise BadModelError(
            f"{GOLDEN_FILE} cannot be read ({one_line(error)}); export the model again"
        ) from error
    if not lengths or min(lengths) < 1:
        raise BadModelError(f"{GOLDEN_FILE} has an empty sequence; export the model again")
    check_golden_size(contract, sum(lengths))
    # A golden sequence is of one stream, however many rows step.
    contract = contract.of_rows(1)
    golden = Golden(inputs, outputs, lengths)
    if max(lengths) < (contract.window.steps if contract.window else 1):
        raise BadModelError(
            f"{GOLDEN_FILE} has no sequence as long as the window; export the model again"
        )
    for spec in contract.inputs:
        _check(inputs[spec.name], spec, golden, None)
    for spec in contract.answers:
        _check(outputs[spec.name], spec, golden, contract.window)
    return golden


def _values(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    return array.astype(np.float32 if spec.vocabulary is None else TOKEN_DTYPE)


def _check(array: NDArray[Any], spec: TensorSpec, golden: Golden, window: Window | None) -> None:
    """Check an array's shape, that it has values at the steps with an answer, and no others."""
    expected = (golden.steps, *spec.frame_shape)
    # The shape first: lengths may say more steps than fit into memory.
    answered = golden.answered(window) if array.shape == expected else np.zeros(0, bool)
    if array.shape != expected or not np.isfinite(array[answered]).all():
        raise BadModelError(
            f"{GOLDEN_FILE}: {spec.name} has shape {array.shape} or holds NaN; "
            f"expected {expected}; export the model again"
        )
    if not np.isnan(array[~answered]).all():
        raise BadModelError(
            f"{GOLDEN_FILE}: {spec.name} has values at steps without an answer; "
            "export the model again"
        )
    if spec.vocabulary is not None and (array.min() < 0 or array.max() >= spec.vocabulary):
        raise BadModelError(
            f"{GOLDEN_FILE}: {spec.name} holds ids outside the vocabulary of "
            f"{spec.vocabulary}; export the model again"
        )


def _smaller_if_equal(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values in float16 if it holds them all exactly; ids stay as they are."""
    if values.dtype.kind != "f":
        return values
    half = _to_float16(values)
    return half if np.array_equal(half.astype(values.dtype), values) else values


def _smaller_if_fine(values: NDArray[Any], tolerance: float) -> NDArray[Any]:
    """Return the values in float16 if that is much finer than what they are compared with.

    That saves half of the bytes, which are a twentieth of a small model's file."""
    half = _to_float16(values)
    errors = np.abs(half.astype(np.float32) - values)
    # NaN stands for no answer, in both.
    fine = np.fmax.reduce(errors.ravel(), initial=0.0) <= FINER_THAN_TOLERANCE * tolerance
    return half if fine else values


def _to_float16(values: NDArray[Any]) -> NDArray[np.float16]:
    """Round to float16; values beyond 65504 become infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16)
