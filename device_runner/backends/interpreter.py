"""What the TFLite interpreters of all distributions share.

They share one Python interface (Interpreter), but none lets a caller keep a view of a tensor across
``invoke()``. ``set_tensor`` and ``get_tensor`` check and copy, and cost as much as a small step. A
view made from the tensor's raw address costs only a copy. The addresses stay valid because all
shapes are static: after ``allocate_tensors()`` nothing is reallocated.
"""

from __future__ import annotations

import functools
from typing import Any

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
from device_runner.model.flatbuffer import Graph
from device_runner.model.step_file import StepModel


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
        # This is what the public invoke() and a signature runner call, without their search for
        # views in Python, a good part of a small step's cost; the addresses of our views stay
        # valid, see above. It is the function itself with all its arguments: a bound method and a
        # default argument cost more at each call.
        invoke = functools.partial(wrapper.Invoke.__func__, wrapper, number)
        # The wrapper reads the model's bytes, which only the interpreter owns.
        invoke.owner = self.interpreter  # type: ignore[attr-defined]
        inputs = {name: self._view(index, number) for name, index in signature.inputs.items()}
        fixed = all(graph.tensors[index].static_shape for index in signature.outputs.values())
        if not fixed or any(operator.name in ("WHILE", "IF") for operator in graph.operators):
            # A file without a contract: only a step gives these outputs their memory, which stays
            # where it is as long as its size does.
            for view in inputs.values():
                view[:] = bytes(view.nbytes)
            invoke()
        return HostMemory(
            inputs=inputs,
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


def load_interpreter(
    name: str, version: str, interpreter_class: Any, model: StepModel, options: LoadOptions
) -> InterpreterBackend:
    """Load a step model with a distribution's Interpreter class."""
    try:
        interpreter = interpreter_class(model_content=model.flatbuffer, num_threads=options.threads)
    except (RuntimeError, ValueError) as error:
        raise refused(name, version, model, error) from error
    return InterpreterBackend(name, version, interpreter, model)
