"""A float32 step model as ONNX, for runtimes other than TFLite's.

ONNX has no separate names for what goes in and what comes out. So the rule is: inputs and outputs
(``x``, ``y``) by their names, states that go in by theirs (``h``), states that come out by their
names with ``_out`` (``h_out``).
Shapes and dtypes are the step model's. The metadata property ``model_sha256`` says which step
model the file was made from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from convert.errors import NotExportableError
from device_runner.atomic_write import write_atomically
from device_runner.backends.onnxruntime import HASH_PROPERTY, NAME, state_output_name
from device_runner.backends.reference import StepGraph
from device_runner.errors import MissingRuntimeError
from device_runner.model.flatbuffer import Operator
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.model.tflite_schema import ACTIVATIONS
from device_runner.operators.shapes import strided_slice_parts
from device_runner.stream import Stream
from device_runner.verify import Verification, verify

# ONNX 1.13 (2022): old enough for the ONNX Runtimes in use, new enough for all that is needed.
OPSET = 18
IR_VERSION = 8
# As an end of a slice that runs backwards: beyond the first element.
BEFORE_THE_FIRST = np.iinfo(np.int64).min


def export_onnx(model: StepModel, path: Path) -> Verification:
    """Write a step model as ONNX, after it was stepped through the golden sequences in ONNX
    Runtime.

    Args:
        model: a float32 step model.
        path: the file to write; for the onnxruntime backend it must be the model's own path with
            the suffix .onnx.

    Returns:
        The error against the float model.

    Raises:
        NotExportableError: it is not float32, or has an operator without an entry in LOWERINGS.
        BadModelError: its graph is damaged or has an operator that is not known.
        MissingRuntimeError: onnx or onnxruntime is not installed.
        VerificationError: ONNX Runtime computes something else than the float model.
    """
    data = to_onnx(model)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, "draft.onnx")
        draft.write_bytes(data)
        verification = verify(Stream(replace(model, path=draft.with_suffix(".tflite")), NAME))
    if verification.failure:
        raise verification.error(path)
    write_atomically(path, data)
    return verification


def to_onnx(model: StepModel) -> bytes:
    """The bytes of the ONNX model; errors as :func:`export_onnx`."""
    onnx = _onnx()
    graph = model.graph
    used = {index for op in graph.operators for index in (*op.inputs, *op.outputs) if index >= 0}
    others = {graph.tensors[index].dtype for index in used} - {"float32", "int32", "int64"}
    if others or any(graph.tensors[index].scales for index in used):
        raise NotExportableError(
            f"{model.path} has the scheme {model.contract.scheme}; "
            "ONNX is made of float32 step models: export the network as float32"
        )
    lowering = _Lowering(onnx, model)
    for operator in graph.operators:
        if operator.name not in LOWERINGS:
            raise NotExportableError(
                f"{model.path}: operator {operator.name} has no ONNX form here; "
                "add it to convert/exporters/onnx.py"
            )
        LOWERINGS[operator.name](lowering, operator)
    made = onnx.helper.make_model(
        lowering.graph(),
        producer_name="edgestep",
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.helper.set_model_props(made, {HASH_PROPERTY: model.sha256})
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingRuntimeError(
            f"onnx is not usable ({error}); install it with 'pip install edgestep[onnx]'"
        ) from error
    return onnx


class _Lowering:
    """An ONNX graph in the making; tensors of the step graph are named by :meth:`name`."""

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
        border = [*self.inputs.values(), *self.outputs.values()]
        if len(set(border)) < len(border) or any("/" in name for name in border):
            raise NotExportableError(
                f"{model.path}: inputs and outputs would be called {', '.join(border)} in ONNX, "
                "which is ambiguous; rename the states"
            )

    def name(self, index: int) -> str:
        """The ONNX name of a tensor; a constant becomes an initializer at its first use."""
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
        return self.model.graph.tensors[index].shape

    def kind(self, index: int) -> int:
        """The ONNX number of a tensor's dtype."""
        dtype = np.dtype(self.model.graph.tensors[index].dtype)
        return self.onnx.helper.np_dtype_to_tensor_dtype(dtype)

    def integers(self, index: int) -> list[int]:
        """A constant of axes or sizes."""
        return [int(number) for number in self.step.constants[index].reshape(-1)]

    def constant(self, values: Any, dtype: Any) -> str:
        """A further initializer."""
        return self._keep(self._fresh(), np.array(values, dtype))

    def add(self, kind: str, inputs: Sequence[str], output: str | None = None, **attributes) -> str:
        """A node with one output, which is named where that is not given."""
        output = output or self._fresh()
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def add_activated(
        self, operator: Operator, kind: str, inputs: Sequence[str], **attributes
    ) -> None:
        """A node whose output is the operator's, after the activation that is fused into it."""
        activation = ACTIVATIONS[int(operator.options["activation"])]
        output = self.name(operator.outputs[0])
        if activation == "NONE":
            self.add(kind, inputs, output, **attributes)
            return
        result = self.add(kind, inputs, **attributes)
        name, *limits = ACTIVATION_NODES[activation]
        self.add(name, [result, *(self.constant(v, np.float32) for v in limits)], output)

    def reshaped(self, name: str, shape: Sequence[int], output: str | None = None) -> str:
        return self.add("Reshape", [name, self.constant(shape, np.int64)], output)

    def graph(self) -> Any:
        """The whole graph."""
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

    def _keep(self, name: str, values: np.ndarray) -> str:
        self.initializers[name] = self.onnx.numpy_helper.from_array(values, name)
        return name

    def _fresh(self) -> str:
        self._count += 1
        return f"value/{self._count}"


ACTIVATION_NODES: dict[str, tuple[Any, ...]] = {
    "RELU": ("Relu",),
    "RELU_N1_TO_1": ("Clip", -1.0, 1.0),
    "RELU6": ("Clip", 0.0, 6.0),
    "TANH": ("Tanh",),
}

Lower = Callable[[_Lowering, Operator], None]


def _same(kind: str) -> Lower:
    """An operator that ONNX has under another name."""

    def lower(to: _Lowering, operator: Operator) -> None:
        to.add(kind, [to.name(index) for index in operator.inputs], to.name(operator.outputs[0]))

    return lower


def _activated(kind: str) -> Lower:
    def lower(to: _Lowering, operator: Operator) -> None:
        to.add_activated(operator, kind, [to.name(index) for index in operator.inputs])

    return lower


def _fully_connected(to: _Lowering, operator: Operator) -> None:
    x, weights, *bias = (index for index in operator.inputs if index >= 0)
    _, width = to.shape(weights)
    name = to.name(x)
    if len(to.shape(x)) != 2 or to.shape(x)[1] != width:
        name = to.reshaped(name, (-1, width))
    operands = [name, to.name(weights), *(to.name(index) for index in bias)]
    (output,) = operator.outputs
    if len(to.shape(output)) == 2:
        to.add_activated(operator, "Gemm", operands, transB=1)
        return
    # The activation acts on each value alone: it may as well come after the new shape.
    to.add_activated(
        operator,
        "Reshape",
        [to.add("Gemm", operands, transB=1), to.constant(to.shape(output), np.int64)],
    )


def _gather(to: _Lowering, operator: Operator) -> None:
    if operator.options["batch_dims"]:
        raise NotExportableError(
            f"{to.model.path}: GATHER within a batch has no ONNX form here; "
            "add it to convert/exporters/onnx.py"
        )
    names = [to.name(index) for index in operator.inputs]
    output = to.name(operator.outputs[0])
    to.add("Gather", names, output, axis=int(operator.options["axis"]))


def _batch_matmul(to: _Lowering, operator: Operator) -> None:
    operands = []
    for index, adjoint in zip(operator.inputs, ("adj_x", "adj_y"), strict=True):
        name = to.name(index)
        if operator.options[adjoint]:
            *order, last, before = range(len(to.shape(index)))
            name = to.add("Transpose", [name], perm=[*order, before, last])
        operands.append(name)
    to.add("MatMul", operands, to.name(operator.outputs[0]))


def _split(to: _Lowering, operator: Operator) -> None:
    axis_index, x = operator.inputs
    (axis,) = to.integers(axis_index)
    sizes = [to.shape(index)[axis] for index in operator.outputs]
    node = to.onnx.helper.make_node(
        "Split",
        [to.name(x), to.constant(sizes, np.int64)],
        [to.name(index) for index in operator.outputs],
        axis=axis,
    )
    to.nodes.append(node)


def _concatenation(to: _Lowering, operator: Operator) -> None:
    names = [to.name(index) for index in operator.inputs]
    to.add_activated(operator, "Concat", names, axis=int(operator.options["axis"]))


def _reduce(kind: str) -> Lower:
    def lower(to: _Lowering, operator: Operator) -> None:
        x, axes = operator.inputs
        to.add(
            kind,
            [to.name(x), to.constant(to.integers(axes), np.int64)],
            to.name(operator.outputs[0]),
            keepdims=int(operator.options["keep_dims"]),
            noop_with_empty_axes=1,
        )

    return lower


def _reshape(to: _Lowering, operator: Operator) -> None:
    (output,) = operator.outputs
    to.reshaped(to.name(operator.inputs[0]), to.shape(output), to.name(output))


def _transpose(to: _Lowering, operator: Operator) -> None:
    x, order = operator.inputs
    to.add("Transpose", [to.name(x)], to.name(operator.outputs[0]), perm=to.integers(order))


def _slice(to: _Lowering, operator: Operator) -> None:
    begins, sizes = operator.inputs[1:]
    parts = [
        slice(begin, None if size == -1 else begin + size)
        for begin, size in zip(to.integers(begins), to.integers(sizes), strict=True)
    ]
    _add_slice(to, operator, parts)


def _strided_slice(to: _Lowering, operator: Operator) -> None:
    limits = [to.integers(index) for index in operator.inputs[1:]]
    parts = [
        # The one index of an axis that is removed, as a slice; the new shape removes the axis.
        slice(part, part + 1 or None) if isinstance(part, int) else part
        for part in strided_slice_parts(operator, *limits)
    ]
    _add_slice(to, operator, parts)


def _add_slice(to: _Lowering, operator: Operator, parts: Sequence[slice]) -> None:
    x, (output,) = operator.inputs[0], operator.outputs
    # strict=False: of the axes that are not named all is taken.
    ranges = [part.indices(n) for part, n in zip(parts, to.shape(x), strict=False)]
    starts, ends, steps = zip(*ranges, strict=True)
    operands = [
        starts,
        [BEFORE_THE_FIRST if end < 0 else end for end in ends],
        range(len(ranges)),
        steps,
    ]
    sliced = to.add("Slice", [to.name(x), *(to.constant(v, np.int64) for v in operands)])
    to.reshaped(sliced, to.shape(output), to.name(output))


def _rsqrt(to: _Lowering, operator: Operator) -> None:
    root = to.add("Sqrt", [to.name(operator.inputs[0])])
    to.add("Reciprocal", [root], to.name(operator.outputs[0]))


def _softmax(to: _Lowering, operator: Operator) -> None:
    beta = to.constant(operator.options["beta"], np.float32)
    scaled = to.add("Mul", [to.name(operator.inputs[0]), beta])
    to.add("Softmax", [scaled], to.name(operator.outputs[0]), axis=-1)


def _leaky_relu(to: _Lowering, operator: Operator) -> None:
    alpha = float(operator.options["alpha"])
    to.add("LeakyRelu", [to.name(operator.inputs[0])], to.name(operator.outputs[0]), alpha=alpha)


def _relu6(to: _Lowering, operator: Operator) -> None:
    limits = [to.constant(limit, np.float32) for limit in (0.0, 6.0)]
    to.add("Clip", [to.name(operator.inputs[0]), *limits], to.name(operator.outputs[0]))


# As OPERATORS of the reference backend, but for those that only quantized graphs have.
LOWERINGS: dict[str, Lower] = {
    "ADD": _activated("Add"),
    "BATCH_MATMUL": _batch_matmul,
    "CONCATENATION": _concatenation,
    "DIV": _activated("Div"),
    "EXP": _same("Exp"),
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "LEAKY_RELU": _leaky_relu,
    "LOGISTIC": _same("Sigmoid"),
    "MAXIMUM": _same("Max"),
    "MEAN": _reduce("ReduceMean"),
    "MINIMUM": _same("Min"),
    "MUL": _activated("Mul"),
    "NEG": _same("Neg"),
    "RELU": _same("Relu"),
    "RELU6": _relu6,
    "RESHAPE": _reshape,
    "RSQRT": _rsqrt,
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "SPLIT": _split,
    "SQRT": _same("Sqrt"),
    "STRIDED_SLICE": _strided_slice,
    "SUB": _activated("Sub"),
    "SUM": _reduce("ReduceSum"),
    "TANH": _same("Tanh"),
    "TRANSPOSE": _transpose,
}
