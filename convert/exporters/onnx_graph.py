"""Build an ONNX graph from a step graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from convert.errors import NotExportableError
from device_runner.backends.onnxruntime import state_output_name
from device_runner.backends.reference import StepGraph
from device_runner.errors import MissingRuntimeError
from device_runner.model.flatbuffer import Operator
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.model.tflite_schema import ACTIVATIONS
from device_runner.operators.row import Array

ACTIVATION_NODES: dict[str, tuple[Any, ...]] = {
    "RELU": ("Relu",),
    "RELU_N1_TO_1": ("Clip", -1.0, 1.0),
    "RELU6": ("Clip", 0.0, 6.0),
    "TANH": ("Tanh",),
}


def onnx_package() -> Any:
    """Import ``onnx``; MissingRuntimeError if that fails."""
    try:
        import onnx
    except ImportError as error:
        raise MissingRuntimeError(
            f"onnx is not usable ({error}); install it with 'pip install edgestep[onnx]'"
        ) from error
    return onnx


class OnnxGraph:
    """An ONNX graph that is being built; :meth:`name` gives the names of its tensors.

    Args:
        onnx: the package.
        model: the model whose step graph is lowered.

    Raises:
        NotExportableError: the model has several phases, or names that would collide in ONNX.
        BadModelError: its graph is damaged or has an operator that is not known.
    """

    def __init__(self, onnx: Any, model: StepModel) -> None:
        model.require_one_phase("an ONNX runtime")
        self.onnx, self.model = onnx, model
        self.step = StepGraph(model.graph, model.flatbuffer)
        signature = model.graph.signature(STEP_SIGNATURE)
        self.inputs = {index: name for name, index in signature.inputs.items()}
        self.outputs = {
            index: state_output_name(name) if name in signature.inputs else name
            for name, index in signature.outputs.items()
        }
        contract = model.contract
        specs = (*contract.inputs, *contract.outputs, *contract.states)
        # In the order of the contract.
        self._order = [name for spec in specs for name in (spec.name, state_output_name(spec.name))]
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self._count = 0
        names = [*self.inputs.values(), *self.outputs.values()]
        if len(set(names)) < len(names) or any("/" in name for name in names):
            raise NotExportableError(
                f"{model.path}: inputs and outputs would be called {', '.join(names)} in ONNX, "
                "which is ambiguous; rename the states"
            )

    def name(self, index: int) -> str:
        """Return the ONNX name of a tensor; a constant becomes an initializer at its first use."""
        if index in self.inputs:
            return self.inputs[index]
        if index in self.outputs:
            return self.outputs[index]
        name = f"tensor/{index}"
        if index in self.step.constants and name not in self.initializers:
            value = self.step.constants[index]
            dtype = "float32" if value.dtype.kind == "f" else self.model.graph.tensors[index].dtype
            self._keep(name, value.astype(dtype))
        return name

    def shape(self, index: int) -> tuple[int, ...]:
        """Return a tensor's shape in the step graph."""
        return self.model.graph.tensors[index].shape

    def kind(self, index: int) -> int:
        """Return the ONNX number of a tensor's dtype."""
        dtype = np.dtype(self.model.graph.tensors[index].dtype)
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(dtype))

    def integers(self, index: int) -> list[int]:
        """Read a constant that holds axes or sizes."""
        return [int(number) for number in self.step.constants[index].reshape(-1)]

    def constant(self, values: Any, dtype: Any) -> str:
        """Add an initializer and return its name."""
        return self._keep(self._fresh(), np.array(values, dtype))

    def add(
        self, kind: str, inputs: Sequence[str], output: str | None = None, **attributes: Any
    ) -> str:
        """Add a node with one output and return the output's name."""
        output = output or self._fresh()
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def add_activated(
        self, operator: Operator, kind: str, inputs: Sequence[str], **attributes: Any
    ) -> None:
        """Add a node, and the operator's fused activation after it."""
        activation = ACTIVATIONS[int(operator.options["activation"])]
        output = self.name(operator.outputs[0])
        if activation == "NONE":
            self.add(kind, inputs, output, **attributes)
            return
        result = self.add(kind, inputs, **attributes)
        name, *limits = ACTIVATION_NODES[activation]
        self.add(name, [result, *(self.constant(v, np.float32) for v in limits)], output)

    def reshaped(self, name: str, shape: Sequence[int], output: str | None = None) -> str:
        """Add a reshape and return the name of its output."""
        return self.add("Reshape", [name, self.constant(shape, np.int64)], output)

    def graph(self) -> Any:
        """Return the whole graph."""
        helper = self.onnx.helper
        for index in set(self.inputs) & set(self.outputs):  # passed on as it came
            self.add("Identity", [self.inputs[index]], self.outputs[index])

        def described(tensors: Mapping[int, str]) -> list[Any]:
            return [
                helper.make_tensor_value_info(name, self.kind(index), self.shape(index))
                for index, name in sorted(tensors.items(), key=lambda it: self._order.index(it[1]))
            ]

        return helper.make_graph(
            self.nodes,
            STEP_SIGNATURE,
            described(self.inputs),
            described(self.outputs),
            list(self.initializers.values()),
        )

    def _keep(self, name: str, values: Array) -> str:
        self.initializers[name] = self.onnx.numpy_helper.from_array(values, name)
        return name

    def _fresh(self) -> str:
        self._count += 1
        return f"value/{self._count}"
