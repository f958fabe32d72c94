"""Random small architectures: stepped, they compute what they did over sequences."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.data import random_sequences
from convert.export import step_of
from convert.import_conversion.conversion import step_inputs
from convert.import_conversion.original import original_outputs
from convert.importers.keras2 import imported
from convert.step.step_module import CONTROL_FLOW, StepModule
from device_runner.model.flatbuffer import read_graph
from tests.convert.importers.test_keras import stepped

L = keras.layers
widths = st.integers(1, 7)
activations = st.sampled_from(["tanh", "sigmoid", "hard_sigmoid", "relu", "linear", "softsign"])
gates = st.sampled_from(["sigmoid", "hard_sigmoid"])


@st.composite
def layers(draw):
    """Make a layer that keeps the time axis."""
    kind = draw(
        st.sampled_from(["dense", "rnn", "lstm", "gru", "conv", "norm", "batch", "pool", "depth"])
    )
    units, activation = draw(widths), draw(activations)
    if kind == "dense":
        return lambda: [L.Dense(units, activation=activation, use_bias=units % 2 == 0)]
    if kind == "rnn":
        bounded = "tanh" if activation in ("relu", "linear") else activation
        return lambda: [L.SimpleRNN(units, activation=bounded, return_sequences=True)]
    if kind == "lstm":
        gate, bias = draw(gates), draw(st.booleans())
        return lambda: [
            L.LSTM(units, recurrent_activation=gate, use_bias=bias, return_sequences=True)
        ]
    if kind == "gru":
        gate, after, bias = draw(gates), draw(st.booleans()), draw(st.booleans())
        return lambda: [
            L.GRU(
                units,
                recurrent_activation=gate,
                reset_after=after,
                use_bias=bias,
                return_sequences=True,
            )
        ]
    if kind == "conv":
        size, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        return lambda: [
            L.Conv1D(units, size, padding="causal", dilation_rate=dilation, activation=activation)
        ]
    if kind == "norm":
        return lambda: [L.Dense(units + 2), L.LayerNormalization()]
    if kind == "batch":
        return lambda: [L.BatchNormalization()]
    size = draw(st.integers(1, 4))
    if kind == "pool":
        pool = draw(st.sampled_from([L.MaxPooling1D, L.AveragePooling1D]))
        return lambda: [L.ZeroPadding1D((size - 1, 0)), pool(size, 1)]
    return lambda: [
        L.ZeroPadding1D((size - 1, 0)),
        L.DepthwiseConv1D(size, depth_multiplier=1 + units % 2),
    ]


@st.composite
def networks(draw):
    """Make a small network, perhaps with a path around its layers or one result at the end."""
    made = draw(st.lists(layers(), min_size=1, max_size=3))
    around = draw(st.sampled_from(["", "concatenate", "add"]))
    end = draw(st.sampled_from(["", "last", "mean", "max"]))
    seed = draw(st.integers(0, 1000))

    def build() -> keras.Model:
        keras.utils.set_random_seed(seed)
        x = keras.Input((None, 3))
        value = x
        for make in made:
            for layer in make():
                value = layer(value)
        if around == "concatenate":
            value = L.Concatenate()([value, x])
        elif around == "add":
            value = L.Add()([L.Dense(4)(value), L.Dense(4)(x)])
        if end == "last":
            value = L.GRU(3)(value)
        elif end == "mean":
            value = L.GlobalAveragePooling1D()(value)
        elif end == "max":
            value = L.GlobalMaxPooling1D()(value)
        model = keras.Model(x, L.Dense(2)(value))
        generator = np.random.default_rng(seed)
        model.set_weights([w + np.abs(generator.normal(0, 0.1, w.shape)) for w in model.weights])
        return model

    return build


def check(build) -> None:
    """Stepped it is the sequence model; its graph has its states in pairs and runs anywhere."""
    model = imported(build(), "tf_keras")
    module = StepModule(model.graph)
    (sequence,) = random_sequences(step_inputs(module), 3, 1, 9)
    wanted = original_outputs(model, module, sequence)["y"]
    scale = max(float(np.ptp(wanted)), 1e-2)
    np.testing.assert_allclose(stepped(module, sequence)["y"], wanted, atol=1e-4 * scale)
    graph = read_graph(step_of(module).flatbuffer)
    signature = graph.signature("step")
    assert set(signature.inputs) - {"x"} == set(signature.outputs) - {"y"} == set(module.states)
    assert len({*signature.inputs.values(), *signature.outputs.values()}) == 2 + 2 * len(
        module.states
    )
    names = {operator.name for operator in graph.operators}
    assert not names & CONTROL_FLOW
    assert not any(name.startswith("CUSTOM") for name in names)
    for name in module.states:
        ends = graph.tensors[signature.inputs[name]], graph.tensors[signature.outputs[name]]
        assert (ends[0].shape, ends[0].dtype) == (ends[1].shape, ends[1].dtype)


SETTINGS = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


@settings(max_examples=2, **SETTINGS)
@given(networks())
def test_random_models_step_as_they_run(build):
    check(build)


@pytest.mark.slow
def test_many_random_models_step_as_they_run():
    checked = 0

    @settings(max_examples=100, **SETTINGS)
    @given(networks())
    def check_each(build):
        nonlocal checked
        check(build)
        checked += 1

    check_each()
    assert checked >= 100
