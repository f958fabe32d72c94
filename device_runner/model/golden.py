"""Golden sequences: real inputs with the float model's outputs, to verify a device with."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from device_runner.errors import BadModelError, one_line
from device_runner.model.contract import Contract, Tolerance
from device_runner.model.names import GOLDEN_LENGTHS, INPUT_NAME, OUTPUT_NAME
from device_runner.model.tensor_spec import TOKEN_DTYPE, TensorSpec

GOLDEN_FILE = "golden.npz"
# Golden outputs may be rounded by this share of the tolerance.
FINER_THAN_TOLERANCE = 0.05


@dataclass(frozen=True)
class Golden:
    """Real sequences with the float model's outputs, by name in the contract's order: each
    [steps, *frame shape], float32 in real units, or int32 [steps, 1] token ids. ``lengths`` cuts
    them into sequences, and the state is reset before each."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    lengths: tuple[int, ...]

    @property
    def x(self) -> np.ndarray:
        """The first input, [steps, inputs]."""
        return self.inputs[INPUT_NAME]

    @property
    def y(self) -> np.ndarray:
        """The first output, [steps, outputs]."""
        return self.outputs[OUTPUT_NAME]

    @property
    def steps(self) -> int:
        """Number of steps in all sequences."""
        return sum(self.lengths)

    def sequences(self) -> list[dict[str, np.ndarray]]:
        """The inputs of each sequence by name."""
        ends = np.cumsum(self.lengths)
        return [
            {name: values[end - length : end] for name, values in self.inputs.items()}
            for length, end in zip(self.lengths, ends, strict=True)
        ]


def read_golden(data: bytes, contract: Contract) -> Golden:
    """Read the content of ``golden.npz``.

    Raises:
        BadModelError: it cannot be read, or does not fit the contract's inputs and outputs.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            inputs, outputs = (
                {spec.name: _golden_values(arrays[spec.name], spec) for spec in specs}
                for specs in (contract.inputs, contract.outputs)
            )
            lengths = tuple(int(n) for n in arrays[GOLDEN_LENGTHS])
    except Exception as error:  # NumPy's readers raise a dozen types for damaged data
        raise BadModelError(
            f"{GOLDEN_FILE} cannot be read ({one_line(error)}); export the model again"
        ) from error
    if not lengths or min(lengths) < 1:
        raise BadModelError(f"{GOLDEN_FILE} has an empty sequence; export the model again")
    for spec in (*contract.inputs, *contract.outputs):
        array = {**inputs, **outputs}[spec.name]
        expected = (sum(lengths), *spec.frame_shape)
        if array.shape != expected or not np.isfinite(array).all():
            raise BadModelError(
                f"{GOLDEN_FILE}: {spec.name} has shape {array.shape} or holds NaN; "
                f"expected {expected}; export the model again"
            )
        if spec.vocabulary is not None and not _in_vocabulary(array, spec.vocabulary):
            raise BadModelError(
                f"{GOLDEN_FILE}: {spec.name} holds ids outside of the vocabulary of "
                f"{spec.vocabulary}; export the model again"
            )
    return Golden(inputs, outputs, lengths)


def _golden_values(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    return array.astype(np.float32 if spec.vocabulary is None else TOKEN_DTYPE)


def _in_vocabulary(ids: np.ndarray, vocabulary: int) -> bool:
    return not ids.size or bool(ids.min() >= 0 and ids.max() < vocabulary)


def golden_bytes(golden: Golden, tolerance: Tolerance) -> bytes:
    """The content of ``golden.npz``."""
    arrays = io.BytesIO()
    # Real inputs are float16 values to begin with (see convert.export), so nothing is lost.
    inputs = {
        name: values.astype(np.float16) if values.dtype.kind == "f" else values
        for name, values in golden.inputs.items()
    }
    outputs = {name: _half(values, tolerance.rms) for name, values in golden.outputs.items()}
    lengths = {GOLDEN_LENGTHS: np.array(golden.lengths, np.int32)}
    np.savez_compressed(arrays, **inputs, **outputs, **lengths)
    return arrays.getvalue()


def _half(values: np.ndarray, tolerance: float) -> np.ndarray:
    """The values in float16 where that is far finer than what they are compared with; half the
    bytes, which are a twentieth of a small model's file."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    fine = np.abs(half.astype(np.float32) - values).max() <= FINER_THAN_TOLERANCE * tolerance
    return half if fine else values
