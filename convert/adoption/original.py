"""Step a TFLite file as it is, on LiteRT: the reference that its step model is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.adoption.explicit import ExplicitStep
from convert.errors import SourceModelError
from device_runner.errors import one_line
from device_runner.model.flatbuffer import Graph, read_graph
from device_runner.model.golden import Golden
from device_runner.model.tensor_spec import TensorSpec

ByName = Mapping[str, NDArray[Any]]


class OriginalFile:
    """A TFLite file in LiteRT's interpreter, whose states are handed on from call to call.

    Args:
        data: the file.
        step: what was made of it, which names its inputs, outputs and states.
    """

    def __init__(self, data: bytes, step: ExplicitStep) -> None:
        self.data, self.step = data, step
        self.graph: Graph = read_graph(data, step.ports.subgraph)

    def run(
        self, sequence: ByName, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> dict[str, NDArray[np.float32]]:
        """Step through a sequence from the beginning.

        Args:
            sequence: by the step's input, [steps, *frame shape] in real units, or token ids.
            inputs, outputs: of the step.

        Returns:
            By the step's output, [steps, *frame shape] in real units.

        Raises:
            SourceModelError: the interpreter fails.
        """
        ports, names = self.step.ports, self.step.names
        stored = {spec.name: spec.quantize(sequence[spec.name]) for spec in inputs}
        states = {
            pair.state_in: np.full(self._shape(pair.state_in), self._zero(pair.state_in),
                                   self.graph.tensors[pair.state_in].dtype)
            for pair in ports.states
        }  # fmt: skip
        found: dict[str, list[NDArray[Any]]] = {spec.name: [] for spec in outputs}
        try:
            call = self._caller()
            for position in range(len(next(iter(stored.values())))):
                frame = {
                    ports.inputs[names[spec.name]]: stored[spec.name][position].reshape(
                        self._shape(ports.inputs[names[spec.name]])
                    )
                    for spec in inputs
                }
                results = call({**frame, **states})
                states = {pair.state_in: results[pair.state_out] for pair in ports.states}
                for spec in outputs:
                    value = results[ports.outputs[names[spec.name]]]
                    found[spec.name].append(spec.dequantize(value).reshape(spec.frame_shape))
        except (RuntimeError, ValueError) as error:
            raise SourceModelError(
                f"the file does not step on litert ({one_line(error)}); convert the model again"
            ) from error
        return {name: np.stack(values).astype(np.float32) for name, values in found.items()}

    def _shape(self, index: int) -> tuple[int, ...]:
        return tuple(max(1, n) for n in self.graph.tensors[index].shape)

    def _zero(self, index: int) -> int:
        return next(iter(self.graph.tensors[index].zero_points), 0)

    def _caller(self) -> Any:
        """Load the file anew and return the function that calls it, from and to tensors by index.

        Loading anew is the only way to begin again with what the file keeps inside.
        """
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=self.data, num_threads=1)
        key, graph = self.step.ports.signature, self.graph
        if key is not None:
            signature = next(one for one in graph.signatures if one.key == key)
            runner = interpreter.get_signature_runner(key)

            def call_signature(values: dict[int, NDArray[Any]]) -> dict[int, NDArray[Any]]:
                given = {name: values[index] for name, index in signature.inputs.items()}
                results = runner(**given)
                return {index: results[name] for name, index in signature.outputs.items()}

            return call_signature
        for index in graph.inputs:
            interpreter.resize_tensor_input(index, self._shape(index))
        interpreter.allocate_tensors()

        def call_graph(values: dict[int, NDArray[Any]]) -> dict[int, NDArray[Any]]:
            for index, value in values.items():
                interpreter.set_tensor(index, value)
            interpreter.invoke()
            return {index: interpreter.get_tensor(index) for index in graph.outputs}

        return call_graph


def golden_of_file(
    original: OriginalFile,
    sequences: Sequence[ByName],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> Golden:
    """Compute the file's own outputs for the sequences."""
    results = [original.run(sequence, inputs, outputs) for sequence in sequences]
    return Golden(
        {spec.name: np.concatenate([one[spec.name] for one in sequences]) for spec in inputs},
        {spec.name: np.concatenate([one[spec.name] for one in results]) for spec in outputs},
        tuple(len(one[inputs[0].name]) for one in sequences),
    )
