"""Check what a user hands to a step; an error says which value is wrong and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from device_runner.errors import BadInputError
from device_runner.model.names import INPUT_NAME
from device_runner.model.tensor_spec import TOKEN_DTYPE, TensorSpec

# Looked up here because NumPy warns about it once a runtime has set the CPU to flush subnormal
# numbers to zero, as tflite-runtime does on Arm when it is imported.
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def check_inputs(x: Any, specs: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    """Check the sequences of all inputs.

    Args:
        specs: specs of the inputs, in the contract's order.
        x: what :meth:`device_runner.stream.Stream.run` takes: an array if there is one input;
            otherwise arrays by name, or a tuple of them in the contract's order.

    Returns:
        Arrays as :func:`check_values` gives them, by name.

    Raises:
        BadInputError: an input is missing, unknown, wrong, or not as long as the others.
    """
    values = {
        spec.name: check_values(value, spec)
        for spec, value in zip(specs, by_input(x, specs), strict=True)
    }
    lengths = {name: len(array) for name, array in values.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"'{name}' {length}" for name, length in lengths.items())
        raise BadInputError(f"the inputs differ in their number of steps: {told}")
    return values


def check_values(x: ArrayLike, spec: TensorSpec) -> NDArray[Any]:
    """Check a sequence of one input's frames.

    Args:
        x: [steps, *frame shape] numbers in real units, or [steps, 1] token ids.
        spec: the input's spec.

    Returns:
        The same values as float32, or as int32 for ids.

    Raises:
        BadInputError: the rank or width is wrong, a value is not a finite number, or an id is
            outside the vocabulary.
    """
    what = "input" if spec.name == INPUT_NAME else f"input '{spec.name}'"
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise BadInputError(f"{what} is not an array of numbers ({error})") from error
    kinds, content = ("iu", "token ids (integers)") if spec.vocabulary else ("fiub", "numbers")
    if array.dtype.kind not in kinds:
        raise BadInputError(f"{what} has dtype {array.dtype}; {content} are needed")
    if array.ndim != 1 + len(spec.frame_shape) or array.shape[1:] != spec.frame_shape:
        expected = ", ".join(["steps", *map(str, spec.frame_shape)])
        raise BadInputError(
            f"{what} has shape {array.shape}; the model takes [{expected}] "
            f"{'token ids' if spec.vocabulary else 'values'}"
        )
    if spec.vocabulary is not None:
        wrong = (array < 0) | (array >= spec.vocabulary)
        if wrong.any():
            step = int(np.argwhere(wrong)[0][0])
            raise outside_vocabulary(array[step, 0], spec, f" at step {step}")
        return array.astype(TOKEN_DTYPE)
    bad = ~np.isfinite(array)
    if bad.any():
        step, *channel = (int(position) for position in np.argwhere(bad)[0])
        place = channel[0] if len(channel) == 1 else tuple(channel)
        raise BadInputError(
            f"{what} holds {array[(step, *channel)]} at step {step}, channel {place}; "
            "clean the data first"
        )
    if np.abs(array).max(initial=0) > LARGEST_FLOAT32:
        raise BadInputError(f"{what} holds values beyond float32; clean the data first")
    return array.astype(np.float32)


def by_input(x: Any, specs: Sequence[TensorSpec]) -> Sequence[Any]:
    """Split what a user gave for all inputs, in the contract's order.

    Raises:
        BadInputError: there are several inputs and ``x`` is neither a dict nor a tuple of them, or
            one is missing or unknown.
    """
    names = [spec.name for spec in specs]
    if isinstance(x, Mapping):
        if set(x) != set(names):
            raise BadInputError(
                f"inputs {', '.join(map(str, x)) or 'none'} given; the model takes "
                f"{', '.join(names)}"
            )
        return [x[name] for name in names]
    if len(specs) == 1:
        return [x]
    if not isinstance(x, tuple | list) or len(x) != len(specs):
        raise BadInputError(
            f"the model has the inputs {', '.join(names)}; give a dict by name or a tuple of "
            f"{len(names)}"
        )
    return x


def outside_vocabulary(token: Any, spec: TensorSpec, where: str = "") -> BadInputError:
    """Make the error for a token id that is not in an input's vocabulary."""
    return BadInputError(
        f"input '{spec.name}' holds the token id {token}{where}; the vocabulary's ids are 0 to "
        f"{(spec.vocabulary or 0) - 1}, encode the text as for training"
    )
