"""Random networks of images, and of convolutions over time and frequency, stepped as they run."""

from __future__ import annotations

import pytest
import tf_keras as keras
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.importers.keras2 import imported
from tests.convert.importers.test_frames import check, seeded

L = keras.layers
activations = st.sampled_from(["relu", "tanh", "sigmoid", "linear"])
sizes = st.integers(1, 3)


@st.composite
def image_layers(draw):
    """Make a layer of one image of any size, or a few."""
    kind = draw(
        st.sampled_from(["conv", "depth", "separable", "pool", "mean", "up", "norm", "back"])
    )
    size, activation = draw(sizes), draw(activations)
    filters, stride = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    padding = draw(st.sampled_from(["same", "valid"]))
    if kind == "conv":
        return lambda: [L.Conv2D(filters, size, stride, padding, activation=activation)]
    if kind == "depth":
        return lambda: [L.DepthwiseConv2D(size, stride, padding, depth_multiplier=1 + filters % 2)]
    if kind == "separable":
        return lambda: [L.SeparableConv2D(filters, size, padding=padding, activation=activation)]
    if kind == "pool":
        return lambda: [L.MaxPooling2D(2, stride, "same")]
    if kind == "mean":
        return lambda: [L.AveragePooling2D(2, stride, "same")]
    if kind == "up":
        return lambda: [L.UpSampling2D(stride)]
    if kind == "back":
        return lambda: [L.Conv2DTranspose(filters, size, stride, "same")]
    return lambda: [L.BatchNormalization(), L.ReLU()]


@st.composite
def videos(draw):
    """Make a network of images, each layer in TimeDistributed or all of them as one model."""
    made = draw(st.lists(image_layers(), min_size=1, max_size=4))
    end = draw(st.sampled_from([L.Flatten, L.GlobalAveragePooling2D, L.GlobalMaxPooling2D]))
    whole, last = draw(st.booleans()), draw(st.booleans())
    height, width = draw(st.integers(6, 11)), draw(st.integers(6, 11))

    def build(_):
        layers = [layer for make in made for layer in make()] + [end()]
        x = keras.Input((None, height, width, 2))
        if whole:
            inner = keras.Sequential([keras.Input((height, width, 2)), *layers, L.Dense(4)])
            value = L.TimeDistributed(inner)(x)
        else:
            value = x
            for layer in layers:
                value = L.TimeDistributed(layer)(value)
            value = L.Dense(4)(value)
        return keras.Model(x, L.Dense(2)(L.GRU(3, return_sequences=not last)(value)))

    return build


@st.composite
def front_ends(draw):
    """Make convolutions over time and frequency, causal or not, perhaps with strides."""
    kinds = st.sampled_from(["conv", "depth", "separable", "pool", "frequency", "norm"])
    chosen = draw(st.lists(st.tuples(kinds, sizes, sizes, st.booleans(), st.booleans()), min_size=1,
                           max_size=3))  # fmt: skip
    strides = draw(st.lists(st.integers(1, 2), min_size=3, max_size=3))
    last = draw(st.booleans())

    def build(_):
        value = x = keras.Input((None, 12))
        value = L.Reshape((-1, 12, 1))(value)
        for (kind, time, frequency, causal, pads), stride in zip(chosen, strides, strict=False):
            windowed = kind in ("conv", "depth", "separable", "pool")
            if windowed and causal:
                around = (1, 1) if pads and kind != "pool" else (0, 0)
                value = L.ZeroPadding2D(((time - 1, 0), around))(value)
            if kind == "conv":
                value = L.Conv2D(3, (time, frequency), (stride, 1), activation="relu")(value)
            elif kind == "depth":
                value = L.DepthwiseConv2D((time, frequency), stride)(value)
            elif kind == "separable":
                value = L.SeparableConv2D(2, (time, frequency))(value)
            elif kind == "pool":
                value = L.MaxPooling2D((time, 1), (stride, 1))(value)
            elif kind == "frequency":
                value = L.Conv2D(2, (1, frequency), padding="same", activation="tanh")(value)
            else:
                value = L.BatchNormalization()(value)
        value = L.Reshape((-1, value.shape[-2] * value.shape[-1]))(value)
        return keras.Model(x, L.Dense(2)(L.GRU(3, return_sequences=not last)(value)))

    return build


SETTINGS = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


@settings(max_examples=1, **SETTINGS)
@given(front_ends())
def test_a_random_front_end_steps_as_it_runs(build):
    check(imported(seeded(keras, build), "tf_keras"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [videos, front_ends])
def test_many_random_networks_of_frames_step_as_they_run(kind):
    checked = 0

    @settings(max_examples=60, **SETTINGS)
    @given(kind())
    def check_each(build):
        nonlocal checked
        check(imported(seeded(keras, build), "tf_keras"))
        checked += 1

    check_each()
    assert checked >= 60
