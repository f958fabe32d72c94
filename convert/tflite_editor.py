"""Edit a TFLite flatbuffer; with tflite_objects the only file that knows the schema's objects.

:func:`device_runner.model.flatbuffer.read_graph` reads and checks a flatbuffer; tensors and
operators have the same numbers here. A flatbuffer that this module wrote is written again byte by
byte if nothing is changed.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.tflite_objects import (
    as_bytes,
    index_array,
    new_tensor,
    operator_code,
    referred_subgraphs,
    renamed,
    schema_module,
    tensor_maps,
    written,
)
from device_runner.model.tflite_schema import OPERATOR_NAMES


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
        schema = schema_module()
        self.tree: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer, 0))
        # Files of converters before TensorFlow 2.4 have the old field alone.
        for code in self.tree.operatorCodes:
            code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
        # A model above a megabyte may have its weights after the flatbuffer. They move when it is
        # written again, so they are taken in.
        for buffer in self.tree.buffers:
            if buffer.offset > 1:
                buffer.data = np.frombuffer(flatbuffer, np.uint8, buffer.size, buffer.offset)
                buffer.offset = buffer.size = 0

    def flatbuffer(self) -> bytes:
        """Write the flatbuffer as it is now."""
        return written(self.tree)

    def raise_versions(self, versions: Mapping[str, int]) -> None:
        """Give each operator at least the version under its name, or 1."""
        for code in self.tree.operatorCodes:
            name = OPERATOR_NAMES[code.builtinCode]
            code.version = max(code.version, versions.get(name, 1))

    def store_alike(self, target: int, source: int) -> None:
        """Give a tensor of the first subgraph the dtype, scale and zero point of another one."""
        tensors = self.tree.subgraphs[0].tensors
        tensors[target].type = tensors[source].type
        tensors[target].quantization = tensors[source].quantization

    def set_constant(self, index: int, values: NDArray[Any]) -> None:
        """Give one constant other values, in its dtype and shape.

        Equal constants may share a buffer; the others keep their values."""
        tensors = self.tree.subgraphs[0].tensors
        tensor = tensors[index]
        if sum(tensor.buffer == other.buffer for other in tensors) > 1:
            tensor.buffer = self._add_buffer(values)
        else:
            self.tree.buffers[tensor.buffer].data = as_bytes(values)

    def drop_operators(self, positions: Collection[int], replaced: Mapping[int, int]) -> None:
        """Remove operators, and the operator codes that are then unused.

        Args:
            positions: the operators' positions in the graph.
            replaced: maps a tensor to the one that the other operators read in its place.
        """
        graph = self.tree.subgraphs[0]
        kept = [one for place, one in enumerate(graph.operators) if place not in positions]
        for operator in kept:
            operator.inputs = renamed(operator.inputs, replaced)
        graph.operators = kept
        everything = [one for part in self.tree.subgraphs for one in part.operators or []]
        used = sorted({operator.opcodeIndex for operator in everything})
        self.tree.operatorCodes = [self.tree.operatorCodes[index] for index in used]
        for operator in everything:
            operator.opcodeIndex = used.index(operator.opcodeIndex)

    def add_copy(self, source: int, name: str) -> int:
        """Append a RESHAPE of a float32 tensor to its own shape.

        Args:
            source: the tensor to copy.
            name: prefix of the new tensors' names.

        Returns:
            The index of the copy.
        """
        schema, graph = schema_module(), self.tree.subgraphs[0]
        original = graph.tensors[source]
        shape = np.array(original.shape, np.int32)
        sizes = new_tensor(f"{name}/shape", schema.TensorType.INT32, [len(shape)])
        sizes.buffer = self._add_buffer(shape)
        graph.tensors += [sizes, new_tensor(f"{name}/own", original.type, shape)]
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
        operator.inputs = renamed(operator.inputs, replaced)

    def read_at(self, position: int, place: int, index: int) -> None:
        """Let one operator read a tensor in one place of its inputs."""
        operator = self.tree.subgraphs[0].operators[position]
        inputs = list(operator.inputs)
        operator.inputs = index_array([*inputs[:place], index, *inputs[place + 1 :]])

    def set_float(self, index: int) -> None:
        """Make a quantized tensor one of float32."""
        tensor = self.tree.subgraphs[0].tensors[index]
        tensor.type, tensor.quantization = schema_module().TensorType.FLOAT32, None

    def set_outputs(self, outputs: Mapping[str, int]) -> None:
        """Set the tensors that the first subgraph's signature gives, by their names there."""
        signature = next(item for item in self.tree.signatureDefs if item.subgraphIndex == 0)
        for item in signature.outputs:
            item.tensorIndex = outputs[item.name.decode()]
        self.tree.subgraphs[0].outputs = index_array(item.tensorIndex for item in signature.outputs)

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
            operator.inputs = renamed(operator.inputs, replaced)
        read = {int(i) for one in chosen for i in (*one.inputs, *one.outputs) if i >= 0}
        kept = sorted(read | {*inputs.values(), *outputs.values()})
        place = {index: position for position, index in enumerate(kept)}
        for operator in chosen:
            operator.inputs = renamed(operator.inputs, place)
            operator.outputs = renamed(operator.outputs, place)
        subgraph = schema_module().SubGraphT()
        subgraph.name = key.encode()
        # Tensors refer to buffers by number, so the buffers are shared.
        subgraph.tensors = [graph.tensors[index] for index in kept]
        subgraph.operators = chosen
        subgraph.inputs = index_array(place[index] for index in inputs.values())
        subgraph.outputs = index_array(place[index] for index in outputs.values())
        self.tree.subgraphs.append(subgraph)
        self._add_signature(
            key,
            len(self.tree.subgraphs) - 1,
            {name: place[index] for name, index in inputs.items()},
            {name: place[index] for name, index in outputs.items()},
        )

    def begin_with(self, number: int) -> None:
        """Make a subgraph the first one, and drop those that it does not refer to."""
        graphs = self.tree.subgraphs
        kept, pending = [number], [number]
        while pending:
            for operator in graphs[pending.pop()].operators or []:
                for other in referred_subgraphs(operator).values():
                    if other not in kept:
                        kept.append(other)
                        pending.append(other)
        place = {old: new for new, old in enumerate(kept)}
        self.tree.subgraphs = [graphs[old] for old in kept]
        for graph in self.tree.subgraphs:
            for operator in graph.operators or []:
                for field, other in referred_subgraphs(operator).items():
                    setattr(operator.builtinOptions, field, place[other])
        self.tree.signatureDefs = []

    def subgraphs_of(self, position: int) -> dict[str, int]:
        """Return the subgraphs that an operator refers to, by the name of the options' field."""
        return referred_subgraphs(self.tree.subgraphs[0].operators[position])

    def variables(self, number: int) -> dict[int, str]:
        """Name the variables of a subgraph by the tensors that hold their handles."""
        graph = self.tree.subgraphs[number]
        found = {}
        for operator in graph.operators or []:
            if self._name_of(operator) == "VAR_HANDLE":
                options = operator.builtinOptions
                parts = (options.container, options.sharedName)
                found[int(operator.outputs[0])] = "/".join((part or b"").decode() for part in parts)
        return found

    def options_of(self, position: int) -> dict[str, Any]:
        """Return an operator's options by the schema's names; empty if it has none."""
        options = self.tree.subgraphs[0].operators[position].builtinOptions
        return {} if options is None else dict(vars(options))

    def set_shapes(self, shapes: Mapping[int, Sequence[int]]) -> None:
        """Give tensors a fixed shape."""
        for index, shape in shapes.items():
            tensor = self.tree.subgraphs[0].tensors[index]
            tensor.shape, tensor.shapeSignature = np.array(shape, np.int32), None

    def make_constant(self, index: int, values: NDArray[Any]) -> None:
        """Give a tensor that was computed or handed in these values."""
        tensor = self.tree.subgraphs[0].tensors[index]
        tensor.buffer, tensor.isVariable = self._add_buffer(values), False

    def rename_tensors(self, names: Mapping[int, str]) -> None:
        """Give tensors of the first subgraph other names."""
        for index, name in names.items():
            self.tree.subgraphs[0].tensors[index].name = name.encode()

    def drop_unused(self) -> None:
        """Remove the first subgraph's tensors that nothing uses, and let no two share a buffer.

        A quantizer changes constants in their buffers."""
        graph = self.tree.subgraphs[0]
        lists = [part for one in graph.operators for part in (one.inputs, one.outputs)]
        maps = [item for one in self.tree.signatureDefs for item in (*one.inputs, *one.outputs)]
        used = {int(index) for part in (*lists, graph.inputs, graph.outputs) for index in part}
        kept = sorted(index for index in used if index >= 0)
        place = {index: position for position, index in enumerate(kept)}
        graph.tensors = [graph.tensors[index] for index in kept]
        for operator in graph.operators:
            operator.inputs = renamed(operator.inputs, place)
            operator.outputs = renamed(operator.outputs, place)
        graph.inputs, graph.outputs = renamed(graph.inputs, place), renamed(graph.outputs, place)
        for item in maps:
            item.tensorIndex = place[item.tensorIndex]
        buffers: list[Any] = [self.tree.buffers[0]]
        for tensor in graph.tensors:
            content = copy.copy(self.tree.buffers[tensor.buffer])
            tensor.buffer = len(buffers)
            buffers.append(content)
        self.tree.buffers, self.tree.metadata = buffers, None

    def make_plain(self, index: int) -> None:
        """Make a tensor that a runtime kept from step to step one that is handed in."""
        self.tree.subgraphs[0].tensors[index].isVariable = False

    def add_tensor(
        self, name: str, shape: Sequence[int], like: int, values: NDArray[Any] | None = None
    ) -> int:
        """Append a tensor of another one's dtype, constant if it has values.

        ``like`` is a tensor of the first subgraph; its quantization is taken over, too. Returns the
        new tensor's index.
        """
        graph = self.tree.subgraphs[0]
        tensor = new_tensor(name, graph.tensors[like].type, shape)
        tensor.quantization = graph.tensors[like].quantization
        if values is not None:
            tensor.buffer = self._add_buffer(values)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    def add_indices(self, name: str, values: Sequence[int] | int) -> int:
        """Append an int32 constant; return its index."""
        tensor = new_tensor(name, schema_module().TensorType.INT32, np.shape(values))
        tensor.buffer = self._add_buffer(np.array(values, np.int32))
        self.tree.subgraphs[0].tensors.append(tensor)
        return len(self.tree.subgraphs[0].tensors) - 1

    def insert_operator(
        self,
        position: int,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Insert an operator of version 1 before the one at ``position``.

        ``options`` are the schema's table, such as "SplitOptions", and its fields.
        """
        schema, operator = schema_module(), schema_module().OperatorT()
        operator.opcodeIndex = self._code(OPERATOR_NAMES.index(name))
        operator.inputs, operator.outputs = index_array(inputs), index_array(outputs)
        if options is not None:
            kind, fields = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(schema, f"{kind}T")()
            for field, value in fields.items():
                setattr(operator.builtinOptions, field, value)
        self.tree.subgraphs[0].operators.insert(position, operator)

    def inline(self, position: int, number: int, arguments: Sequence[int]) -> list[int]:
        """Insert a subgraph's operators before ``position`` of the first.

        Args:
            arguments: the first subgraph's tensors for the subgraph's inputs.

        Returns:
            The first subgraph's tensors for the subgraph's outputs.
        """
        graph, inner = (self.tree.subgraphs[which] for which in (0, number))
        place = dict(zip(map(int, inner.inputs), arguments, strict=True))
        for index, original in enumerate(inner.tensors):
            if index not in place:
                tensor = copy.copy(original)
                tensor.name = f"{(tensor.name or b'').decode()}/{len(graph.tensors)}".encode()
                place[index] = len(graph.tensors)
                graph.tensors.append(tensor)
        inlined = [copy.copy(operator) for operator in inner.operators]
        for operator in inlined:
            operator.inputs = renamed(operator.inputs, place)
            operator.outputs = renamed(operator.outputs, place)
        graph.operators[position:position] = inlined
        return [place[int(index)] for index in inner.outputs]

    def rename_outputs(self, replaced: Mapping[int, int]) -> None:
        """Let the first subgraph give other tensors in place of some outputs."""
        graph = self.tree.subgraphs[0]
        graph.outputs = renamed(graph.outputs, replaced)

    def set_ports(self, inputs: Mapping[str, int], outputs: Mapping[str, int], key: str) -> None:
        """Set the first subgraph's inputs and outputs, and give it a signature of its own."""
        graph = self.tree.subgraphs[0]
        graph.inputs, graph.outputs = index_array(inputs.values()), index_array(outputs.values())
        self.set_signature(key, inputs, outputs)

    def _name_of(self, operator: Any) -> str:
        return OPERATOR_NAMES[self.tree.operatorCodes[operator.opcodeIndex].builtinCode]

    def set_signature(
        self, key: str, inputs: Mapping[str, int], outputs: Mapping[str, int]
    ) -> None:
        """Give the first subgraph this signature, and drop all existing ones."""
        self.tree.signatureDefs = []
        self._add_signature(key, 0, inputs, outputs)

    def _add_signature(
        self, key: str, subgraph: int, inputs: Mapping[str, int], outputs: Mapping[str, int]
    ) -> None:
        signature = schema_module().SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = key.encode(), subgraph
        signature.inputs, signature.outputs = tensor_maps(inputs), tensor_maps(outputs)
        self.tree.signatureDefs.append(signature)

    def _add_buffer(self, values: NDArray[Any]) -> int:
        buffer = schema_module().BufferT()
        buffer.data = as_bytes(values)
        self.tree.buffers.append(buffer)
        return len(self.tree.buffers) - 1

    def _code(self, number: int) -> int:
        """Return the position of an operator's code, which is added if missing."""
        for index, code in enumerate(self.tree.operatorCodes):
            if code.builtinCode == number:
                return index
        self.tree.operatorCodes.append(operator_code(number, 1))
        return len(self.tree.operatorCodes) - 1
