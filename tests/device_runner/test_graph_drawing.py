"""inspect --graph: every operator and every edge is drawn, states lead back, damage is refused."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import read_graph
from device_runner.model.graph_drawing import OPERATOR_LIMIT, _layers, _nodes, draw_svg, draw_text
from device_runner.model.step_file import load_step_model

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module", params=[("lstm", "int8"), ("oru-state", "float32")])
def graph(request, step_models):
    return load_step_model(step_models(*request.param)).graph


def test_text_names_every_operator_and_marks_states(graph):
    lines = draw_text(graph).splitlines()
    states = [name for name in graph.signature("step").inputs if name != "x"]
    assert len(lines) == len(graph.inputs) + len(graph.operators) + len(graph.outputs)
    assert sum("<- state of the step before" in line for line in lines) == len(states)
    assert sum("-> state of the next step" in line for line in lines) == len(states)
    found = re.findall(r"%\d+  ([A-Z_0-9]+)\(", "\n".join(lines))
    assert found == [operator.name for operator in graph.operators]


def test_svg_is_well_formed_and_complete(graph):
    root = ElementTree.fromstring(draw_svg(graph))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    for operator in graph.operators:
        assert texts.count(operator.name) == sum(o.name == operator.name for o in graph.operators)
    states = len(graph.signature("step").inputs) - 1
    assert len([e for e in root.iter(f"{SVG}path") if e.get("class") == "state"]) == states
    assert sum(text.startswith("state ") for text in texts) == 2 * states


def test_boxes_do_not_overlap_and_edges_go_down(graph):
    nodes, edges, loops = _nodes(graph)
    assert all(nodes[target].layer == nodes[source].layer + 1 for source, target in edges)
    assert all(nodes[out].layer > nodes[into].layer == 0 for out, into in loops)
    draw_svg(graph)
    root = ElementTree.fromstring(draw_svg(graph))
    boxes = [(float(e.get("x")), float(e.get("y"))) for e in root.iter(f"{SVG}rect") if e.get("x")]
    assert len(set(boxes)) == len(boxes)
    for i, (x, y) in enumerate(boxes):
        assert not [1 for a, b in boxes[:i] if b == y and abs(a - x) < 150]
    assert sorted(n for row in _layers(nodes, edges) for n in row) == list(range(len(nodes)))


def test_the_command(invoke, int8_file, tmp_path, error_line):
    drawing = tmp_path / "gru.svg"
    result = invoke("inspect", int8_file, "--graph", drawing)
    assert result.exit_code == 0
    assert "15 operators, 1 states" in result.stdout
    assert drawing.read_text().startswith("<svg")
    assert "FULLY_CONNECTED" in invoke("inspect", int8_file, "--graph", "text").stdout
    assert invoke("inspect", int8_file, "--graph", "gru.png").exit_code == 2
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(int8_file.read_bytes()[:200])
    failed = invoke("inspect", damaged, "--graph", "text")
    assert failed.exit_code == 3
    assert str(damaged) in error_line(failed)


def test_a_bare_tflite_file_is_drawn(invoke, int8_file, tmp_path):
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(load_step_model(int8_file).flatbuffer)
    assert "state  h" in invoke("inspect", bare, "--graph", "text").stdout


def test_names_of_a_file_cannot_break_the_drawing(workshop):
    def rename(tree) -> None:
        tree.signatureDefs = []
        for tensor in tree.subgraphs[0].tensors:
            tensor.name = b'<script>"&\n\x1b[31m'

    graph = read_graph(workshop.edited_graph(rename))
    ElementTree.fromstring(draw_svg(graph))
    assert "\x1b" not in draw_text(graph)
    assert "<script>" not in draw_svg(graph)


def test_a_graph_that_goes_in_circles_is_drawn(workshop):
    def circle(tree) -> None:
        operators = tree.subgraphs[0].operators
        operators[0].inputs = [operators[-1].outputs[0], *list(operators[0].inputs)[1:]]
        operators[3].inputs = [operators[3].outputs[0]]

    graph = read_graph(workshop.edited_graph(circle))
    ElementTree.fromstring(draw_svg(graph))
    assert draw_text(graph)


def test_too_many_operators_are_refused(workshop):
    def multiply(tree) -> None:
        operators = tree.subgraphs[0].operators
        tree.subgraphs[0].operators = operators * (OPERATOR_LIMIT // len(operators) + 1)

    with pytest.raises(BadModelError, match="--graph text"):
        draw_svg(read_graph(workshop.edited_graph(multiply)))
