"""Read a step graph's constants (weights, biases, axes) as NumPy arrays of real values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import Tensor

REAL_DTYPES = ("float32", "float16")
QUANTIZED_DTYPES = ("int8", "uint8", "int16", "int32", "int64")
INDEX_DTYPES = ("int32", "int64")


def read_constant(flatbuffer: bytes, tensor: Tensor) -> NDArray[Any]:
    """Read a constant tensor.

    Args:
        flatbuffer: the TFLite model that the tensor was read from.
        tensor: the constant.

    Returns:
        An array of the tensor's shape. It has float32 real values if the tensor is float or
        quantized (one scale, or one along an axis). It is int64 if the tensor is int32 or int64
        without a scale, which holds indices or sizes.

    Raises:
        BadModelError: the constant is sparse, of another dtype, of a wrong size or quantization, or
            holds NaN or infinity.
    """
    what = f"constant '{tensor.name}'"
    if tensor.sparse:
        raise BadModelError(f"{what} is in sparse encoding; export the model without it")
    if tensor.dtype not in (*REAL_DTYPES, *QUANTIZED_DTYPES):
        raise BadModelError(
            f"{what} is {tensor.dtype}, which cannot be read here; export the model with another "
            "scheme"
        )
    if any(n < 0 for n in tensor.shape) or tensor.byte_count != tensor.constant_bytes:
        raise BadModelError(f"{what} does not fit its shape; export or copy the model again")
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    count = tensor.constant_bytes // dtype.itemsize
    stored = np.frombuffer(flatbuffer, dtype, count, tensor.constant_start).reshape(tensor.shape)
    if tensor.dtype in INDEX_DTYPES and not tensor.scales:
        return stored.astype(np.int64)
    values = stored.astype(np.float32)
    if tensor.dtype in QUANTIZED_DTYPES:
        scales, zero_points = quantization(tensor)
        # In double precision: an int32 bias has more digits than float32.
        real = (stored - zero_points.astype(np.float64)) * scales
        with np.errstate(over="ignore"):  # infinity is refused below
            values = real.astype(np.float32)
    if not np.isfinite(values).all():
        raise BadModelError(f"{what} holds NaN or infinity; train and export the model again")
    return values


def quantization(tensor: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scales and zero points of a quantized tensor, shaped to broadcast against it.

    Raises:
        BadModelError: there are none, one is not a positive number, or their number does not fit
            the tensor.
    """
    scales = np.array(tensor.scales, np.float64)
    zero_points = np.array(tensor.zero_points or (0,), np.float64)
    axis, many = tensor.quantized_axis, len(scales) != 1
    if (
        not (np.isfinite(scales) & (scales > 0)).all()
        or len(zero_points) not in (1, len(scales))
        or (many and not 0 <= axis < len(tensor.shape))
        or (many and len(scales) != tensor.shape[axis])
    ):
        raise BadModelError(
            f"tensor '{tensor.name}' is {tensor.dtype} and its scales or zero points do not fit; "
            "export or copy the model again"
        )
    if many:
        along = [1] * len(tensor.shape)
        along[axis] = -1
        scales = scales.reshape(along)
        zero_points = zero_points.reshape(along) if len(zero_points) > 1 else zero_points
    return scales, zero_points
