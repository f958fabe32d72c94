"""A TFLite graph drawn as text or SVG: operators in layers, states as dashed edges back to the top.

The layout is the layered one of Sugiyama, Tagawa and Toda, "Methods for visual understanding of
hierarchical system structures", 1981, in its plainest form: a node's layer is its longest way from
an input, edges over several layers get a place in each, and the nodes of a layer are ordered by the
mean place of their neighbours, back and forth a few times.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from html import escape

from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import Graph, Operator, Tensor

# A drawing of more is of no use to anyone.
OPERATOR_LIMIT = 600
SWEEPS = 12
# In SVG user units.
NODE_WIDTH, NODE_HEIGHT = 150, 40
GAP_X, GAP_Y = 22, 34
BEND_WIDTH = 16
MARGIN = 24
LANE = 16

_COLORS = ("#b5422c", "#2563a8", "#2e7d32", "#8e44ad", "#b8860b", "#00838f")
_STYLE = """
text { font: 12px sans-serif; text-anchor: middle; fill: #222 }
.small { font-size: 10px; fill: #555 }
rect { fill: #f4f4f2; stroke: #666; rx: 6 }
.weights rect { fill: #dde7f3 }
.border rect { fill: #fff; stroke: #222; stroke-width: 1.5 }
.edge { fill: none; stroke: #888; stroke-width: 1.2 }
.state { fill: none; stroke-width: 2; stroke-dasharray: 6 4 }
"""


@dataclass
class _Node:
    """A box of the drawing, or a bend of an edge that passes its layer."""

    layer: int
    lines: tuple[str, ...] = ()
    kind: str = "operator"
    color: str | None = None
    bend: bool = False
    x: float = 0.0

    @property
    def width(self) -> int:
        return BEND_WIDTH if self.bend else NODE_WIDTH


def states_of(graph: Graph) -> dict[str, tuple[int, int]]:
    """Tensors (in, out) of each state: the names that a signature of the first subgraph has on both
    sides."""
    for signature in graph.signatures:
        both = [name for name in signature.inputs if name in signature.outputs]
        if signature.subgraph == 0 and both:
            return {name: (signature.inputs[name], signature.outputs[name]) for name in both}
    return {}


def draw_text(graph: Graph) -> str:
    """The graph as lines: inputs, operators in their order, outputs; states are marked."""
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
        lines.append(f"{'%' + str(number):>5}  {_title(operator)}({', '.join(inputs)}) -> {shapes}")
    state_outs = {index: name for name, (_, index) in states.items()}
    for index in graph.outputs:
        mark = "  -> state of the next step" if index in state_outs else ""
        kind = "state" if index in state_outs else "out"
        lines.append(f"{kind:>5}  {names[index]} = {made.get(index, '?')}{mark}")
    return "\n".join(lines)


def draw_svg(graph: Graph) -> str:
    """The graph as an SVG document.

    Raises:
        BadModelError: it has more than OPERATOR_LIMIT operators.
    """
    if len(graph.operators) > OPERATOR_LIMIT:
        raise BadModelError(
            f"the graph has {len(graph.operators):,} operators, a drawing at most "
            f"{OPERATOR_LIMIT}; use --graph text"
        )
    nodes, edges, loops = _nodes(graph)
    layers = _layers(nodes, edges)
    widths = [sum(nodes[n].width for n in row) + GAP_X * (len(row) - 1) for row in layers]
    left = MARGIN + LANE * len(loops)
    width = left + max(widths, default=0) + MARGIN
    top = MARGIN + LANE * len(loops)
    height = top * 2 + len(layers) * NODE_HEIGHT + (len(layers) - 1) * GAP_Y
    for row, row_width in zip(layers, widths, strict=True):
        x = left + (width - MARGIN - left - row_width) / 2
        for number in row:
            nodes[number].x = x + nodes[number].width / 2
            x += nodes[number].width + GAP_X

    def y(number: int) -> float:
        return top + nodes[number].layer * (NODE_HEIGHT + GAP_Y)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="sans-serif">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width:.0f}" height="{height:.0f}" style="fill:#fff;stroke:none"/>',
    ]
    for source, target in edges:
        a, b = nodes[source], nodes[target]
        y1, y2 = y(source) + NODE_HEIGHT, y(target)
        middle = (y1 + y2) / 2
        parts.append(
            f'<path class="edge" d="M{a.x:.1f} {y1:.1f}C{a.x:.1f} {middle:.1f} '
            f'{b.x:.1f} {middle:.1f} {b.x:.1f} {y2:.1f}"/>'
        )
        if a.bend:
            parts.append(f'<path class="edge" d="M{a.x:.1f} {y(source):.1f}V{y1:.1f}"/>')
    for lane, (state_out, state_in) in enumerate(loops):
        out, into = nodes[state_out], nodes[state_in]
        side = MARGIN / 2 + LANE * lane
        below = y(state_out) + NODE_HEIGHT + LANE * (len(loops) - lane)
        above = y(state_in) - LANE * (len(loops) - lane)
        parts.append(
            f'<path class="state" stroke="{out.color}" d="M{out.x:.1f} '
            f"{y(state_out) + NODE_HEIGHT:.1f}V{below:.1f}H{side:.1f}V{above:.1f}"
            f'H{into.x:.1f}V{y(state_in):.1f}"/>'
        )
        parts.append(
            f'<path fill="{out.color}" d="M{into.x - 5:.1f} {y(state_in) - 8:.1f}h10l-5 8z"/>'
        )
    parts += [_box(node, y(number)) for number, node in enumerate(nodes) if not node.bend]
    parts.append("</svg>\n")
    return "\n".join(parts)


def _nodes(graph: Graph) -> tuple[list[_Node], list[tuple[int, int]], list[tuple[int, int]]]:
    """Nodes, edges between neighbouring layers, and the pairs (out, in) of the states."""
    names, states = _names(graph), states_of(graph)
    colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(states)}
    nodes: list[_Node] = []
    made: dict[int, int] = {}
    state_ins = {index: name for name, (index, _) in states.items()}
    state_outs = {index: name for name, (_, index) in states.items()}
    wanted: list[tuple[int, int]] = []

    def border(index: int, layer: int, state: str | None) -> int:
        lines = (("state " if state else "") + names[index], _shape(graph.tensors[index]))
        nodes.append(_Node(layer, lines, "border", colors[state] if state else None))
        return len(nodes) - 1

    ins = {}
    for index in graph.inputs:
        made[index] = ins[index] = border(index, 0, state_ins.get(index))
    for operator in graph.operators:
        # What no earlier operator makes is a constant, or comes out of a damaged file.
        sources = {made[index] for index in operator.inputs if index in made}
        layer = 1 + max((nodes[source].layer for source in sources), default=0)
        weights = [
            graph.tensors[i] for i in operator.inputs if i >= 0 and graph.tensors[i].constant_bytes
        ]
        largest = max(weights, key=lambda tensor: tensor.constant_bytes, default=None)
        kind = "weights" if largest is not None and len(largest.shape) > 1 else "operator"
        outputs = [graph.tensors[i] for i in operator.outputs if i >= 0]
        detail = _shape(outputs[0]) if outputs else ""
        if largest is not None and kind == "weights":
            detail = f"{'x'.join(map(str, largest.shape))} -> {detail}"
        nodes.append(_Node(layer, (_title(operator), detail), kind))
        wanted += [(source, len(nodes) - 1) for source in sorted(sources)]
        for index in operator.outputs:
            made[index] = len(nodes) - 1
    last = 1 + max((node.layer for node in nodes), default=0)
    outs = {}
    for index in dict.fromkeys(graph.outputs):
        source = made.get(index)
        outs[index] = border(index, last, state_outs.get(index))
        if source is not None:
            wanted.append((source, outs[index]))
    loops = [
        (outs[state_out], ins[state_in])
        for state_in, state_out in states.values()
        if state_in in ins and state_out in outs
    ]
    edges = []
    for source, target in wanted:
        for layer in range(nodes[source].layer + 1, nodes[target].layer):
            nodes.append(_Node(layer, bend=True))
            edges.append((source, len(nodes) - 1))
            source = len(nodes) - 1
        edges.append((source, target))
    return nodes, edges, loops


def _layers(nodes: list[_Node], edges: list[tuple[int, int]]) -> list[list[int]]:
    """The nodes of each layer in the order that they are drawn in."""
    rows: list[list[int]] = [[] for _ in range(1 + max((n.layer for n in nodes), default=-1))]
    for number, node in enumerate(nodes):
        rows[node.layer].append(number)
    above, below = defaultdict(list), defaultdict(list)
    for source, target in edges:
        below[source].append(target)
        above[target].append(source)
    place = {number: i / max(1, len(row) - 1) for row in rows for i, number in enumerate(row)}
    for sweep in range(SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else reversed(rows):
            means = {
                n: sum(place[m] for m in neighbours[n]) / len(neighbours[n])
                if neighbours[n]
                else place[n]
                for n in row
            }
            row.sort(key=means.__getitem__)
            for i, number in enumerate(row):
                place[number] = i / (len(row) - 1) if len(row) > 1 else 0.5
    return rows


def _box(node: _Node, y: float) -> str:
    x = node.x - NODE_WIDTH / 2
    color = f' style="stroke:{node.color}"' if node.color else ""
    title, detail = (_short(line) for line in node.lines)
    return (
        f'<g class="{node.kind}"><rect x="{x:.1f}" y="{y:.1f}" width="{NODE_WIDTH}" '
        f'height="{NODE_HEIGHT}"{color}/>'
        f'<text x="{node.x:.1f}" y="{y + 17:.1f}">{title}</text>'
        f'<text class="small" x="{node.x:.1f}" y="{y + 32:.1f}">{detail}</text></g>'
    )


def _names(graph: Graph) -> dict[int, str]:
    """Names of the tensors at the border: the signature's, or the tensors' own."""
    names = {i: graph.tensors[i].name for i in (*graph.inputs, *graph.outputs)}
    for signature in graph.signatures:
        if signature.subgraph == 0:
            for name, index in (*signature.inputs.items(), *signature.outputs.items()):
                names[index] = name
            break
    return {index: _printable(name) for index, name in names.items()}


def _title(operator: Operator) -> str:
    return _printable(operator.name)


def _shape(tensor: Tensor) -> str:
    return f"{tensor.dtype} [{', '.join(map(str, tensor.shape))}]"


def _short(text: str, limit: int = 28) -> str:
    return escape(text if len(text) <= limit else f"{text[: limit - 1]}…")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
