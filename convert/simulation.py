"""Make the step graph a trainable network that rounds where the int8 graph rounds.

Quantization-aware training needs a simulation that quantizes exactly those tensors that the
converted graph quantizes. Written by hand into each cell, it would have to follow whatever the
converter makes of the cell. So it is made from the step graph itself. Its operators run one by one
in TensorFlow, with a fake quantizer (the primitive under TFMOT's quantizers) on every tensor that
the int8 graph stores, and its matrices are variables. Any cell that can be lowered to a step graph
can be trained this way.

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

from convert.errors import UnsupportedLayerError
from convert.operators.in_tensorflow import ACTIVATE, SIMULATED
from convert.schemes.mixed import float_parts, mixed_sentence
from convert.schemes.scheme import FloatStep
from convert.tflite_editor import TfliteEditor
from device_runner.model.constants import INDEX_DTYPES, read_constant
from device_runner.model.flatbuffer import Graph, Operator, read_graph
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME, STEP_SIGNATURE
from device_runner.model.tflite_schema import ACTIVATIONS
from device_runner.operators import OPERATORS
from device_runner.operators.row import Array, Grid

LEVELS = 256
# A scale is 2^(16 v) of a variable v. An optimizer whose steps suit the weights (5e-4) then moves
# scales by 1 % a step, as Jain et al. recommend; otherwise it would hardly move them.
SCALE_RATE = 16.0


class LearnedGrid(NamedTuple):
    """The 256 levels of a tensor.

    ``exponent`` holds the scale and ``zero_point`` counts from the lowest level. If ``fixed``, the
    scale is not learned."""

    exponent: tf.Variable
    zero_point: int
    fixed: bool

    def log_scale(self) -> tf.Tensor:
        """Return the base-2 logarithm of the scale."""
        return SCALE_RATE * self.exponent

    def limits(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the lowest and highest level in real units."""
        scale = tf.pow(2.0, self.log_scale())
        return -self.zero_point * scale, (LEVELS - 1 - self.zero_point) * scale


@tf.custom_gradient
def _round_and_learn(
    value: tf.Tensor, low: tf.Tensor, high: tf.Tensor, log_scale: tf.Tensor, frames: tf.Tensor
) -> tuple[tf.Tensor, Callable[..., Any]]:
    """Quantize [batch, width] values with a scale that has a gradient.

    With y the rounded value, dy/dlog2(scale) is ln 2 * (y - value) inside the limits and ln 2 * y
    where the value is clipped. The sum over a batch is divided by sqrt(frames * width * 127), so
    that it is about as large as a weight's gradient (Esser et al., section 2.2).
    """
    result = tf.quantization.fake_quant_with_min_max_vars(value, low, high)

    def gradient(upstream: tf.Tensor) -> tuple[Any, ...]:
        passed, _, _ = tf.raw_ops.FakeQuantWithMinMaxVarsGradient(
            gradients=upstream, inputs=value, min=low, max=high
        )
        moved = tf.reduce_sum(upstream * result) - tf.reduce_sum(passed * value)
        size = frames * tf.cast(tf.shape(value)[-1], tf.float32) * (LEVELS // 2 - 1)
        return passed, None, None, np.log(2) * moved * tf.math.rsqrt(size), None

    return result, gradient


class SimulatedNetwork(keras.Model):
    """A step graph that runs over whole sequences.

    It takes [batch, steps, inputs], or [batch, steps, 1] token ids, and gives [batch, steps,
    outputs].

    Args:
        step: the float step graph.
        limits: range of each activation in real units, by tensor name, where learning starts. Zero
            points stay and scales are learned, except the grid of a bounded state.
        bounded: names of states whose magnitude the equations bound.
        frozen: matrices that are not trained, recognized by value, because their structure (such as
            orthogonality) must stay. Zeros of a pruned matrix always stay.
        per_channel: whether a matrix has a scale per output channel instead of one.
        simulate: whether tensors are rounded; False gives the float network with the same weights,
            and needs no limits.

    Raises:
        UnsupportedLayerError: the graph has an operator that is not simulated, or several inputs
            or outputs.
    """

    def __init__(
        self,
        step: FloatStep,
        limits: dict[str, tuple[float, float]],
        bounded: Collection[str] = (),
        frozen: tuple[Array, ...] = (),
        per_channel: bool = False,
        simulate: bool = True,
    ) -> None:
        super().__init__(name="simulated_network")
        self.simulate = simulate
        self.per_channel = per_channel
        self._flatbuffer = step.flatbuffer
        self._graph = graph = read_graph(step.flatbuffer)
        signature = graph.signature(STEP_SIGNATURE)
        self._inputs, self._outputs = dict(signature.inputs), dict(signature.outputs)
        self._states = [name for name in self._inputs if name in self._outputs]
        _check(graph, len(self._states))
        if reasons := float_parts(graph, step, 8).reasons:
            raise UnsupportedLayerError(
                f"{mixed_sentence(reasons)}; such a step is not trained quantization-aware, "
                "quantize it after training"
            )
        self._names = [tensor.name for tensor in graph.tensors]
        self._initial = dict(step.initial)
        # For states that are not updated at each step: from the tensor of the new value to that of
        # the old one, and the steps from one update to the next.
        self._periods = {
            self._outputs[name]: (self._inputs[name], float(period))
            for name, period in step.periods.items()
        }
        self._first_phase = float(step.first_phase)
        # Tensors of token ids, which are not rounded.
        self._ids = {tensor.index for tensor in graph.tensors if tensor.dtype in INDEX_DTYPES}
        self._constants: dict[int, Any] = {}
        # Masks of pruned matrices: 1 where a weight is left, else 0.
        self._matrices: dict[int, tf.Tensor] = {}
        self._channel_axes: dict[int, int] = {}
        # Tables of weights from which rows are taken.
        self._tables = {
            op.inputs[OPERATORS[op.name].source]
            for op in graph.operators
            if OPERATORS[op.name].grid is Grid.TABLE
        }
        self._grids: dict[int, LearnedGrid] = {}
        for op in graph.operators:
            self._make_constants(op, frozen)
        if simulate or limits:
            self._make_grids(limits, bounded)

    def _make_constants(self, op: Operator, frozen: tuple[Array, ...]) -> None:
        """Make variables of an operator's weights, and constants of its other constant inputs."""
        row = OPERATORS[op.name]
        table = row.source if row.grid is Grid.TABLE else None
        for position, index in enumerate(op.inputs):
            tensor = self._graph.tensors[index]
            if index < 0 or not tensor.constant_bytes or index in self._constants:
                continue
            values = read_constant(self._flatbuffer, tensor)
            if position not in (row.matrix, row.bias, table):
                dtype = np.int32 if index in self._ids else np.float32
                self._constants[index] = tf.constant(values.astype(dtype))
                continue
            matrix = position == row.matrix
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
                self._channel_axes[index] = row.channel_axis

    def _is_rounded(self, op: Operator) -> bool:
        """Tell whether an operator's results need rounding, being off the grid of its inputs."""
        grid = OPERATORS[op.name].grid
        if grid is Grid.JOINED:
            # Constants are on no grid here.
            return any(index in self._constants for index in op.inputs)
        return grid is Grid.OWN

    def _make_grids(self, limits: dict[str, tuple[float, float]], bounded: Collection[str]) -> None:
        operators = self._graph.operators
        computed = {
            index: OPERATORS[op.name].prescribed
            for op in operators
            if self._is_rounded(op)
            for index in op.outputs
        }
        computed.update(dict.fromkeys(self._inputs.values()))
        computed = {i: prescribed for i, prescribed in computed.items() if i not in self._ids}
        for state in self._states:
            ends = self._inputs[state], self._outputs[state]
            limit = limits[self._names[ends[0]]]
            fixed = state in bounded
            # An unbounded state shares its grid with the product of a gate with it.
            shared = [] if fixed else [i for i in computed if limits[self._names[i]] == limit]
            grid = self._grid(ends[0], limit, fixed)
            self._grids.update(dict.fromkeys((*ends, *shared), grid))
        for op in reversed(operators):
            source = op.inputs[OPERATORS[op.name].source]
            # A state that is only reshaped at the end keeps its grid from the start.
            if OPERATORS[op.name].grid is Grid.PASSED and source in computed:
                for index in op.outputs:
                    if index in self._grids:
                        self._grids.setdefault(source, self._grids[index])
        for op in operators:
            members = [index for index in (*op.inputs, *op.outputs) if index in computed]
            if OPERATORS[op.name].grid is Grid.JOINED and members:
                given = [index for index in (*op.inputs, *members) if index in self._grids]
                limit = limits[self._names[op.outputs[0]]]
                grid = self._grids[given[0]] if given else self._grid(op.inputs[0], limit, False)
                self._grids.update(dict.fromkeys(members, grid))
        for index, prescribed in computed.items():
            if index not in self._grids:
                limit = prescribed or limits[self._names[index]]
                self._grids[index] = self._grid(index, limit, prescribed is not None)

    def _grid(self, index: int, limit: tuple[float, float], fixed: bool) -> LearnedGrid:
        low, high = limit
        scale = (high - low) / (LEVELS - 1)
        exponent = self.add_weight(
            name=f"exponent{index}",
            shape=(),
            initializer=keras.initializers.Constant(np.log2(scale) / SCALE_RATE),
            trainable=not fixed,
        )
        return LearnedGrid(exponent, round(-low / scale), fixed)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        constants = {
            index: self._rounded_weights(index, value) for index, value in self._constants.items()
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
        shapes = {name: self._shape(self._inputs[name])[1:] for name in self._states}
        initial = [
            tf.zeros((batch, *shape)) + self._initial.get(name, np.float32(0))
            for name, shape in shapes.items()
        ]
        # The last state is the number of the step within the cycle.
        number = tf.fill((batch, 1), self._first_phase)
        _, outputs, _ = keras.backend.rnn(step, inputs, [*initial, number])
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
            # A state that is not due stays; whatever reads its new value gets the old one.
            if index not in self._periods:
                return values[index]
            old, period = self._periods[index]
            return tf.where(number % period == 0, values[index], values[old])

        for name, value in {INPUT_NAME: x, **states}.items():
            values[self._inputs[name]] = rounded(self._inputs[name], value)
        for op in self._graph.operators:
            operands = [current(index) for index in op.inputs if index >= 0]
            results = SIMULATED[op.name](op, operands, self._shape)
            if activation := int(op.options.get("activation", 0)):
                results = [ACTIVATE[ACTIVATIONS[activation]](result) for result in results]
            if self._is_rounded(op):
                results = [rounded(i, value) for i, value in zip(op.outputs, results, strict=True)]
            values.update(zip(op.outputs, results, strict=True))
        return {name: current(index) for name, index in self._outputs.items()}

    def _shape(self, index: int) -> tuple[int, ...]:
        return self._graph.tensors[index].shape

    def _rounded_weights(self, index: int, value: tf.Tensor) -> tf.Tensor:
        if index in self._matrices:
            value = value * self._matrices[index]
            axis = self._channel_axes[index]
            return self._rounded_matrix(value, axis) if self.simulate else value
        if index in self._tables and self.simulate:
            low, high = _table_limits(value)
            return tf.quantization.fake_quant_with_min_max_vars(value, low, high)
        return value

    def _rounded_matrix(self, value: tf.Tensor, channel_axis: int) -> tf.Tensor:
        if self.per_channel:
            # TensorFlow has its channels last, most matrices of a step graph first.
            shape, first = value.shape, channel_axis == 0
            rows = value if first else tf.transpose(tf.reshape(value, (-1, shape[channel_axis])))
            value = tf.transpose(tf.reshape(rows, (shape[channel_axis], -1)))
            largest = tf.stop_gradient(tf.reduce_max(tf.abs(value), axis=0))
            # A channel of zeros has no scale.
            largest = tf.maximum(largest, 1e-6)
            rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                value, -largest, largest, narrow_range=True
            )
            return tf.reshape(tf.transpose(rounded) if first else rounded, shape)
        largest = tf.stop_gradient(tf.reduce_max(tf.abs(value)))
        return tf.quantization.fake_quant_with_min_max_vars(
            value, -largest, largest, narrow_range=True
        )

    def float_flatbuffer(self) -> bytes:
        """Return the float step graph with the trained weights."""
        editor = TfliteEditor(self._flatbuffer)
        for index, variable in self._constants.items():
            if isinstance(variable, tf.Variable):
                values = variable.numpy()
                if index in self._matrices:
                    values = values * self._matrices[index].numpy()
                editor.set_constant(index, values)
        return editor.flatbuffer()

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the range of each activation by tensor name."""
        found = {}
        for index, grid in self._grids.items():
            low, high = grid.limits()
            found[self._names[index]] = float(low), float(high)
        for op in self._graph.operators:
            row = OPERATORS[op.name]
            source = op.inputs[row.source]
            if row.grid is Grid.TABLE:
                low, high = _table_limits(self._constants[source])
                found[self._names[op.outputs[0]]] = float(low), float(high)
            elif row.one_grid and not self._is_rounded(op) and source not in self._ids:
                for index in op.outputs:
                    found[self._names[index]] = found[self._names[source]]
        return found


def _check(graph: Graph, states: int) -> None:
    """Raise UnsupportedLayerError if a step graph cannot be simulated."""
    signature = graph.signature(STEP_SIGNATURE)
    if not len(signature.inputs) == len(signature.outputs) == states + 1:
        raise UnsupportedLayerError(
            "a step of several inputs or outputs cannot be trained quantization-aware; "
            "quantize it after training"
        )
    for op in graph.operators:
        if op.name not in SIMULATED:
            raise UnsupportedLayerError(
                f"operator {op.name} of the step graph is not simulated; "
                "add it to convert/operators/in_tensorflow.py, or quantize after training"
            )
        row = OPERATORS[op.name]
        table = graph.tensors[op.inputs[row.source]]
        if row.grid is Grid.TABLE and (not table.constant_bytes or op.options.get("axis")):
            raise UnsupportedLayerError(
                f"{op.name} from something else than the rows of a table of weights is not "
                "simulated; quantize after training"
            )


def _table_limits(table: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the range, extended to zero, of a table that GATHER takes rows from."""
    low = tf.minimum(tf.reduce_min(table), 0.0)
    high = tf.maximum(tf.reduce_max(table), 0.0)
    # A table of zeros has no scale.
    return tf.stop_gradient(low), tf.stop_gradient(tf.maximum(high, low + 1e-6))
