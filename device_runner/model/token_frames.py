"""Store token ids as a step's input, as :mod:`device_runner.model.frames` stores real values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadInputError
from device_runner.model.input_checks import by_input, check_values, outside_vocabulary
from device_runner.model.tensor_spec import TensorSpec


def bind_encode_token(
    spec: TensorSpec, stored: NDArray[Any], raw: memoryview
) -> Callable[[Any], memoryview]:
    """Make the function that checks a token id, stores it in ``stored`` and returns ``raw``."""
    vocabulary = spec.vocabulary or 0

    def encode(x: Any) -> memoryview:
        if type(x) is int:
            token = x
        elif isinstance(x, Mapping):
            return encode(by_input(x, [spec])[0])
        else:
            try:
                ids = np.asarray(x)
            except ValueError as error:
                raise BadInputError(f"input '{spec.name}' is not a token id ({error})") from error
            if ids.dtype.kind not in "iu" or ids.size != 1:
                raise BadInputError(
                    f"input '{spec.name}' has dtype {ids.dtype} and shape {ids.shape}; one token "
                    f"id is needed, an integer from 0 to {vocabulary - 1}"
                )
            token = int(ids.reshape(()))
        if not 0 <= token < vocabulary:
            raise outside_vocabulary(token, spec)
        stored[0] = token
        return raw

    return encode


def bind_encode_tokens(
    spec: TensorSpec, stored: NDArray[Any], raw: memoryview
) -> Callable[[Any], memoryview]:
    """Make the function that does the same for a token id of each row, [rows] or [rows, 1]."""

    def encode(x: Any) -> memoryview:
        ids = np.asarray(by_input(x, [spec])[0])
        stored[:] = check_values(ids.reshape(1, -1, 1), spec).reshape(-1)
        return raw

    return encode
