"""What no integers hold stays in float32 within an int8 step; the states keep their integers."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.import_conversion.conversion import Conversion, prepare
from convert.import_conversion.description import Facts
from convert.importers.keras2 import imported
from convert.schemes.mixed import float_parts, mixed_sentence
from convert.simulation import SimulatedNetwork
from convert.targets.check import check_file
from convert.verify import verify_on_runtimes
from device_runner.model.flatbuffer import read_graph

CHANNELS = 5
layers = keras.layers


def sequences() -> list[dict[str, np.ndarray]]:
    """Slow random walks, seeded."""
    walks = np.random.default_rng(4).normal(0, 0.1, (6, 50, CHANNELS)).cumsum(1)
    return [{"x": walk.astype(np.float32)} for walk in walks]


def after_gru(*more: keras.layers.Layer) -> list[keras.layers.Layer]:
    """A recurrence, what is to be tested, and a product that reads it."""
    return [layers.GRU(8, return_sequences=True), *more, layers.Dense(3)]


# The layers of a network by what is tested; what stays in float32, if anything; states in float32.
NETWORKS = {
    "LayerNormalization": (lambda: after_gru(layers.LayerNormalization()), True, ()),
    "LayerNormalization first": (
        lambda: [layers.LayerNormalization(), layers.LSTM(6, return_sequences=True)],
        True,
        (),
    ),
    "LayerNormalization last": (
        lambda: [layers.GRU(8, return_sequences=True), layers.LayerNormalization()],
        True,
        (),
    ),
    "a running mean": (
        lambda: after_gru(layers.GlobalAveragePooling1D()),
        True,
        ("count_1", "mean_1"),
    ),
    "a running mean last": (
        lambda: [layers.GRU(8, return_sequences=True), layers.GlobalAveragePooling1D()],
        True,
        ("count_1", "mean_1"),
    ),
    "a running maximum": (
        lambda: [layers.Dense(6), layers.GlobalMaxPooling1D(), layers.Dense(3)],
        False,
        (),
    ),
    "elu": (lambda: after_gru(layers.Dense(6, activation="elu")), True, ()),
    "ELU": (lambda: after_gru(layers.Dense(6), layers.ELU(0.7)), True, ()),
    "selu": (lambda: after_gru(layers.Dense(6, activation="selu")), True, ()),
    "softplus": (lambda: after_gru(layers.Dense(6, activation="softplus")), True, ()),
    "gelu": (lambda: after_gru(layers.Dense(6, activation="gelu")), True, ()),
    "mish": (lambda: after_gru(layers.Dense(6, activation="mish")), True, ()),
    "softsign": (lambda: after_gru(layers.Dense(6, activation="softsign")), True, ()),
    "exponential": (lambda: after_gru(layers.Dense(6, activation="exponential")), True, ()),
    "softplus in a cell": (
        lambda: [layers.LSTM(6, activation="softplus", return_sequences=True)],
        True,
        (),
    ),
    "ReLU capped, with a slope": (
        lambda: after_gru(layers.ReLU(negative_slope=0.1, max_value=0.3)),
        False,
        (),
    ),
    "softmax between": (lambda: after_gru(layers.Dense(6, activation="softmax")), False, ()),
}
# These jump: an input that rounds to the other side of the threshold changes the output by it.
JUMPING = {
    "ReLU with a threshold": lambda: after_gru(
        layers.ReLU(threshold=0.1, negative_slope=0.1, max_value=0.3)
    ),
    "ThresholdedReLU": lambda: after_gru(layers.ThresholdedReLU(0.1)),
}
RUNTIMES = ("litert", "tflite-runtime", "tensorflow", "reference")
QUICK = ("LayerNormalization last",)


def conversion_of(network: list[keras.layers.Layer]) -> Conversion:
    """A network's float step, held against Keras."""
    keras.utils.set_random_seed(11)
    model = keras.Sequential([keras.Input((None, CHANNELS)), *network])
    return prepare(imported(model, "tf_keras"), Facts(), sequences())


@functools.cache
def conversion(name: str) -> Conversion:
    """The conversion of a network of NETWORKS."""
    return conversion_of(NETWORKS[name][0]())


def slow_but(name: str) -> object:
    """A case that is slow unless it is one of the quick ones."""
    return pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)


@pytest.mark.parametrize("scheme", ["int8", pytest.param("int16x8", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", map(slow_but, NETWORKS))
def test_it_is_computed_alike_everywhere(tmp_path, name, scheme):
    _, is_mixed, in_float = NETWORKS[name]
    model = conversion(name).export(scheme, tmp_path / "step.tflite")
    metrics = model.contract.metrics
    assert metrics["drift"]["rms"] < (0.03 if scheme == "int8" else 0.01)
    assert bool(metrics.get("mixed")) == is_mixed
    stored = {state.name: state.dtype for state in model.contract.states}
    assert {state for state, dtype in stored.items() if dtype == "float32"} == set(in_float)
    used = {operator.name for operator in model.graph.operators}
    assert ("QUANTIZE" in used) == is_mixed
    verified = verify_on_runtimes([model.path], RUNTIMES)
    assert [one["failure"] for one in verified if one["failure"]] == []
    assert {"litert", "tflite-runtime", "reference"} <= {one["backend"] for one in verified}


@pytest.mark.slow
@pytest.mark.parametrize("name", JUMPING)
def test_what_jumps_is_near_the_float_model_but_at_the_jump(tmp_path, name):
    model = conversion_of(JUMPING[name]()).export("int8", tmp_path / "step.tflite")
    assert model.contract.metrics["drift"]["rms"] < 0.05
    assert "jumps" in mixed_sentence(model.contract.metrics["mixed"])
    assert not [one for one in verify_on_runtimes([model.path]) if one["failure"]]


def test_a_mixed_graph_fits_no_edge_tpu_and_is_not_trained(tmp_path):
    found = conversion("LayerNormalization last")
    model = found.export("int8", tmp_path / "step.tflite")
    assert check_file(model.path, "cpu").fits
    report = check_file(model.path, "edgetpu")
    assert not report.fits
    assert "mixed" in report.error().message
    step = found.step
    assert "'layer_normalization" in mixed_sentence(
        float_parts(read_graph(step.flatbuffer), step, 8).reasons
    )
    with pytest.raises(UnsupportedLayerError, match="not trained quantization-aware"):
        SimulatedNetwork(step, {})
