"""Model Explorer, with its own adapter, shows the graph of a step model; run by 'make
test-explorer'."""

import pytest

from device_runner.model.step_file import load_step_model
from tests.conftest import KEPT_STEP_MODELS

adapter = pytest.importorskip("model_explorer.builtin_tflite_flatbuffer_adapter")
# Nodes that Model Explorer adds: they are no operators of the file.
ADDED = ("GraphInputs", "GraphOutputs", "pseudo_const")


@pytest.mark.parametrize("path", sorted(KEPT_STEP_MODELS.glob("*.tflite")), ids=lambda p: p.stem)
def test_the_graph_is_seen_as_it_is(path):
    (collection,) = adapter.BuiltinTfliteFlatbufferAdapter().convert(str(path), {})[
        "graphCollections"
    ]
    (graph,) = collection.graphs
    seen = [node["label"] for node in graph["nodes"] if node["label"] not in ADDED]
    assert seen == [one.name.lower() for one in load_step_model(path).graph.operators]
