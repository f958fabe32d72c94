"""What the TFLite interpreters of all distributions share.

They share one Python interface (Interpreter), but none lets a caller keep a view of a tensor across
``invoke()``. ``set_tensor`` and ``get_tensor`` check and copy, and cost as much as a small step. A
view made from the tensor's raw address costs only a copy. The addresses stay valid where all
shapes are static: after ``allocate_tensors()`` nothing is reallocated. With loops, variables or
open shapes, which files of others have, memory moves at each ``invoke()``; there, tensors are
copied.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.backends.backend import (
    HostMemoryBackend,
    LoadOptions,
    Placement,
    refused,
    view_of_memory,
)
from device_runner.backends.delegation import placement_of
from device_runner.backends.host_step import HostMemory
from device_runner.backends.known_failures import known_failure
from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import Graph, Signature
from device_runner.model.step_file import StepModel

# Operators after which tensors may lie elsewhere.
MOVING = {"WHILE", "IF", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}


class InterpreterBackend(HostMemoryBackend):
    """A step model loaded into one interpreter.

    ``runtime`` is the distribution of the interpreter, if that is not ``name``.
    """

    def __init__(
        self,
        name: str,
        version: str,
        interpreter: Any,
        model: StepModel,
        runtime: str | None = None,
    ) -> None:
        self.interpreter = interpreter
        self._graph = model.graph
        if failure := known_failure(model.graph, runtime or name):
            raise BadModelError(f"{model.path}: not run on {name} {version}: {failure}")
        try:
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise refused(name, version, model, error) from error
        graphs = model.phase_graphs
        memories = {key: self._memory(graph, key, len(graphs) > 1) for key, graph in graphs.items()}
        super().__init__(name, version, model, memories)

    def placement(self) -> Placement | None:
        """Return what XNNPACK, the runtimes' own delegate, took; the rest is built-in kernels."""
        return placement_of(self.interpreter, self._graph, "XNNPACK")

    def _memory(self, graph: Graph, key: str, several: bool) -> HostMemory:
        signature = graph.signature(key)
        number = signature.subgraph
        wrapper = self.interpreter._interpreter
        if several or number:
            # The public way to one of several subgraphs, a signature runner, copies all inputs and
            # outputs.
            wrapper.AllocateTensors(number)
        if _moves(graph):
            return _copied(self.interpreter, graph, number, signature)
        # This is what the public invoke() and a signature runner call, without their search for
        # views in Python, a good part of a small step's cost; the addresses of our views stay
        # valid, see above. It is the function itself with all its arguments: a bound method and a
        # default argument cost more at each call.
        invoke = functools.partial(wrapper.Invoke.__func__, wrapper, number)
        # The wrapper reads the model's bytes, which only the interpreter owns.
        invoke.owner = self.interpreter  # type: ignore[attr-defined]
        return HostMemory(
            inputs={name: self._view(index, number) for name, index in signature.inputs.items()},
            outputs={name: self._view(index, number) for name, index in signature.outputs.items()},
            invoke=invoke,
        )

    def _view(self, index: int, subgraph: int) -> memoryview:
        # Only the address is kept, as the interpreter counts references to its arrays.
        wrapper = self.interpreter._interpreter
        array = wrapper.tensor(wrapper, index, subgraph)
        address, size = array.__array_interface__["data"][0], array.nbytes
        del array
        return view_of_memory(address, size, self.interpreter)


def _moves(graph: Graph) -> bool:
    """Tell whether a graph's tensors may lie elsewhere after a call."""
    return not MOVING.isdisjoint(operator.name for operator in graph.operators) or not all(
        tensor.static_shape for tensor in graph.tensors
    )


def _copied(interpreter: Any, graph: Graph, number: int, signature: Signature) -> HostMemory:
    """Make memory of our own, which each call is given and writes its results to."""

    def arrays(tensors: Mapping[str, int]) -> dict[str, NDArray[Any]]:
        found = ((name, graph.tensors[index]) for name, index in tensors.items())
        return {name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in found}

    given, results = arrays(signature.inputs), arrays(signature.outputs)
    wrapper = interpreter._interpreter

    def invoke() -> None:
        for name, array in given.items():
            wrapper.SetTensor(signature.inputs[name], array, number)
        wrapper.Invoke(number)
        for name, array in results.items():
            result = wrapper.GetTensor(signature.outputs[name], number)
            if result.shape != array.shape:
                raise BadModelError(
                    f"its output '{name}' has the shape {list(result.shape)}, the file says "
                    f"{list(array.shape)}"
                )
            array[...] = result

    def views(of: Mapping[str, NDArray[Any]]) -> dict[str, memoryview]:
        return {name: array.reshape(-1).view(np.uint8).data for name, array in of.items()}

    # The wrapper reads the model's bytes, which only the interpreter owns.
    invoke.owner = interpreter  # type: ignore[attr-defined]
    return HostMemory(views(given), views(results), invoke)


def load_interpreter(
    name: str,
    version: str,
    interpreter_class: Any,
    model: StepModel,
    options: LoadOptions,
    kernels: str | None = None,
) -> InterpreterBackend:
    """Load a step model with a distribution's Interpreter class; ``kernels`` as of a Backend."""
    try:
        interpreter = interpreter_class(model_content=model.flatbuffer, num_threads=options.threads)
    except (RuntimeError, ValueError) as error:
        raise refused(name, version, model, error) from error
    backend = InterpreterBackend(name, version, interpreter, model)
    backend.kernels = kernels
    return backend
