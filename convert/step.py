"""One time step of a recurrent network as a TFLite graph with explicit state."""

from __future__ import annotations

import tempfile

import tensorflow as tf
import tf_keras as keras

from convert.errors import ContractViolationError, UnsupportedLayerError
from device_runner.contract import INPUT_NAME, OUTPUT_NAME, STEP_SIGNATURE
from device_runner.flatbuffer import read_graph
from models.network import Normalization, Recurrence, SensorNoise
from models.tensorflow_log import quiet

# Layers that do nothing when a trained network is used.
TRAINING_ONLY = (keras.layers.InputLayer, keras.layers.Dropout, SensorNoise)
# Layers that compute each step from that step alone.
STATELESS = (keras.layers.Dense, keras.layers.Activation)
CONTROL_FLOW = {"WHILE", "IF", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}


class StepModule(tf.Module):
    """``step(x, state...) -> {y, state...}`` of a Sequential network.

    ``state_sizes`` maps the state names, in graph order, to their widths. With one recurrence the
    states have the cell's names ("h", "c"), with several they are numbered ("h_0", "h_1").

    Raises:
        UnsupportedLayerError: a layer cannot be stepped.
    """

    def __init__(self, network: keras.Sequential) -> None:
        super().__init__()
        for layer in network.layers:
            if not isinstance(layer, (*TRAINING_ONLY, *STATELESS, Normalization, Recurrence)):
                raise UnsupportedLayerError(
                    f"layer '{layer.name}' ({type(layer).__name__}) cannot be stepped; "
                    "steppable are Normalization, Recurrence, Dense and Activation"
                )
        # Tracked by tf.Module, so that the weights become constants of the graph.
        self.network = network
        self.inputs = int(network.input_shape[-1])
        recurrences = [layer for layer in network.layers if isinstance(layer, Recurrence)]
        self.state_names = {
            layer.name: tuple(
                name if len(recurrences) == 1 else f"{name}_{number}"
                for name in layer.cell.state_names
            )
            for number, layer in enumerate(recurrences)
        }
        self.state_sizes: dict[str, int] = {}
        self.state_bounds: dict[str, float] = {}
        for layer in recurrences:
            pairs = zip(self.state_names[layer.name], layer.cell.state_names, strict=True)
            for name, name_in_cell in pairs:
                self.state_sizes[name] = layer.cell.units
                if name_in_cell in layer.cell.state_bounds:
                    self.state_bounds[name] = layer.cell.state_bounds[name_in_cell]
        self.step = tf.function(
            self._step,
            input_signature=[
                tf.TensorSpec((1, self.inputs), tf.float32, name=INPUT_NAME),
                *(
                    tf.TensorSpec((1, size), tf.float32, name=name)
                    for name, size in self.state_sizes.items()
                ),
            ],
        )

    def _step(self, x: tf.Tensor, *states: tf.Tensor) -> dict[str, tf.Tensor]:
        state = dict(zip(self.state_sizes, states, strict=True))
        results: dict[str, tf.Tensor] = {}
        value = x
        pending: Normalization | None = None
        for layer in self.network.layers:
            if isinstance(layer, TRAINING_ONLY):
                continue
            if isinstance(layer, Normalization):
                pending = layer
            elif isinstance(layer, Recurrence):
                # The normalization is folded into the input product: no operator, no rounding.
                affine = (pending.scale, pending.shift) if pending is not None else (None, None)
                names = self.state_names[layer.name]
                product = layer.cell.input_product(value, *affine)
                old = tuple(state[name] for name in names)
                value, new = layer.cell.step(product, old, layer.cell.begin())
                results.update(zip(names, new, strict=True))
                pending = None
            else:
                value = layer(value if pending is None else pending(value))
                pending = None
        return {OUTPUT_NAME: value, **results}


def to_float_graph(module: StepModule) -> bytes:
    """Convert a step module to a float32 .tflite flatbuffer with the signature ``step``.

    Raises:
        ContractViolationError: the graph has control flow, a Flex or custom operator, a dynamic
            shape, or two outputs in one tensor.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        tf.saved_model.save(module, folder, signatures={STEP_SIGNATURE: module.step})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=[STEP_SIGNATURE]
        )
        flatbuffer = bytes(converter.convert())
    graph = read_graph(flatbuffer)
    for operator in graph.operators:
        if operator.name in CONTROL_FLOW or operator.name.startswith("CUSTOM"):
            raise ContractViolationError(
                f"the step graph contains {operator.name}, which does not run everywhere; "
                "express the cell's step in plain tensor operations"
            )
    if not all(tensor.static_shape for tensor in graph.tensors):
        raise ContractViolationError("the step graph has a dynamic shape; fix the cell's shapes")
    outputs = graph.signature(STEP_SIGNATURE).outputs
    if len(set(outputs.values())) != len(outputs):
        raise ContractViolationError("two outputs of the step are one tensor; separate them")
    return flatbuffer
