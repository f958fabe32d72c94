"""Import an ONNX file as one that can be stepped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import ConvertError, SourceModelError, UnsupportedLayerError
from convert.importers import NO_HINTS, ImportHints
from convert.importers.imported import ImportedModel
from convert.importers.onnx.apart import with_parts_apart
from convert.importers.onnx.files import opset_of, read_model
from convert.importers.onnx.free_length import with_free_length
from convert.importers.onnx.network import Graph, Port, read_graph
from convert.importers.onnx.network_step import (
    NetworkStep,
    StepNames,
    described,
    frame_shape,
    meaning_of,
)
from convert.importers.onnx.pairs import Pair, find_pairs
from convert.importers.onnx.real_numbers import in_real_numbers
from convert.importers.onnx.reference import Fed, Read, by_steps, open_session, over_sequences
from convert.importers.onnx.rolled import rolled
from convert.importers.onnx.scans import without_scans
from convert.importers.onnx.simplify import simplified
from convert.importers.onnx.time_axis import (
    Followed,
    NoStep,
    follow_sequence,
    follow_step,
    follow_window,
    size_of,
)
from convert.importers.onnx.trace import Trace
from convert.importers.onnx.value import Value
from convert.importers.onnx.whole_window import Result, whole_model
from convert.step.step_graph import Kind, StepInput
from convert.step.whole_window import WholeModel
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME
from models.tensorflow_log import quiet

# How long a window to try a network with that takes any length.
TRIAL_WINDOW = 16


def import_onnx(path: Path, hints: ImportHints = NO_HINTS) -> ImportedModel:
    """Read an ONNX file.

    Args:
        hints: what the user says of it.

    Raises:
        SourceModelError: the file is missing, damaged, or needs a package that is not here.
        UnsupportedLayerError: an operator cannot be stepped.
    """
    try:
        with quiet():
            return imported_graph(read_model(path), path.stem, hints)
    except ConvertError as error:
        if error.message.startswith(str(path)):
            raise
        raise type(error)(f"{path}: {error.message}") from error


def imported_graph(
    model: Any,
    name: str,
    hints: ImportHints = NO_HINTS,
    framework: str = "",
    session: Any = None,
) -> ImportedModel:
    """Import a ModelProto; errors as :func:`import_onnx`.

    Args:
        framework: what it comes from, if not from ONNX.
        session: computes the original as a session of ONNX Runtime does; None for that.
    """
    changed: tuple[str, ...] = ()
    if session is None:
        model, changed = in_real_numbers(model)
    graph = simplified(without_scans(read_graph(model.graph, opset_of(model))))
    if session is not None:
        # ONNX Runtime could not compute the original for sequences of other lengths.
        graph = rolled(graph)
    sizes, bound = _bound(graph, hints.bindings)
    inputs = tuple(port for port in graph.inputs if port.name not in bound)
    if not inputs or not graph.outputs:
        raise UnsupportedLayerError("the network has no input that changes, or no output")
    network = _Network(name, model, graph, inputs, sizes, bound, changed, framework, session)
    pairs = find_pairs(replace(graph, inputs=inputs), hints.states)
    if pairs or not _has_sequences(graph, inputs, sizes):
        return _of_a_step(network, pairs)
    followed = follow_sequence(graph, sizes, network.known)
    if isinstance(followed, NoStep):
        return _of_a_window(network, followed, hints.window or TRIAL_WINDOW)
    return _of_sequences(network, followed)


@dataclass(frozen=True)
class _Network:
    """A network, and what was given of it.

    Attributes:
        inputs: those that are not bound.
        changed: what differs from the file, in words.
        framework: what it comes from; "" for ONNX.
        session: computes the original; None for ONNX Runtime.
    """

    name: str
    model: Any
    graph: Graph
    inputs: tuple[Port, ...]
    sizes: dict[str, int]
    bound: dict[str, NDArray[Any]]
    changed: tuple[str, ...]
    framework: str
    session: Any

    @property
    def known(self) -> dict[str, Value]:
        """The bound inputs by name."""
        return {
            name: Value(name, array.shape, array.dtype, constant=array)
            for name, array in self.bound.items()
        }

    def facts(self, output: str, trace: Trace) -> dict[str, Any]:
        """Return what an ImportedModel says however the network is stepped."""
        import onnxruntime

        own = f"ONNX (opset {opset_of(self.model)}, ONNX Runtime {onnxruntime.__version__})"
        weights = [array for array in self.graph.constants.values() if array.dtype.kind == "f"]
        return {
            "framework": self.framework or own,
            "cells": tuple(trace.cells),
            "parameters": sum(array.size for array in weights),
            "output_meaning": meaning_of(self.graph, output),
        }

    def window(self, length: int | None) -> int | None:
        """Return the length of the windows that the network was trained on, if that is known.

        An exporter of PyTorch fixes the length of its example, which need not be one."""
        return None if self.framework else length

    def whole(self, axes: dict[str, int | None], results: Sequence[Result]) -> WholeModel:
        """Describe it as a function of its whole window."""
        inputs = [(item, port) for port, item in zip(self.inputs, self.frames(axes), strict=True)]
        return whole_model(self.graph, self.sizes, self.known, axes, inputs, results)

    def frames(self, axes: dict[str, int | None]) -> list[StepInput]:
        """Describe what one frame of each input is."""
        names, found = StepNames(), []
        for number, port in enumerate(self.inputs):
            axis = axes[port.name]
            rest = [size_of(size, self.sizes) for place, size in enumerate(port.shape)
                    if place != axis]  # fmt: skip
            name = names.new(INPUT_NAME if number == 0 else port.name)
            kind = Kind.CONSTANT if axis is None else Kind.STEP
            vocabulary = None if port.dtype.kind == "f" else 1
            shape = frame_shape((1, *rest))
            found.append(StepInput(name, port.name, shape, vocabulary, kind))
        return found


def _of_a_step(network: _Network, pairs: tuple[Pair, ...]) -> ImportedModel:
    """Import a network whose every call is a step."""
    followed = follow_step(network.graph, network.sizes, network.known)
    built = NetworkStep(network.graph, followed, pairs, network.bound)
    taken = [(built.fed(pair.taken), pair.given) for pair in pairs]
    understood = built.understood(True)
    graph, parts = with_parts_apart(network.graph, pairs, followed.trace.values)
    if len(parts) > len(pairs):
        followed = follow_step(graph, network.sizes, network.known)
        built = NetworkStep(graph, followed, parts, network.bound)
    session = network.session or open_session(network.model)
    return ImportedModel(
        network.name,
        built.step_graph(),
        by_steps(session, built.feds, built.reads, taken, network.bound),
        changed=(*network.changed, *built.changed),
        understood=understood,
        **network.facts(built.reads[0].name, followed.trace),
    )


def _of_sequences(network: _Network, followed: Followed) -> ImportedModel:
    """Import a network over sequences that has a step."""
    built = NetworkStep(network.graph, followed, (), network.bound)
    free = network.session or open_session(
        with_free_length(network.model, followed, network.inputs)
    )
    graph, refusal = None, None
    try:
        graph = built.step_graph()
    except UnsupportedLayerError as error:
        refusal = error
    names = built.output_names
    results = [Result(name, read.name, read.axis)
               for name, read in zip(names, built.reads, strict=True)]  # fmt: skip
    return ImportedModel(
        network.name,
        graph,
        over_sequences(free, built.feds, built.reads, network.bound),
        changed=(*network.changed, *built.changed),
        window=network.window(built.window),
        understood=built.understood(False),
        whole=network.whole(followed.axes, results),
        refusal=refusal,
        **network.facts(built.reads[0].name, followed.trace),
    )


def _of_a_window(network: _Network, failed: NoStep, trial: int) -> ImportedModel:
    """Import a network that has no step, but may be computed over a window.

    Args:
        trial: steps to try it with if the file leaves their number open.

    Raises:
        UnsupportedLayerError: it cannot; the error says why it has no step.
    """
    graph, axes = network.graph, failed.axes
    lengths = [port.shape[axis] for port in network.inputs
               if (axis := axes[port.name]) is not None]  # fmt: skip
    fixed = next((size for size in lengths if isinstance(size, int)), None)
    try:
        trace = follow_window(graph, network.sizes, network.known, axes, fixed or trial)
    except ConvertError:
        raise failed.error from None
    outputs = [port for port in graph.outputs if trace.values[port.name].dtype == np.float32]
    names = StepNames()
    results = [
        Result(names.new(OUTPUT_NAME if number == 0 else port.name), port.name, None)
        for number, port in enumerate(outputs)
    ]
    whole = network.whole(axes, results)
    if not results or any(item.vocabulary for item in whole.inputs):
        raise failed.error
    feds = [
        Fed(port.name, tuple(1 if place == axes[port.name] else size_of(size, network.sizes)
                             for place, size in enumerate(port.shape)), port.dtype,
            axes[port.name])
        for port in network.inputs
    ]  # fmt: skip
    reads = [Read(one.source, None, False) for one in results]
    session = network.session or open_session(network.model)
    shapes = "; ".join(described(port, axes[port.name], False) for port in network.inputs)
    return ImportedModel(
        network.name,
        None,
        over_sequences(session, feds, reads, network.bound),
        changed=network.changed,
        window=network.window(fixed),
        understood=f"understood as a network over a window: {shapes}",
        whole=whole,
        refusal=failed.error,
        **network.facts(results[0].source, trace),
    )


def _has_sequences(graph: Graph, inputs: Sequence[Port], sizes: dict[str, int]) -> bool:
    """Tell whether a network without states of its own may take whole sequences."""
    recurrent = any(node.kind in ("LSTM", "GRU", "RNN") for node in graph.nodes)
    free = any(
        not isinstance(size, int) and size not in sizes
        for port in inputs
        for size in port.shape[1:]
    )
    long = any(len(port.shape) > 2 and port.shape[1:] for port in inputs)
    return recurrent or free or long


def _bound(
    graph: Graph, bindings: Sequence[tuple[str, str]]
) -> tuple[dict[str, int], dict[str, NDArray[Any]]]:
    """Read the bindings: sizes by an axis' name, values by an input's name."""
    sizes: dict[str, int] = {}
    values: dict[str, NDArray[Any]] = {}
    axes = {size for port in graph.inputs for size in port.shape if isinstance(size, str)}
    for name, text in bindings:
        port = next((item for item in graph.inputs if item.name == name), None)
        try:
            numbers = np.array([float(part) for part in text.replace("x", ",").split(",")])
            if port is None and name in axes:
                sizes[name] = int(text)
                continue
            if port is None:
                known = ", ".join(sorted({item.name for item in graph.inputs} | axes))
                raise SourceModelError(
                    f"--bind {name}={text}: there is no such input or axis; there are {known}"
                )
            shape = tuple(size if isinstance(size, int) else 1 for size in port.shape)
            values[name] = np.broadcast_to(numbers, shape).astype(port.dtype) if shape else (
                numbers.astype(port.dtype).reshape(())
            )  # fmt: skip
        except ValueError as error:
            raise SourceModelError(
                f"--bind {name}={text}: not a number, or numbers that do not fit"
            ) from error
    return sizes, values
