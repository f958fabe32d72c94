"""inspect --graph: every operator and every edge is drawn, states lead back, damage is refused."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from device_runner.model.flatbuffer import read_graph
from device_runner.model.graph_drawing import draw_dot, draw_text
from device_runner.model.step_file import load_step_model


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


def statements(dot: str) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Labels by node, and edges (source, target, attributes), of DOT text of one statement a line.

    What is not of this form is an error."""
    first, *lines, last = dot.splitlines()
    assert (first, last) == ("digraph step {", "}")
    nodes, edges = {}, []
    for line in lines:
        if re.match(r"  (node|edge) \[", line):
            continue
        if node := re.fullmatch(r'  (\w+) \[label="((?:[^"\\]|\\.)*)"(, [\w="#,. ]+)?\]', line):
            nodes[node.group(1)] = node.group(2)
        else:
            edge = re.fullmatch(r'  (\w+) -> (\w+)( \[[\w="#, ]+\])?', line)
            assert edge is not None, line
            edges.append((edge.group(1), edge.group(2), edge.group(3) or ""))
    assert {end for source, target, _ in edges for end in (source, target)} <= set(nodes)
    return nodes, edges


def test_dot_is_complete(graph):
    nodes, edges = statements(draw_dot(graph))
    assert len(nodes) == len(graph.inputs) + len(graph.operators) + len(graph.outputs)
    for number, operator in enumerate(graph.operators):
        assert nodes[f"op{number}"].split("\\n")[0] == operator.name
    states = len(graph.signature("step").inputs) - 1
    back = [(source, target) for source, target, how in edges if "dashed" in how]
    assert len(back) == states
    assert all(source.startswith("out") and target.startswith("in") for source, target in back)
    assert sum(label.startswith("state ") for label in nodes.values()) == 2 * states


def test_every_edge_of_the_graph_is_drawn_once(graph):
    _, edges = statements(draw_dot(graph))
    made = {index: f"in{index}" for index in graph.inputs}
    made |= {i: f"op{n}" for n, operator in enumerate(graph.operators) for i in operator.outputs}
    wanted = {
        (made[index], f"op{number}")
        for number, operator in enumerate(graph.operators)
        for index in operator.inputs
        if index in made
    }
    wanted |= {(made[index], f"out{index}") for index in graph.outputs}
    found = [(source, target) for source, target, how in edges if "dashed" not in how]
    assert sorted(found) == sorted(wanted)


def test_graphviz_takes_it(graph):
    if shutil.which("dot") is None:
        pytest.skip("needs Graphviz (apt install graphviz)")
    drawn = subprocess.run(
        ["dot", "-Tsvg"], input=draw_dot(graph), capture_output=True, text=True, check=True
    )
    assert drawn.stdout.count('class="node"') == len(statements(draw_dot(graph))[0])
    assert not drawn.stderr


def test_the_command(invoke, int8_file, tmp_path, error_line):
    drawing = tmp_path / "gru.dot"
    result = invoke("inspect", int8_file, "--graph", drawing)
    assert result.exit_code == 0
    assert "15 operators, 1 states" in result.stdout
    assert drawing.read_text().startswith("digraph")
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
    nodes, _ = statements(draw_dot(graph))
    assert '<script>\\"& ?[31m' in nodes[f"in{graph.inputs[0]}"]
    assert "\x1b" not in draw_dot(graph) + draw_text(graph)


def test_a_graph_that_goes_in_circles_is_drawn(workshop):
    def circle(tree) -> None:
        operators = tree.subgraphs[0].operators
        operators[0].inputs = [operators[-1].outputs[0], *list(operators[0].inputs)[1:]]
        operators[3].inputs = [operators[3].outputs[0]]

    graph = read_graph(workshop.edited_graph(circle))
    statements(draw_dot(graph))
    assert draw_text(graph)
