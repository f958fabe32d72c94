"""Pins what TFLite's sparse encoding of weights (EXPERIMENTAL_SPARSITY) does on today's runtimes.

It would make a file with 16x1-pruned matrices smaller. With int8 weights it is wrong or of no use
today, so no scheme offers it, and known_failures refuses it. Where a test here fails, a runtime has
changed: look again whether it should be offered, and bring
device_runner/backends/known_failures.py and docs/compression.md up to date.
"""

import subprocess
import sys
import tempfile

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from convert.step.keras_graph import keras_step_graph
from convert.step.step_module import StepModule
from device_runner.backends.known_failures import known_failure
from device_runner.model.flatbuffer import read_graph
from models.compress.magnitude import pattern_holds
from models.network import Architecture, recurrences
from models.tensorflow_log import quiet

UNITS = 64
# In a process of its own: two TFLite runtimes do not share one.
STEP_THROUGH = """
import importlib, sys
import numpy as np
interpreter = importlib.import_module(sys.argv[1] + ".interpreter").Interpreter(sys.argv[2])
step = interpreter.get_signature_runner("step")
h = None
outputs = []
for frame in np.load(sys.argv[3]):
    state = np.zeros(step.get_input_details()["h"]["shape"], np.float32) if h is None else h
    result = step(x=frame[np.newaxis], h=state)
    h = result["h"]
    outputs.append(result["y"][0])
np.save(sys.argv[4], outputs)
"""


@pytest.fixture(scope="module")
def frames(vowels):
    return np.concatenate(vowels.test.sequences[:3])


@pytest.fixture(scope="module")
def network(vowels):
    """A GRU three quarters of whose recurrent blocks are zero."""
    keras.utils.set_random_seed(1)
    built = Architecture("gru", (UNITS,), 12, 9).build()
    built.get_layer("normalization").adapt(*vowels.normalization)
    kernel = recurrences(built)[0].cell.recurrent_kernel
    blocks = np.random.default_rng(1).random((UNITS // 16, 3 * UNITS)) < 0.25
    kernel.assign(kernel.numpy() * np.repeat(blocks, 16, axis=0))
    assert pattern_holds(kernel.numpy(), "16x1")
    return built


@pytest.fixture(scope="module")
def converted(network, frames, tmp_path_factory):
    """Path of the step model by (weights, whether sparse), made on demand."""
    module = StepModule(keras_step_graph(network))
    folder = tmp_path_factory.mktemp("sparse")
    random = np.random.default_rng(1)

    def representative():
        for frame in frames:
            h = np.tanh(random.standard_normal((1, UNITS))).astype(np.float32)
            yield "step", {"x": frame[np.newaxis], "h": h}

    def get(weights, sparse):
        path = folder / f"{weights}-{sparse}.tflite"
        if path.exists():
            return path
        with tempfile.TemporaryDirectory() as saved, quiet():
            tf.saved_model.save(module, saved, signatures={"step": module.step})
            converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=["step"])
            converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY] if sparse else []
            if weights != "float32":
                converter.optimizations.append(tf.lite.Optimize.DEFAULT)
            if weights == "int8":
                converter.representative_dataset = representative
            path.write_bytes(converter.convert())
        return path

    return get


def error(network, frames, path, runtime):
    """Largest error of the stepped model on a runtime, as a share of the outputs' spread."""
    given, found = path.with_suffix(".x.npy"), path.with_suffix(".y.npy")
    np.save(given, frames)
    command = [sys.executable, "-c", STEP_THROUGH, runtime, str(path), str(given), str(found)]
    subprocess.run(command, capture_output=True, check=True)
    expected = network(frames[np.newaxis]).numpy()[0]
    return np.abs(np.load(found) - expected).max() / np.ptp(expected)


@pytest.mark.parametrize(
    ("weights", "runtime", "right"),
    [
        pytest.param("float32", "ai_edge_litert", True, marks=pytest.mark.slow),
        ("float32", "tflite_runtime", True),
        pytest.param("dynamic", "ai_edge_litert", False, marks=pytest.mark.slow),
        ("int8", "ai_edge_litert", True),
        ("int8", "tflite_runtime", False),
    ],
)
def test_what_sparse_encoding_computes(network, frames, converted, weights, runtime, right):
    dense = error(network, frames, converted(weights, False), runtime)
    sparse = error(network, frames, converted(weights, True), runtime)
    if right:
        assert sparse < 1.5 * dense + 1e-5
    else:
        assert sparse > 2 * dense, f"{weights} is right on {runtime} now: see the head of this file"
    backend = {"ai_edge_litert": "litert"}.get(runtime, "tflite-runtime")
    graph = read_graph(converted(weights, True).read_bytes())
    assert any(tensor.sparse for tensor in graph.tensors)
    assert (known_failure(graph, backend) is None) == right
