"""Cut a signature for each phase of a hierarchical recurrence out of its step graph.

The step graph updates every state. A slow recurrence is updated once in its period; in between its
output is a state that stays. So a step in between has the same graph, with two changes: what reads
the new value of a state that is not due reads the old one, and operators whose results nobody needs
are left out. It is made from the finished graph, so there is one quantization, the weights are
shared, and no graph has a branch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from convert.tflite_editor import TfliteEditor
from device_runner.model.flatbuffer import Graph, read_graph
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.phases import phase_signatures


def with_phases(flatbuffer: bytes, periods: Mapping[str, int]) -> bytes:
    """Add a subgraph and a signature for each phase to a step graph.

    If no state has a period, the bytes stay the same.

    Args:
        flatbuffer: the step graph, with the signature "step" on its only subgraph.
        periods: periods in steps by state name, as in :class:`convert.schemes.scheme.FloatStep`.
    """
    phases = phase_signatures(periods)
    if len(phases) == 1:
        return flatbuffer
    graph, editor = read_graph(flatbuffer), TfliteEditor(flatbuffer)
    for phase, name in enumerate(phases):
        if name == STEP_SIGNATURE or phases.index(name) < phase:
            continue
        idle = {state for state, period in periods.items() if phase % period}
        _add_without_updates(editor, graph, name, idle)
    return editor.flatbuffer()


def _add_without_updates(
    editor: TfliteEditor, graph: Graph, name: str, idle: Collection[str]
) -> None:
    """Append a step that does not update the states in ``idle``."""
    step = graph.signature(STEP_SIGNATURE)
    old = {step.outputs[state]: step.inputs[state] for state in idle}
    outputs = {key: index for key, index in step.outputs.items() if key not in idle}
    needed = set(outputs.values())
    kept = []
    for position in reversed(range(len(graph.operators))):
        operator = graph.operators[position]
        if needed.intersection(operator.outputs):
            needed.update(old.get(index, index) for index in operator.inputs)
            needed.update(operator.outputs)
            kept.append(position)
    # Every step gets a frame, whether or not it is read.
    inputs = {
        key: index
        for key, index in step.inputs.items()
        if index in needed or key not in step.outputs
    }
    editor.add_part(name, kept[::-1], old, inputs, outputs)
