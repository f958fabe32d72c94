"""Compensated rounding: round a matrix with regard to the values it is multiplied with.

Rounding each weight to the nearest step is best only if inputs are uncorrelated. A recurrent state
is strongly correlated, and the error of a rounded matrix along its slow directions returns at every
step. So columns are rounded one after another. The columns that are still free make up for the
error of each, so that the product's mean squared error over the calibration data is least. The
bias, which is stored in 32 bits, absorbs the rest.

Source: optimal brain quantization in the order and with the Cholesky form of E. Frantar et al.,
"GPTQ: accurate post-training quantization for generative pre-trained transformers" (ICLR 2023).
The second moments here are those of a roll-out that carries the state along.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import Ranges
from convert.errors import ContractViolationError
from convert.schemes.scheme import FloatStep
from convert.schemes.spec import SchemeSpec
from convert.tflite_editor import TfliteEditor
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import read_graph

# The largest stored value: matrices are int8 in a narrow range.
LARGEST = 127
# This share of the mean second moment is added to each, so that directions which the calibration
# data lacks are still rounded near their old place.
DAMPING = 1e-3


def prepared(step: FloatStep, ranges: Ranges | None, spec: SchemeSpec) -> bytes:
    """Return the float step graph for the quantizer.

    If the scheme asks for compensated rounding, its matrices are on their grid already."""
    if not spec.compensated:
        return step.flatbuffer
    return compensate(step.flatbuffer, ranges, spec.per_channel)


def compensate(flatbuffer: bytes, ranges: Ranges | None, per_channel: bool) -> bytes:
    """Round each matrix of a float step graph to the grid that the quantizer will give it.

    Nothing is left for the quantizer to round.

    Args:
        flatbuffer: float32 step graph.
        ranges: ranges calibrated on it.
        per_channel: whether each output channel has a scale of its own.

    Raises:
        ContractViolationError: there are no ranges.
    """
    if ranges is None:
        raise ContractViolationError(
            "compensated rounding needs calibrated ranges; calibrate first"
        )
    graph = read_graph(flatbuffer)
    uses = Counter(index for operator in graph.operators for index in operator.inputs)
    # By matrix: the inputs of all products it is in, and its own bias or -1.
    moments: dict[int, NDArray[Any]] = {}
    biases: dict[int, int] = {}
    for operator in graph.operators:
        if operator.name != "FULLY_CONNECTED":
            continue
        given, matrix, *added = operator.inputs
        moment = ranges.moments.get(graph.tensors[given].name)
        # If an operator merges axes, its inputs' last axis is not the matrix's.
        if moment is None or len(moment) != graph.tensors[matrix].shape[1] + 1:
            continue
        moments[matrix] = moments[matrix] + moment if matrix in moments else moment
        biases[matrix] = added[0] if added and uses[added[0]] == uses[matrix] == 1 else -1

    def constant(index: int) -> NDArray[Any] | None:
        tensor = graph.tensors[index]
        return read_constant(flatbuffer, tensor) if index >= 0 and tensor.constant_bytes else None

    editor = TfliteEditor(flatbuffer)
    for matrix, moment in moments.items():
        weights, bias = constant(matrix), constant(biases[matrix])
        if weights is None:
            continue
        weights, bias = round_columns(weights, bias, moment, per_channel)
        editor.set_constant(matrix, weights)
        if bias is not None:
            editor.set_constant(biases[matrix], bias)
    return editor.flatbuffer()


def round_columns(
    weights: NDArray[Any], bias: NDArray[Any] | None, moment: NDArray[Any], per_channel: bool
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Round a matrix to its int8 grid, and move the bias that goes with it.

    The weight with the largest magnitude, in the matrix or in each channel, keeps its value: it
    defines the scale.

    Args:
        weights: float32 [outputs, inputs].
        bias: float32 [outputs], or None.
        moment: mean of the outer product of (inputs, 1) with itself, [inputs + 1, inputs + 1].

    Returns:
        Matrix and bias in their former shapes and dtypes.
    """
    outputs, inputs = weights.shape
    magnitude = np.abs(weights)
    axis = 1 if per_channel else None
    largest = magnitude.max(axis=axis, keepdims=True).astype(np.float64)
    scale = np.where(largest > 0, largest, 1) / LARGEST
    defining = magnitude == largest
    # The inputs with the largest moments come first, the bias last.
    order = np.argsort(-np.diag(moment)[:inputs], kind="stable")
    free = weights[:, order].astype(np.float64)
    if bias is not None:
        order = np.append(order, inputs)
        free = np.column_stack([free, bias.astype(np.float64)])
    hessian = moment[np.ix_(order, order)].astype(np.float64)
    damping = DAMPING * np.diag(hessian)[:inputs].mean() or 1.0
    hessian[np.arange(inputs), np.arange(inputs)] += damping
    # Row i: how the later columns make up for an error in column i, the earlier ones being fixed.
    feedback = np.linalg.cholesky(np.linalg.inv(hessian)).T
    rounded = np.empty((outputs, inputs))
    for position, column in enumerate(order[:inputs]):
        steps = np.clip(np.rint(free[:, position] / scale[:, 0]), -LARGEST, LARGEST)
        steps = np.where(defining[:, column], np.sign(weights[:, column]) * LARGEST, steps)
        rounded[:, column] = steps * scale[:, 0]
        error = (free[:, position] - rounded[:, column]) / feedback[position, position]
        free[:, position + 1 :] -= np.outer(error, feedback[position, position + 1 :])
    return (
        rounded.astype(weights.dtype),
        None if bias is None else free[:, -1].astype(bias.dtype),
    )
