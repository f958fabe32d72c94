"""The step graph as a trainable network that rounds where the int8 graph rounds.

Quantization-aware training needs a simulation that quantizes exactly the tensors that the
converted graph quantizes. Written by hand into each cell, it would have to be kept in step with
what the converter makes of the cell. So it is made from the step graph itself: its operators are
run one by one in TensorFlow, with a fake quantizer (the primitive under TFMOT's quantizers) on
every tensor that the int8 graph stores, and its matrices are variables. Whatever cell can be
lowered to a step graph can be trained this way.

Source: B. Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference" (2018); ranges are learned by gradient as in S. Jain et al.,
"Trained quantization thresholds" (2019).
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf
import tf_keras as keras
from ai_edge_litert import schema_py_generated as schema

from convert.errors import UnsupportedLayerError
from convert.schemes.scheme import FloatStep
from device_runner.contract import INPUT_NAME, OUTPUT_NAME, STEP_SIGNATURE
from device_runner.flatbuffer import OPERATOR_NAMES

LEVELS = 256
# Outputs whose int8 grid TFLite prescribes: real range (low, high).
PRESCRIBED = {"LOGISTIC": (0.0, 255 / 256), "TANH": (-1.0, 127 / 128)}
ELEMENTWISE = {
    "ADD": tf.add,
    "SUB": tf.subtract,
    "MUL": tf.multiply,
    "LOGISTIC": tf.sigmoid,
    "TANH": tf.tanh,
    "RSQRT": tf.math.rsqrt,
}


class SimulatedNetwork(keras.Model):
    """A step graph over whole sequences: [batch, steps, inputs] -> logits
    [batch, steps, outputs].

    Args:
        step: the float step graph.
        limits: real range of each activation by tensor name, where learning starts.
        state_names: of the tensors that keep their range: a state's grid is part of the contract.
        frozen: matrices that are not trained, because their structure must stay (an orthogonal
            one); recognized by value.
        noise, offset: standard deviations per input channel, [inputs] each, of noise on every
            value and of an offset per sequence; in training only.
        simulate: whether tensors are rounded; False gives the float network of the same weights.

    Raises:
        UnsupportedLayerError: the graph has an operator that is not simulated.
    """

    def __init__(
        self,
        step: FloatStep,
        limits: dict[str, tuple[float, float]],
        frozen: tuple[np.ndarray, ...] = (),
        noise: np.ndarray | float = 0.0,
        offset: np.ndarray | float = 0.0,
        simulate: bool = True,
    ) -> None:
        super().__init__(name="simulated_network")
        self.simulate = simulate
        self.noise = noise
        self.offset = offset
        self._model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(step.flatbuffer, 0))
        graph = self._model.subgraphs[0]
        self._names = [tensor.name.decode() for tensor in graph.tensors]
        (signature,) = (
            item
            for item in self._model.signatureDefs
            if item.signatureKey.decode() == STEP_SIGNATURE
        )
        self._inputs = {item.name.decode(): item.tensorIndex for item in signature.inputs}
        self._outputs = {item.name.decode(): item.tensorIndex for item in signature.outputs}
        self._states = [name for name in self._inputs if name != INPUT_NAME]
        self._sizes = {
            name: int(graph.tensors[self._inputs[name]].shape[-1]) for name in self._states
        }
        self._operators = [
            (OPERATOR_NAMES[self._model.operatorCodes[op.opcodeIndex].builtinCode], op)
            for op in graph.operators
        ]
        self._constants: dict[int, Any] = {}
        self._matrices: set[int] = set()
        self._limits: dict[int, tuple[tf.Variable, tf.Variable]] = {}
        self._make_constants(frozen)
        self._make_limits(limits)

    def _make_constants(self, frozen: tuple[np.ndarray, ...]) -> None:
        for name, op in self._operators:
            if name not in ELEMENTWISE and name not in ("FULLY_CONNECTED", "SPLIT", "SUM"):
                raise UnsupportedLayerError(
                    f"operator {name} of the step graph is not simulated; "
                    "add it to convert/simulation.py, or quantize after training"
                )
            for position, index in enumerate(op.inputs):
                values = self._constant_values(index) if index >= 0 else None
                if values is None or index in self._constants:
                    continue
                if name != "FULLY_CONNECTED":
                    self._constants[index] = tf.constant(values)
                    continue
                matrix = position == 1
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
                    self._matrices.add(index)

    def _constant_values(self, index: int) -> np.ndarray | None:
        tensor = self._model.subgraphs[0].tensors[index]
        data = self._model.buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            return None
        dtype = np.float32 if tensor.type == schema.TensorType.FLOAT32 else np.int32
        return np.frombuffer(bytes(bytearray(data)), dtype).reshape(tensor.shape)

    def _make_limits(self, limits: dict[str, tuple[float, float]]) -> None:
        states = {self._inputs[name] for name in self._states}
        states |= {self._outputs[name] for name in self._states}
        computed = {
            index: PRESCRIBED.get(name)
            for name, op in self._operators
            if name != "SPLIT"  # only passes on what is on its input's grid
            for index in op.outputs
        }
        for index in self._inputs.values():
            computed[index] = None
        for index, prescribed in computed.items():
            low, high = prescribed or limits[self._names[index]]
            self._limits[index] = tuple(
                self.add_weight(
                    name=f"{end}{index}",
                    shape=(),
                    initializer=keras.initializers.Constant(value),
                    trainable=index not in states and prescribed is None,
                )
                for end, value in (("low", low), ("high", high))
            )

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        x = inputs
        if training:
            shape = tf.shape(x)
            x += tf.random.normal(shape) * self.noise
            x += tf.random.normal((shape[0], 1, shape[2])) * self.offset
        constants = {
            index: self._rounded_matrix(value) if index in self._matrices else value
            for index, value in self._constants.items()
        }

        def step(frame: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            results = self._step(frame, dict(zip(self._states, states, strict=True)), constants)
            return results[OUTPUT_NAME], [results[name] for name in self._states]

        initial = [tf.zeros((tf.shape(x)[0], size)) for size in self._sizes.values()]
        _, outputs, _ = keras.backend.rnn(step, x, initial)
        return outputs

    def _step(
        self, x: tf.Tensor, states: dict[str, tf.Tensor], constants: dict[int, Any]
    ) -> dict[str, tf.Tensor]:
        values: dict[int, tf.Tensor] = dict(constants)
        for name, value in {INPUT_NAME: x, **states}.items():
            values[self._inputs[name]] = self._rounded(self._inputs[name], value)
        for name, op in self._operators:
            operands = [values[index] for index in op.inputs if index >= 0]
            if name == "SPLIT":
                parts = tf.split(operands[1], len(op.outputs), axis=-1)
                values.update(zip(op.outputs, parts, strict=True))
                continue
            if name == "FULLY_CONNECTED":
                result = tf.matmul(operands[0], operands[1], transpose_b=True)
                result = result + operands[2] if len(operands) > 2 else result
            elif name == "SUM":
                result = tf.reduce_sum(operands[0], axis=-1, keepdims=True)
            else:
                result = ELEMENTWISE[name](*operands)
            values[op.outputs[0]] = self._rounded(op.outputs[0], result)
        return {name: values[index] for name, index in self._outputs.items()}

    def _rounded(self, index: int, value: tf.Tensor) -> tf.Tensor:
        if not self.simulate:
            return value
        low, high = self._limits[index]
        return tf.quantization.fake_quant_with_min_max_vars(value, low, high)

    def _rounded_matrix(self, value: tf.Tensor) -> tf.Tensor:
        if not self.simulate:
            return value
        largest = tf.stop_gradient(tf.reduce_max(tf.abs(value)))
        return tf.quantization.fake_quant_with_min_max_vars(
            value, -largest, largest, narrow_range=True
        )

    def float_flatbuffer(self) -> bytes:
        """The float step graph with the trained weights."""
        for index, variable in self._constants.items():
            if isinstance(variable, tf.Variable):
                buffer = self._model.buffers[self._model.subgraphs[0].tensors[index].buffer]
                buffer.data = np.frombuffer(variable.numpy().tobytes(), np.uint8)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def limits(self) -> dict[str, tuple[float, float]]:
        """Range of each activation, moved to the grid on which zero is a level, as the fake
        quantizer does in each step."""
        found: dict[str, tuple[float, float]] = {}
        for index, (low_variable, high_variable) in self._limits.items():
            low, high = float(low_variable.numpy()), float(high_variable.numpy())
            scale = (high - low) / (LEVELS - 1)
            below = round(-low / scale)
            found[self._names[index]] = -below * scale, (LEVELS - 1 - below) * scale
        for name, op in self._operators:
            if name == "SPLIT":
                for index in op.outputs:
                    found[self._names[index]] = found[self._names[op.inputs[1]]]
        return found
