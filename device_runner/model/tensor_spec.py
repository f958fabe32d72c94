"""The contract's fields on one tensor: an input, an output or a state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

# Integers that hold ids, positions or counts, not quantized real values.
PLAIN_INTEGERS = ("int32", "int64")
TOKEN_DTYPE, TOKEN_SHAPE = "int32", (1, 1)


@dataclass(frozen=True)
class TensorSpec:
    """A tensor at the model's border. ``scale`` and ``zero_point`` are None for float tensors:
    real = scale * (stored - zero_point).

    With ``vocabulary`` it is an input of token ids in [0, vocabulary): int32 of shape [1, 1],
    without a scale, in every scheme."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None
    vocabulary: int | None = None

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one step's values: the tensor's without the batch of 1 in front."""
        return self.shape[1:] if len(self.shape) > 1 and self.shape[0] == 1 else self.shape

    @property
    def byte_count(self) -> int:
        """Size of the tensor's data in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """Real values to the tensor's stored dtype, rounded to nearest and saturated."""
        if self.scale is None or self.zero_point is None:
            return np.asarray(values, self.dtype)
        limits = np.iinfo(self.dtype)
        stored = np.rint(np.asarray(values) / np.float32(self.scale)) + self.zero_point
        return np.clip(stored, limits.min, limits.max).astype(self.dtype)

    def dequantize(self, stored: np.ndarray) -> np.ndarray:
        """Stored values to real float32 values."""
        if self.scale is None or self.zero_point is None:
            return stored.astype(np.float32)
        return (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)


@dataclass(frozen=True)
class StateSpec(TensorSpec):
    """A state, of any static shape. ``initial`` is "zeros" or the flat list of initial values in
    the stored dtype. An int32 or int64 state may be without a scale: a position or a count. It is
    updated at the steps 0, ``period``, 2 * ``period``... of a sequence."""

    initial: str | tuple[float, ...] = "zeros"
    period: int = 1

    def initial_bytes(self) -> bytes:
        """The state at the start of a sequence, as the bytes to write into its input tensor."""
        if isinstance(self.initial, str):
            values = np.full(self.shape, self.zero_point or 0, self.dtype)
        else:
            values = np.array(self.initial, self.dtype).reshape(self.shape)
        return values.tobytes()


def spec_from_json(kind: type, raw: dict[str, Any]) -> Any:
    spec = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()})
    if not all(isinstance(n, int) and n > 0 for n in spec.shape):
        raise ValueError(f"tensor '{spec.name}' has the shape {spec.shape}")
    if np.dtype(spec.dtype).kind not in "fiu":
        raise ValueError(f"tensor '{spec.name}' has the dtype {spec.dtype}")
    if spec.vocabulary is not None:
        known = isinstance(spec.vocabulary, int) and spec.vocabulary > 0
        if not known or (spec.dtype, spec.shape, spec.scale) != (TOKEN_DTYPE, TOKEN_SHAPE, None):
            raise ValueError(
                f"tensor '{spec.name}' has a vocabulary of {spec.vocabulary}; token ids are "
                f"{TOKEN_DTYPE} of shape {TOKEN_SHAPE} without scale, of a vocabulary of 1 or more"
            )
    unscaled = not spec.scale or spec.zero_point is None
    if np.dtype(spec.dtype).kind != "f" and unscaled and not is_plain_integer(spec):
        raise ValueError(f"tensor '{spec.name}' is {spec.dtype} without scale and zero point")
    return spec


def is_plain_integer(spec: TensorSpec) -> bool:
    return spec.scale is None and spec.zero_point is None and spec.dtype in PLAIN_INTEGERS
