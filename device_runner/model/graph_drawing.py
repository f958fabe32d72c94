"""Draw a TFLite graph as lines of text, or in the DOT language for Graphviz.

Graphviz lays the operators out in layers (``dot -Tsvg lstm.dot -o lstm.svg``); states are dashed
edges back to the top. A .tflite file can also be opened in Netron (https://netron.app), which shows
every attribute but does not know which tensors are states.
"""

from __future__ import annotations

from device_runner.model.flatbuffer import Graph, Operator, Tensor
from device_runner.printable import printable

# One for each state, repeated as needed.
_STATE_COLORS = ("#b5422c", "#2563a8", "#2e7d32", "#8e44ad", "#b8860b", "#00838f")
_WEIGHTS_COLOR = "#dde7f3"
_HEAD = """digraph step {
  node [shape=box, style="rounded,filled", fillcolor="#f4f4f2", fontname="sans-serif", fontsize=10]
  edge [color="#888888"]"""


def states_of(graph: Graph) -> dict[str, tuple[int, int]]:
    """Return the tensors (in, out) of each state by its name.

    A state is a name that a signature of the first subgraph has on both sides."""
    for signature in graph.signatures:
        both = [name for name in signature.inputs if name in signature.outputs]
        if signature.subgraph == 0 and both:
            return {name: (signature.inputs[name], signature.outputs[name]) for name in both}
    return {}


def draw_text(graph: Graph) -> str:
    """Draw the graph as lines: inputs, operators in their order, outputs; states are marked."""
    names, states = _names(graph), states_of(graph)
    made: dict[int, str] = {}
    lines = []
    state_ins = {index: name for name, (index, _) in states.items()}
    for index in graph.inputs:
        made[index] = names[index]
        mark = "  <- state of the step before" if index in state_ins else ""
        kind = "state" if index in state_ins else "in"
        lines.append(f"{kind:>5}  {names[index]} = {_shape(graph.tensors[index])}{mark}")
    for number, operator in enumerate(graph.operators):
        inputs = [
            made.get(index, f"constant {_shape(graph.tensors[index])}")
            for index in operator.inputs
            if index >= 0
        ]
        for place, index in enumerate(operator.outputs):
            if index >= 0:
                made[index] = f"%{number}" if len(operator.outputs) == 1 else f"%{number}.{place}"
        shapes = ", ".join(_shape(graph.tensors[i]) for i in operator.outputs if i >= 0)
        title = printable(operator.name)
        lines.append(f"{'%' + str(number):>5}  {title}({', '.join(inputs)}) -> {shapes}")
    state_outs = {index: name for name, (_, index) in states.items()}
    for index in graph.outputs:
        mark = "  -> state of the next step" if index in state_outs else ""
        kind = "state" if index in state_outs else "out"
        lines.append(f"{kind:>5}  {names[index]} = {made.get(index, '?')}{mark}")
    return "\n".join(lines)


def draw_dot(graph: Graph) -> str:
    """Draw the graph in the DOT language: a node for each input, operator and output."""
    names, states = _names(graph), states_of(graph)
    colors = {name: _STATE_COLORS[i % len(_STATE_COLORS)] for i, name in enumerate(states)}
    state_ins = {index: name for name, (index, _) in states.items()}
    state_outs = {index: name for name, (_, index) in states.items()}

    def end(node: str, index: int, state: str | None) -> str:
        label = _label(f"{'state ' if state else ''}{names[index]}", _shape(graph.tensors[index]))
        color = f', color="{colors[state]}", penwidth=2' if state else ""
        return f'  {node} [label={label}, fillcolor="#ffffff"{color}]'

    lines, edges = [_HEAD], []
    made: dict[int, str] = {}
    for index in graph.inputs:
        made[index] = f"in{index}"
        lines.append(end(made[index], index, state_ins.get(index)))
    for number, operator in enumerate(graph.operators):
        node = f"op{number}"
        lines.append(f"  {node} {_operator_attributes(operator, graph)}")
        # A tensor that no earlier operator makes is a constant, or comes from a damaged file.
        sources = dict.fromkeys(made[index] for index in operator.inputs if index in made)
        edges += [f"  {source} -> {node}" for source in sources]
        made.update(dict.fromkeys(operator.outputs, node))
    for index in dict.fromkeys(graph.outputs):
        lines.append(end(f"out{index}", index, state_outs.get(index)))
        if index in made:
            edges.append(f"  {made[index]} -> out{index}")
    edges += [
        f'  out{out} -> in{into} [style=dashed, constraint=false, color="{colors[name]}"]'
        for name, (into, out) in states.items()
        if into in graph.inputs and out in graph.outputs
    ]
    return "\n".join([*lines, *edges, "}\n"])


def _operator_attributes(operator: Operator, graph: Graph) -> str:
    """Write an operator's name and output; with weights also their shape and another color."""
    constants = [
        graph.tensors[i] for i in operator.inputs if i >= 0 and graph.tensors[i].constant_bytes
    ]
    largest = max(constants, key=lambda tensor: tensor.constant_bytes, default=None)
    outputs = [graph.tensors[i] for i in operator.outputs if i >= 0]
    detail = _shape(outputs[0]) if outputs else ""
    if largest is None or len(largest.shape) < 2:
        return f"[label={_label(operator.name, detail)}]"
    label = _label(operator.name, f"{'x'.join(map(str, largest.shape))} -> {detail}")
    return f'[label={label}, fillcolor="{_WEIGHTS_COLOR}"]'


def _names(graph: Graph) -> dict[int, str]:
    """Name the subgraph's inputs and outputs as the signature does, or else by their tensors."""
    names = {i: graph.tensors[i].name for i in (*graph.inputs, *graph.outputs)}
    for signature in graph.signatures:
        if signature.subgraph == 0:
            for name, index in (*signature.inputs.items(), *signature.outputs.items()):
                names[index] = name
            break
    return {index: printable(name) for index, name in names.items()}


def _label(*lines: str) -> str:
    """Quote a string for DOT."""
    escaped = (printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'


def _shape(tensor: Tensor) -> str:
    return f"{tensor.dtype} [{', '.join(map(str, tensor.shape))}]"
