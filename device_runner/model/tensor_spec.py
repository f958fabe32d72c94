"""What the contract says of one tensor: an input, an output or a state."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Integers that hold ids, positions or counts, not quantized real values.
PLAIN_INTEGERS = ("int32", "int64")
TOKEN_DTYPE, TOKEN_SHAPE = "int32", (1, 1)

Spec = TypeVar("Spec", bound="TensorSpec")


@dataclass(frozen=True)
class TensorSpec:
    """How the values of an input or output of the step are stored.

    Args:
        name: the model's own, "x" for the first input and "y" for the first output if it has none.
        shape: shape of the stored tensor, [1, values] in most models.
        dtype: dtype of the stored values, as NumPy spells it.
        scale: the real value of one step of the stored integer:
            real = scale * (stored - zero_point). None for float tensors.
        zero_point: the stored integer that stands for 0.0. None for float tensors.
        vocabulary: number of token ids, for an input of ids in [0, vocabulary). Such an input is
            int32 of shape [rows, 1] without a scale, in every scheme.

    Example:
        >>> x = TensorSpec("x", (1, 3), "int8", scale=0.5, zero_point=10)
        >>> x.quantize([0.0, 1.2, 1000.0]).tolist()
        [10, 12, 127]
        >>> x.dequantize(np.array([10, 12, 127], np.int8)).tolist()
        [0.0, 1.0, 58.5]
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None
    vocabulary: int | None = None

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one step's values: the tensor's, without the batch of 1 in front."""
        return self.shape[1:] if len(self.shape) > 1 and self.shape[0] == 1 else self.shape

    @property
    def byte_count(self) -> int:
        """Size of the tensor's data in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def is_plain_integer(self) -> bool:
        """Whether it holds ids, positions or counts, which have no scale."""
        return self.scale is None and self.zero_point is None and self.dtype in PLAIN_INTEGERS

    def of_rows(self: Spec, now: int, wanted: int) -> Spec:
        """Return the spec of as many rows as are wanted, of one that has ``now``.

        Example:
            >>> TensorSpec("x", (1, 3), "float32").of_rows(1, 8).shape
            (8, 3)
        """
        return replace(self, shape=(self.shape[0] // now * wanted, *self.shape[1:]))

    def quantize(self, values: ArrayLike) -> NDArray[Any]:
        """Convert real values to the stored dtype, rounding to the nearest and saturating."""
        if self.scale is None or self.zero_point is None:
            return np.asarray(values, self.dtype)
        limits = np.iinfo(self.dtype)
        real = np.asarray(values)
        stored: NDArray[Any] = np.rint(real / np.float32(self.scale)) + self.zero_point
        return np.clip(stored, limits.min, limits.max).astype(self.dtype)

    def dequantize(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Convert stored values to real float32 values."""
        if self.scale is None or self.zero_point is None:
            return stored.astype(np.float32)
        return (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)


@dataclass(frozen=True)
class StateSpec(TensorSpec):
    """A state: a tensor whose bytes one step gives and the next takes.

    Args:
        name, shape, dtype, scale, zero_point: as for :class:`TensorSpec`. Any static shape is
            allowed. An int32 or int64 state may have no scale: it is a position or a count.
        vocabulary: None.
        initial: "zeros", or the initial values in the stored dtype, flattened; those of one row of
            the first axis, if all rows begin alike (see :mod:`device_runner.model.window`).
        period: in steps. The state is updated at steps 0, ``period``, 2 * ``period``... of a
            sequence.

    Example:
        >>> StateSpec("h", (1, 2), "int8", scale=0.5, zero_point=-7).initial_bytes()
        b'\\xf9\\xf9'
        >>> StateSpec("h", (3, 2), "int8", scale=0.5, zero_point=-7, initial=(1, 2)).initial_bytes()
        b'\\x01\\x02\\x01\\x02\\x01\\x02'
    """

    initial: str | tuple[float, ...] = "zeros"
    period: int = 1

    def initial_bytes(self) -> bytes:
        """The state at the start of a sequence, as the bytes to write into its input tensor."""
        if isinstance(self.initial, str):
            values = np.full(self.shape, self.zero_point or 0, self.dtype)
        else:
            values = np.resize(np.array(self.initial, self.dtype), self.shape)
        return values.tobytes()

    def initial_row(self, lanes: int) -> bytes:
        """Return the bytes that one of several rows of the first axis begins with."""
        return self.initial_bytes()[: self.byte_count // lanes]


def spec_from_json(kind: type[Spec], raw: dict[str, Any]) -> Spec:
    """Make a spec from its fields in ``contract.json``.

    Raises:
        TypeError: a field is unknown, missing or of a wrong type.
        ValueError: the fields contradict each other.
    """
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    spec = kind(**fields)
    if not all(isinstance(n, int) and n > 0 for n in spec.shape):
        raise ValueError(f"tensor '{spec.name}' has the shape {spec.shape}")
    if np.dtype(spec.dtype).kind not in "fiu":
        raise ValueError(f"tensor '{spec.name}' has the dtype {spec.dtype}")
    if spec.vocabulary is not None:
        is_size = isinstance(spec.vocabulary, int) and spec.vocabulary > 0
        # As many ids as the contract has rows; mostly one.
        of_a_row = (1, *spec.shape[1:])
        if not is_size or (spec.dtype, of_a_row, spec.scale) != (TOKEN_DTYPE, TOKEN_SHAPE, None):
            raise ValueError(
                f"tensor '{spec.name}' has a vocabulary of {spec.vocabulary}; token ids are "
                f"{TOKEN_DTYPE} of shape {TOKEN_SHAPE} without scale, from a vocabulary of at "
                "least 1"
            )
    _check_quantization(spec)
    unscaled = not spec.scale or spec.zero_point is None
    if np.dtype(spec.dtype).kind != "f" and unscaled and not spec.is_plain_integer:
        raise ValueError(f"tensor '{spec.name}' is {spec.dtype} without scale and zero point")
    return spec


def _check_quantization(spec: TensorSpec) -> None:
    """Check that scale and zero point are numbers that float32 and the stored dtype hold."""
    scale, zero_point = spec.scale, spec.zero_point
    if scale is not None and not (
        isinstance(scale, int | float) and 0 <= scale <= np.finfo(np.float32).max
    ):
        raise ValueError(f"tensor '{spec.name}' has the scale {scale!r}")
    if zero_point is not None and not (isinstance(zero_point, int) and abs(zero_point) < 2**31):
        raise ValueError(f"tensor '{spec.name}' has the zero point {zero_point!r}")
