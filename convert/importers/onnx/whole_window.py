"""An ONNX network as a function of a whole window, with all its steps in one graph.

What cannot be stepped is finite within a window: recurrences that run backwards, attention,
convolutions that look ahead. The graph is followed as if a window were one frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from convert.importers.onnx.network import Graph, Port
from convert.importers.onnx.time_axis import follow_window
from convert.importers.onnx.trace import Trace
from convert.importers.onnx.value import Value
from convert.layers.layer_rule import plain
from convert.step.step_graph import Kind, StepInput
from convert.step.whole_window import Unrolled, WholeModel


class Result(NamedTuple):
    """An output: its name in the step and in the network, and its axis of time, if it has one."""

    name: str
    source: str
    axis: int | None


def whole_model(
    graph: Graph,
    sizes: dict[str, int],
    known: dict[str, Value],
    axes: dict[str, int | None],
    inputs: Sequence[tuple[StepInput, Port]],
    results: Sequence[Result],
) -> WholeModel:
    """Describe a network as a function of its whole window.

    Args:
        sizes, known: as for :func:`convert.importers.onnx.time_axis.follow_sequence`.
        axes: of each input, the axis of time.
        inputs: what a step takes of each input of the network.
        results: what it gives.
    """
    cells = sum(
        2 if node.attributes.get("direction") == "bidirectional" else 1
        for node in graph.nodes
        if node.kind in ("LSTM", "GRU", "RNN")
    )

    def compute(values: list[tf.Tensor]) -> list[tf.Tensor]:
        steps = next(
            int(value.shape[1])
            for value, (item, _) in zip(values, inputs, strict=True)
            if item.kind is Kind.STEP
        )
        trace = follow_window(graph, sizes, known, axes, steps)
        given: dict[Any, Any] = {}
        for value, (_, port) in zip(values, inputs, strict=True):
            shape = trace.values[port.name].shape
            given[port.name] = _laid_out(value, shape, axes[port.name])
        found = computed(trace, given)
        return [_of_one_row(found[trace.values[one.source].name], one.axis) for one in results]

    return WholeModel(
        tuple(item for item, _ in inputs),
        tuple(one.name for one in results),
        cells,
        lambda: Unrolled(compute, ()),
    )


def _laid_out(value: Any, shape: tuple[int, ...], axis: int | None) -> Any:
    """Give a window [1, steps, *frame] the axes that the network's input has."""
    if axis is None:
        return tf.reshape(value, shape)
    first = (shape[axis], *shape[:axis], *shape[axis + 1 :])
    order = [*range(1, axis + 1), 0, *range(axis + 1, len(shape))]
    value = tf.reshape(value, first)
    if math.prod(first[1 : axis + 1]) == 1:
        return tf.reshape(value, shape)
    return tf.transpose(value, order)


def _of_one_row(value: Any, axis: int | None) -> Any:
    """Return [1, ...] without the axes of size 1, time first."""
    value = plain(value)
    if axis:
        value = tf.transpose(value, [axis, *(n for n in range(len(value.shape)) if n != axis)])
    return tf.reshape(value, (1, *([int(n) for n in value.shape if n != 1] or [1])))


def computed(trace: Trace, given: dict[Any, Any]) -> dict[Any, Any]:
    """Compute all values of a graph without time from those of its inputs."""
    values = dict(given)
    for item in trace.instructions:
        operands = tuple(values[place] for place in item.inputs)
        if not item.rule.takes_deferred:
            operands = tuple(plain(value) for value in operands)
        outputs, _ = item.rule.step(operands, ())
        # strict=False: outputs that nothing reads may have no place.
        values.update(zip(item.outputs, outputs, strict=False))
    return values
