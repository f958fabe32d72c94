"""TFLite files without a contract: which states are found, and that nothing is said to be right."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import device_runner
from device_runner.measure.bench_files import bench_files
from device_runner.measure.latency import BenchSettings
from device_runner.measure.result_table import format_results
from device_runner.model.flatbuffer import Graph, Operator, Signature, Tensor
from device_runner.model.foreign_inspection import format_foreign, inspect_foreign
from device_runner.model.state_pairs import find_ports
from tests.foreign_files import FOLDER, foreign_file

SHORT = BenchSettings(steps=100, rounds=1, warmup_s=0)
SCHEMA = json.loads(
    (Path(device_runner.__file__).parent / "measure" / "result.schema.json").read_text()
)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.tflite")), ids=lambda path: path.stem)
def test_any_file_is_stepped_and_said_to_be_unverified(path):
    (result,) = bench_files(path, "litert", SHORT)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(result)))
    assert result["valid"]
    assert result["verification"] is None
    assert "no step contract" in result["unverified"]
    assert f"UNVERIFIED {path.name}" in format_results([result])


def test_bench_says_what_it_feeds_back_and_what_not():
    def unverified(name: str) -> str:
        return bench_files(foreign_file(name), "litert", SHORT)[0]["unverified"]

    assert "fed back by equal shapes: state_0 to state_0" in unverified("function-gru")
    assert "to c_in" in unverified("states-lstm-open-batch")
    assert "not fed back, as scales differ" in unverified("states-lstm-int8")
    assert "2 states kept inside, which no reset reaches" in unverified("fused-lstm")


def test_bench_takes_frames_for_a_file_without_contract(tmp_path):
    path = tmp_path / "frames.npy"
    np.save(path, np.ones((7, 5), np.float32))
    (result,) = bench_files(foreign_file("function-gru"), "litert", SHORT, data=path)
    assert f"inputs are from {path}" in result["unverified"]


def test_inspect_shows_states_and_variables():
    facts = inspect_foreign(foreign_file("states-lstm"))
    assert {pair["input"]: pair["recognised_by"] for pair in facts["states"]} == {
        "h_in": "connection", "c_in": "connection",
    }  # fmt: skip
    assert list(facts["inputs"]) == ["x"]
    inside = inspect_foreign(foreign_file("stateful-lstm-loop"))
    assert inside["variables"] == ["variable float32 [1, 8]"] * 2
    assert "  inside variable float32 [1, 8]" in format_foreign(inside)
    json.dumps(facts)


def graph_of(inputs: list[str], outputs: list[str], edges: dict[str, list[str]]) -> Graph:
    """A graph of tensors [1, 4]; ``edges`` says what each output is computed from, one ADD each."""
    names = [*inputs, *outputs]
    tensors = tuple(
        Tensor(i, name, (1, 4), "float32", (), (), 0, True, False, 0, 0)
        for i, name in enumerate(names)
    )
    operators = tuple(
        Operator("ADD", 1, tuple(names.index(one) for one in of), (names.index(name),), {})
        for name, of in edges.items()
    )
    return Graph(
        tensors, operators, tuple(range(len(inputs))), tuple(range(len(inputs), len(names))),
        (), 1, (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("taken", "given"),
    [
        ("h_in", "h_out"), ("state_in_0", "state_out_0"), ("prev_state", "next_state"),
        ("h0", "hn"), ("serving_default_cache_0:0", "new_cache_0"), ("gru.h", "gru/h_new"),
    ],
)  # fmt: skip
def test_names_that_differ_by_the_side_alone_are_a_state(taken, given):
    graph = graph_of(["audio", taken], ["mask", given], {"mask": ["audio"], given: [taken]})
    (pair,) = find_ports(graph, None).states
    assert (pair.state_in, pair.state_out, pair.how) == (1, 3, "names")


def test_data_as_wide_in_as_out_is_no_state():
    assert find_ports(graph_of(["a"], ["p"], {"p": ["a"]}), None).states == ()


def test_what_is_as_near_is_left_open():
    graph = graph_of(
        ["x", "a", "b"], ["y", "p", "q"],
        {"p": ["x", "a", "b"], "q": ["x", "a", "b"], "y": ["x", "a", "b"]},
    )  # fmt: skip
    ports = find_ports(graph, None)
    assert ports.states == ()
    assert "have one shape" in ports.unclear
    signature = Signature("f", {"x": 0, "a": 1, "b": 2}, {"y": 3, "a": 4, "b": 5}, 0)
    assert [pair.how for pair in find_ports(graph, signature).states] == ["signature"] * 2
