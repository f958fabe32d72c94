"""Edit a TFLite flatbuffer; the only file that knows the schema's tree of objects.

:func:`device_runner.model.flatbuffer.read_graph` reads and checks a flatbuffer; tensors and
operators have the same numbers here. A flatbuffer that this module wrote is written again byte by
byte if nothing is changed.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from device_runner.model.tflite_schema import OPERATOR_NAMES

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
# The largest number that the schema's old field for an operator holds.
LARGEST_OLD_CODE = 127


def _schema() -> Any:
    # Imported here: the schema's module is long, and most commands change no flatbuffer.
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


class TfliteEditor:
    """A TFLite flatbuffer whose parts can be changed.

    Every method works on the first subgraph, that of the step.

    Args:
        flatbuffer: a sound TFLite model.

    Attributes:
        tree: the schema's ``ModelT``, for changes that have no method here; only tests need it.

    Example:
        >>> from device_runner.model.flatbuffer import read_graph
        >>> from device_runner.model.step_file import load_step_model
        >>> editor = TfliteEditor(load_step_model("gru-int8.tflite").flatbuffer)
        >>> editor.raise_versions({"TANH": 3})
        >>> dict(read_graph(editor.flatbuffer()).operator_codes)["TANH"]
        3
    """

    def __init__(self, flatbuffer: bytes) -> None:
        schema = _schema()
        self.tree: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer, 0))
        # A model above a megabyte may have its weights after the flatbuffer. They move when it is
        # written again, so they are taken in.
        for buffer in self.tree.buffers:
            if buffer.offset > 1:
                buffer.data = np.frombuffer(flatbuffer, np.uint8, buffer.size, buffer.offset)
                buffer.offset = buffer.size = 0

    def flatbuffer(self) -> bytes:
        """Write the flatbuffer as it is now."""
        return _written(self.tree)

    def raise_versions(self, versions: Mapping[str, int]) -> None:
        """Give each operator at least the version under its name, or 1."""
        for code in self.tree.operatorCodes:
            name = OPERATOR_NAMES[code.builtinCode]
            code.version = max(code.version, versions.get(name, 1))

    def set_constant(self, index: int, values: NDArray[Any]) -> None:
        """Give one constant other values, in its dtype and shape.

        Equal constants may share a buffer; the others keep their values."""
        tensors = self.tree.subgraphs[0].tensors
        tensor = tensors[index]
        if sum(tensor.buffer == other.buffer for other in tensors) > 1:
            tensor.buffer = self._add_buffer(values)
        else:
            self.tree.buffers[tensor.buffer].data = _as_bytes(values)

    def drop_operators(self, positions: Collection[int], replaced: Mapping[int, int]) -> None:
        """Remove operators, and the operator codes that are then unused.

        Args:
            positions: the operators' positions in the graph.
            replaced: maps a tensor to the one that the other operators read in its place.
        """
        graph = self.tree.subgraphs[0]
        kept = [one for place, one in enumerate(graph.operators) if place not in positions]
        for operator in kept:
            operator.inputs = _renamed(operator.inputs, replaced)
        graph.operators = kept
        used = sorted({operator.opcodeIndex for operator in kept})
        self.tree.operatorCodes = [self.tree.operatorCodes[index] for index in used]
        for operator in kept:
            operator.opcodeIndex = used.index(operator.opcodeIndex)

    def add_copy(self, source: int, name: str) -> int:
        """Append a RESHAPE of a float32 tensor to its own shape.

        Args:
            source: the tensor to copy.
            name: prefix of the new tensors' names.

        Returns:
            The index of the copy.
        """
        schema, graph = _schema(), self.tree.subgraphs[0]
        original = graph.tensors[source]
        shape = np.array(original.shape, np.int32)
        sizes = _tensor(f"{name}/shape", schema.TensorType.INT32, [len(shape)])
        sizes.buffer = self._add_buffer(shape)
        graph.tensors += [sizes, _tensor(f"{name}/own", original.type, shape)]
        index = len(graph.tensors) - 1
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(OPERATOR_NAMES.index("RESHAPE"))
        operator.inputs = np.array([source, index - 1], np.int32)
        operator.outputs = np.array([index], np.int32)
        operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
        operator.builtinOptions = schema.ReshapeOptionsT()
        operator.builtinOptions.newShape = shape
        graph.operators.append(operator)
        return index

    def read_instead(self, position: int, replaced: Mapping[int, int]) -> None:
        """Let one operator read other tensors.

        Args:
            position: the operator's position in the graph.
            replaced: maps a tensor to the one that it reads in its place.
        """
        operator = self.tree.subgraphs[0].operators[position]
        operator.inputs = _renamed(operator.inputs, replaced)

    def set_float(self, index: int) -> None:
        """Make a quantized tensor one of float32."""
        tensor = self.tree.subgraphs[0].tensors[index]
        tensor.type, tensor.quantization = _schema().TensorType.FLOAT32, None

    def set_outputs(self, outputs: Mapping[str, int]) -> None:
        """Set the tensors that the first subgraph's signature gives.

        Args:
            outputs: a tensor for each of the signature's outputs, by name.
        """
        signature = next(item for item in self.tree.signatureDefs if item.subgraphIndex == 0)
        for item in signature.outputs:
            item.tensorIndex = outputs[item.name.decode()]
        self.tree.subgraphs[0].outputs = _indices(item.tensorIndex for item in signature.outputs)

    def add_part(
        self,
        key: str,
        operators: Sequence[int],
        replaced: Mapping[int, int],
        inputs: Mapping[str, int],
        outputs: Mapping[str, int],
    ) -> None:
        """Append a subgraph of some of the first one's operators, with a signature of its own.

        Args:
            key: name of both.
            operators: positions in the first subgraph, in the order of computation.
            replaced: maps a tensor of the first subgraph to the one that is read in its place.
            inputs, outputs: tensors of the first subgraph by name. Those in use keep their order;
                constants share their buffers.
        """
        graph = self.tree.subgraphs[0]
        chosen = [copy.copy(graph.operators[position]) for position in operators]
        for operator in chosen:
            operator.inputs = _renamed(operator.inputs, replaced)
        read = {int(i) for one in chosen for i in (*one.inputs, *one.outputs) if i >= 0}
        kept = sorted(read | {*inputs.values(), *outputs.values()})
        place = {index: position for position, index in enumerate(kept)}
        for operator in chosen:
            operator.inputs = _renamed(operator.inputs, place)
            operator.outputs = _renamed(operator.outputs, place)
        subgraph = _schema().SubGraphT()
        subgraph.name = key.encode()
        # Tensors refer to buffers by number, so the buffers are shared.
        subgraph.tensors = [graph.tensors[index] for index in kept]
        subgraph.operators = chosen
        subgraph.inputs = _indices(place[index] for index in inputs.values())
        subgraph.outputs = _indices(place[index] for index in outputs.values())
        self.tree.subgraphs.append(subgraph)
        self._add_signature(
            key,
            len(self.tree.subgraphs) - 1,
            {name: place[index] for name, index in inputs.items()},
            {name: place[index] for name, index in outputs.items()},
        )

    def set_signature(
        self, key: str, inputs: Mapping[str, int], outputs: Mapping[str, int]
    ) -> None:
        """Give the first subgraph this signature, and drop all existing ones."""
        self.tree.signatureDefs = []
        self._add_signature(key, 0, inputs, outputs)

    def _add_signature(
        self, key: str, subgraph: int, inputs: Mapping[str, int], outputs: Mapping[str, int]
    ) -> None:
        signature = _schema().SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = key.encode(), subgraph
        signature.inputs, signature.outputs = _tensor_maps(inputs), _tensor_maps(outputs)
        self.tree.signatureDefs.append(signature)

    def _add_buffer(self, values: NDArray[Any]) -> int:
        buffer = _schema().BufferT()
        buffer.data = _as_bytes(values)
        self.tree.buffers.append(buffer)
        return len(self.tree.buffers) - 1

    def _code(self, number: int) -> int:
        """Return the position of an operator's code, which is added if missing."""
        for index, code in enumerate(self.tree.operatorCodes):
            if code.builtinCode == number:
                return index
        self.tree.operatorCodes.append(_operator_code(number, 1))
        return len(self.tree.operatorCodes) - 1


def naming_model(codes: Iterable[tuple[int, int]], use: bool = False) -> bytes:
    """Make a TFLite file that names operators without computing anything.

    Args:
        codes: schema number and version of each operator.
        use: whether the graph also has one operator of each.
    """
    schema = _schema()
    model = schema.ModelT()
    model.version = SCHEMA_VERSION
    model.operatorCodes = [_operator_code(number, version) for number, version in codes]
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs = [_tensor("x", 0, [1, 1])], [0], [0]
    graph.operators = []
    for index in range(len(model.operatorCodes) if use else 0):
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = index, [0], [0]
        graph.operators.append(operator)
    model.subgraphs, model.buffers = [graph], [schema.BufferT()]
    return _written(model)


def _written(tree: Any) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(tree.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


def _operator_code(number: int, version: int) -> Any:
    code = _schema().OperatorCodeT()
    code.deprecatedBuiltinCode = min(number, LARGEST_OLD_CODE)
    code.builtinCode, code.version = number, version
    return code


def _tensor(name: str, kind: int, shape: Any) -> Any:
    tensor = _schema().TensorT()
    tensor.name, tensor.type, tensor.shape = name.encode(), kind, np.array(shape, np.int32)
    # Buffer 0 is empty by the schema's rule.
    tensor.buffer = 0
    return tensor


def _tensor_maps(tensors: Mapping[str, int]) -> list[Any]:
    items = []
    for name, index in tensors.items():
        item = _schema().TensorMapT()
        item.name, item.tensorIndex = name.encode(), index
        items.append(item)
    return items


def _renamed(tensors: Iterable[int], names: Mapping[int, int]) -> NDArray[np.int32]:
    return _indices(names.get(int(index), int(index)) for index in tensors)


def _indices(tensors: Iterable[int]) -> NDArray[np.int32]:
    return np.array([int(index) for index in tensors], np.int32)


def _as_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.frombuffer(values.tobytes(), np.uint8)
