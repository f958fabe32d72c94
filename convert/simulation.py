"""The step graph as a trainable network that rounds where the int8 graph rounds.

Quantization-aware training needs a simulation that quantizes exactly the tensors that the
converted graph quantizes. Written by hand into each cell, it would have to be kept in step with
what the converter makes of the cell. So it is made from the step graph itself: its operators are
run one by one in TensorFlow, with a fake quantizer (the primitive under TFMOT's quantizers) on
every tensor that the int8 graph stores, and its matrices are variables. Whatever cell can be
lowered to a step graph can be trained this way.

Source: B. Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference" (2018). Scales are learned by the gradient that weighs rounding
against clipping: S. Esser et al., "Learned step size quantization" (2020), in the logarithm as in
S. Jain et al., "Trained quantization thresholds" (2019).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras
from ai_edge_litert import schema_py_generated as schema

from convert.errors import UnsupportedLayerError
from convert.schemes.scheme import FloatStep
from convert.tflite_editor import constant, read_tree, write_tree
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME, STEP_SIGNATURE
from device_runner.model.tflite_schema import OPERATOR_NAMES

LEVELS = 256
# A scale is 2^(16 v) of a variable v: an optimizer whose steps suit the weights (5e-4) then moves
# scales by 1 % a step, which Jain et al. find right; left to itself it would hardly move them.
SCALE_RATE = 16.0
# Outputs whose int8 grid TFLite prescribes: real range (low, high).
PRESCRIBED = {
    "LOGISTIC": (0.0, 255 / 256),
    "SOFTMAX": (0.0, 255 / 256),
    "TANH": (-1.0, 127 / 128),
}
OTHERS = (
    "CONCATENATION", "FULLY_CONNECTED", "GATHER", "RESHAPE", "SPLIT", "STRIDED_SLICE", "SUM",
    "TRANSPOSE",
)  # fmt: skip
# These only pass on what is on their input's grid.
PASSING = ("CONCATENATION", "RESHAPE", "SPLIT", "STRIDED_SLICE", "TRANSPOSE")
ELEMENTWISE = {
    "ADD": tf.add,
    "SUB": tf.subtract,
    "MUL": tf.multiply,
    "LOGISTIC": tf.sigmoid,
    "TANH": tf.tanh,
    "RSQRT": tf.math.rsqrt,
    "SOFTMAX": tf.nn.softmax,
}


class Grid(NamedTuple):
    """The 256 levels of a tensor: a variable for the scale, zero point counted from the lowest
    level, and whether the scale stays."""

    exponent: tf.Variable
    zero_point: int
    fixed: bool

    def log_scale(self) -> tf.Tensor:
        """Base-2 logarithm of the scale."""
        return SCALE_RATE * self.exponent

    def limits(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Lowest and highest level, real."""
        scale = tf.pow(2.0, self.log_scale())
        return -self.zero_point * scale, (LEVELS - 1 - self.zero_point) * scale


@tf.custom_gradient
def _round_and_learn(
    value: tf.Tensor, low: tf.Tensor, high: tf.Tensor, log_scale: tf.Tensor, frames: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    """Fake quantization of [batch, width] whose scale has a gradient.

    With y the rounded value, dy/dlog2(scale) is ln 2 * (y - value) inside of the limits and
    ln 2 * y where it is clipped. The sum over all values of a batch is divided by
    sqrt(frames * width * 127), so that it is of the size of a weight's (Esser et al., section 2.2).
    """
    result = tf.quantization.fake_quant_with_min_max_vars(value, low, high)

    def gradient(upstream: tf.Tensor) -> tuple:
        passed, _, _ = tf.raw_ops.FakeQuantWithMinMaxVarsGradient(
            gradients=upstream, inputs=value, min=low, max=high
        )
        moved = tf.reduce_sum(upstream * result) - tf.reduce_sum(passed * value)
        size = frames * tf.cast(tf.shape(value)[-1], tf.float32) * (LEVELS // 2 - 1)
        return passed, None, None, np.log(2) * moved * tf.math.rsqrt(size), None

    return result, gradient


class SimulatedNetwork(keras.Model):
    """A step graph over whole sequences: [batch, steps, inputs], or [batch, steps, 1] token ids,
    -> outputs [batch, steps, outputs].

    Args:
        step: the float step graph.
        limits: real range of each activation by tensor name, where learning starts. Zero points
            stay, scales are learned; but the grid of a bounded state stays.
        bounded: names of the states whose magnitude the equations bound.
        frozen: matrices that are not trained, because their structure must stay (an orthogonal
            one); recognized by value. The zeros of a pruned matrix stay in any case.
        per_channel: whether a matrix has a scale per output channel instead of one.
        simulate: whether tensors are rounded; False gives the float network of the same weights.

    Raises:
        UnsupportedLayerError: the graph has an operator that is not simulated, or several inputs
            or outputs.
    """

    def __init__(
        self,
        step: FloatStep,
        limits: dict[str, tuple[float, float]],
        bounded: Collection[str] = (),
        frozen: tuple[np.ndarray, ...] = (),
        per_channel: bool = False,
        simulate: bool = True,
    ) -> None:
        super().__init__(name="simulated_network")
        self.simulate = simulate
        self.per_channel = per_channel
        self._model: Any = read_tree(step.flatbuffer)
        graph = self._model.subgraphs[0]
        self._names = [tensor.name.decode() for tensor in graph.tensors]
        (signature,) = (
            item
            for item in self._model.signatureDefs
            if item.signatureKey.decode() == STEP_SIGNATURE
        )
        self._inputs = {item.name.decode(): item.tensorIndex for item in signature.inputs}
        self._outputs = {item.name.decode(): item.tensorIndex for item in signature.outputs}
        self._states = [name for name in self._inputs if name in self._outputs]
        if len(self._inputs) != len(self._states) + 1 or len(self._outputs) != len(self._inputs):
            raise UnsupportedLayerError(
                "a step of several inputs or outputs cannot be trained quantization-aware; "
                "quantize it after training"
            )
        self._initial = dict(step.initial)
        # Of states that are not updated at each step: the tensor of the new value -> that of the
        # old one, and the steps from one update to the next.
        self._periods = {
            self._outputs[name]: (self._inputs[name], float(period))
            for name, period in step.periods.items()
        }
        self._shape_of = {index: tensor.shape for index, tensor in enumerate(graph.tensors)}
        # Tensors of token ids: they are not rounded.
        self._ids = {
            index
            for index, tensor in enumerate(graph.tensors)
            if tensor.type in (schema.TensorType.INT32, schema.TensorType.INT64)
        }
        self._shapes = {
            name: tuple(map(int, graph.tensors[self._inputs[name]].shape[1:]))
            for name in self._states
        }
        self._operators = [
            (OPERATOR_NAMES[self._model.operatorCodes[op.opcodeIndex].builtinCode], op)
            for op in graph.operators
        ]
        self._constants: dict[int, Any] = {}
        # The places of a matrix that pruning has left, 1 or 0.
        self._matrices: dict[int, tf.Tensor] = {}
        self._grids: dict[int, Grid] = {}
        self._make_constants(frozen)
        self._make_grids(limits, bounded)

    def _make_constants(self, frozen: tuple[np.ndarray, ...]) -> None:
        for name, op in self._operators:
            if name not in ELEMENTWISE and name not in OTHERS:
                raise UnsupportedLayerError(
                    f"operator {name} of the step graph is not simulated; "
                    "add it to convert/simulation.py, or quantize after training"
                )
            if name == "GATHER" and constant(self._model, op.inputs[0]) is None:
                raise UnsupportedLayerError(
                    "GATHER from something else than a table of weights is not simulated; "
                    "quantize after training"
                )
            for position, index in enumerate(op.inputs):
                values = constant(self._model, index) if index >= 0 else None
                if values is None or index in self._constants:
                    continue
                table = name == "GATHER" and position == 0
                if name != "FULLY_CONNECTED" and not table:
                    self._constants[index] = tf.constant(values)
                    continue
                matrix = name == "FULLY_CONNECTED" and position == 1
                held = matrix and any(
                    values.shape == f.shape and np.allclose(values, f, atol=1e-6) for f in frozen
                )
                self._constants[index] = self.add_weight(
                    name=f"constant{index}",
                    shape=values.shape,
                    initializer=keras.initializers.Constant(values),
                    trainable=not held,
                )
                if matrix:
                    self._matrices[index] = tf.constant(values != 0, tf.float32)

    def _make_grids(self, limits: dict[str, tuple[float, float]], bounded: Collection[str]) -> None:
        computed = {
            index: PRESCRIBED.get(name)
            for name, op in self._operators
            if name not in (*PASSING, "GATHER")  # GATHER has its table's grid
            for index in op.outputs
        }
        for index in self._inputs.values():
            computed[index] = None
        computed = {i: prescribed for i, prescribed in computed.items() if i not in self._ids}
        for state in self._states:
            ends = self._inputs[state], self._outputs[state]
            limit = limits[self._names[ends[0]]]
            fixed = state in bounded
            # An unbounded state shares its grid with the product of a gate with it.
            shared = [] if fixed else [i for i in computed if limits[self._names[i]] == limit]
            grid = self._grid(ends[0], limit, fixed)
            self._grids.update(dict.fromkeys((*ends, *shared), grid))
        for name, op in reversed(self._operators):
            # A state that is only reshaped at the end has its grid from the start.
            if name == "RESHAPE" and op.outputs[0] in self._grids and op.inputs[0] in computed:
                self._grids.setdefault(op.inputs[0], self._grids[op.outputs[0]])
        for name, op in self._operators:
            # What is joined is on one grid.
            if name == "CONCATENATION" and any(index in computed for index in op.inputs):
                given = [index for index in op.inputs if index in self._grids]
                limit = limits[self._names[op.outputs[0]]]
                grid = self._grids[given[0]] if given else self._grid(op.inputs[0], limit, False)
                self._grids.update({index: grid for index in op.inputs if index in computed})
        for index, prescribed in computed.items():
            if index not in self._grids:
                limit = prescribed or limits[self._names[index]]
                self._grids[index] = self._grid(index, limit, prescribed is not None)

    def _grid(self, index: int, limit: tuple[float, float], fixed: bool) -> Grid:
        low, high = limit
        scale = (high - low) / (LEVELS - 1)
        exponent = self.add_weight(
            name=f"exponent{index}",
            shape=(),
            initializer=keras.initializers.Constant(np.log2(scale) / SCALE_RATE),
            trainable=not fixed,
        )
        return Grid(exponent, round(-low / scale), fixed)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        constants = {
            index: self._rounded_matrix(value * self._matrices[index])
            if index in self._matrices
            else value
            for index, value in self._constants.items()
        }
        frames = tf.cast(tf.shape(inputs)[0] * tf.shape(inputs)[1], tf.float32)
        limits = {index: grid.limits() for index, grid in self._grids.items()}
        log_scales = {index: grid.log_scale() for index, grid in self._grids.items()}

        def rounded(index: int, value: tf.Tensor) -> tf.Tensor:
            if not self.simulate or index in self._ids:
                return value
            grid = self._grids[index]
            if grid.fixed:
                return tf.quantization.fake_quant_with_min_max_vars(value, *limits[index])
            return _round_and_learn(value, *limits[index], log_scales[index], frames)

        def step(frame: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            *states, number = states
            state = dict(zip(self._states, states, strict=True))
            results = self._step(frame, state, constants, rounded, number)
            return results[OUTPUT_NAME], [*(results[name] for name in self._states), number + 1]

        batch = tf.shape(inputs)[0]
        initial = [
            tf.zeros((batch, *shape)) + self._initial.get(name, np.float32(0))
            for name, shape in self._shapes.items()
        ]
        # The last is the number of the step.
        _, outputs, _ = keras.backend.rnn(step, inputs, [*initial, tf.zeros((batch, 1))])
        return outputs

    def _step(
        self,
        x: tf.Tensor,
        states: dict[str, tf.Tensor],
        constants: dict[int, Any],
        rounded: Callable[[int, tf.Tensor], tf.Tensor],
        number: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        values: dict[int, tf.Tensor] = dict(constants)

        def current(index: int) -> tf.Tensor:
            # A state that is not due stays, and all that reads its new value reads the old one.
            if index not in self._periods:
                return values[index]
            old, period = self._periods[index]
            return tf.where(number % period == 0, values[index], values[old])

        for name, value in {INPUT_NAME: x, **states}.items():
            values[self._inputs[name]] = rounded(self._inputs[name], value)
        for name, op in self._operators:
            operands = [current(index) for index in op.inputs if index >= 0]
            if name == "SPLIT":
                parts = tf.split(operands[1], len(op.outputs), axis=-1)
                values.update(zip(op.outputs, parts, strict=True))
                continue
            if name == "RESHAPE":
                # The batch is 1 in the graph and the axis in front here.
                target = self._shape_of[op.outputs[0]]
                values[op.outputs[0]] = tf.reshape(operands[0], (-1, *map(int, target[1:])))
                continue
            if name == "CONCATENATION":
                values[op.outputs[0]] = tf.concat(operands, op.builtinOptions.axis)
                continue
            if name == "STRIDED_SLICE":
                options = op.builtinOptions
                # The batch is 1 in the graph; here all of it is taken.
                values[op.outputs[0]] = tf.strided_slice(
                    *operands,
                    begin_mask=options.beginMask | 1,
                    end_mask=options.endMask | 1,
                    ellipsis_mask=options.ellipsisMask,
                    new_axis_mask=options.newAxisMask,
                    shrink_axis_mask=options.shrinkAxisMask,
                )
                continue
            if name == "TRANSPOSE":
                values[op.outputs[0]] = tf.transpose(*operands)
                continue
            if name == "GATHER":
                values[op.outputs[0]] = tf.gather(self._rounded_table(operands[0]), operands[1])
                continue
            if name == "FULLY_CONNECTED":
                rows = operands[0]
                if not op.builtinOptions.keepNumDims:
                    # The operator takes leading axes together.
                    rows = tf.reshape(rows, (-1, operands[1].shape[-1]))
                result = tf.matmul(rows, operands[1], transpose_b=True)
                result = result + operands[2] if len(operands) > 2 else result
            elif name == "SUM":
                keep = bool(op.builtinOptions.keepDims)
                axes = self._constants[op.inputs[1]].numpy().ravel().tolist()
                result = tf.reduce_sum(operands[0], axes, keepdims=keep)
            else:
                result = ELEMENTWISE[name](*operands)
            values[op.outputs[0]] = rounded(op.outputs[0], result)
        return {name: current(index) for name, index in self._outputs.items()}

    def _rounded_matrix(self, value: tf.Tensor) -> tf.Tensor:
        if not self.simulate:
            return value
        if self.per_channel:
            # The operator has its channels last, a matrix of the graph [outputs, inputs] first.
            value = tf.transpose(value)
            largest = tf.stop_gradient(tf.reduce_max(tf.abs(value), axis=0))
            # A channel of zeros has no scale.
            largest = tf.maximum(largest, 1e-6)
            rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                value, -largest, largest, narrow_range=True
            )
            return tf.transpose(rounded)
        largest = tf.stop_gradient(tf.reduce_max(tf.abs(value)))
        return tf.quantization.fake_quant_with_min_max_vars(
            value, -largest, largest, narrow_range=True
        )

    def _rounded_table(self, table: tf.Tensor) -> tf.Tensor:
        if not self.simulate:
            return table
        low, high = _table_limits(table)
        return tf.quantization.fake_quant_with_min_max_vars(table, low, high)

    def float_flatbuffer(self) -> bytes:
        """The float step graph with the trained weights."""
        for index, variable in self._constants.items():
            if isinstance(variable, tf.Variable):
                buffer = self._model.buffers[self._model.subgraphs[0].tensors[index].buffer]
                values = variable.numpy()
                if index in self._matrices:
                    values = values * self._matrices[index].numpy()
                buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        return write_tree(self._model)

    def limits(self) -> dict[str, tuple[float, float]]:
        """Range of each activation by tensor name."""
        found = {}
        for index, grid in self._grids.items():
            low, high = grid.limits()
            found[self._names[index]] = float(low), float(high)
        for name, op in self._operators:
            if name == "GATHER":
                low, high = _table_limits(self._constants[op.inputs[0]])
                found[self._names[op.outputs[0]]] = float(low), float(high)
            if (
                name in PASSING
                and (source := op.inputs[1 if name == "SPLIT" else 0]) not in self._ids
            ):
                for index in op.outputs:
                    found[self._names[index]] = found[self._names[source]]
        return found


def _table_limits(table: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The range of a table that GATHER takes rows from, with zero in it."""
    low = tf.minimum(tf.reduce_min(table), 0.0)
    high = tf.maximum(tf.reduce_max(table), 0.0)
    # A table of zeros has no scale.
    return tf.stop_gradient(low), tf.stop_gradient(tf.maximum(high, low + 1e-6))
