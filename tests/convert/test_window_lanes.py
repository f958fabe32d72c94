"""A model of windows is stepped in lanes, or computed anew: exactly what it says of each window."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import keras as keras3
import numpy as np
import pytest
import tf_keras as keras2

from convert.errors import UnsupportedLayerError, WindowOptionError
from convert.export import draft_model
from convert.import_conversion.conversion import prepare
from convert.import_conversion.description import Facts
from convert.import_conversion.window_choice import WindowWish, choose_meaning
from convert.importers import import_model
from convert.schemes import apply_scheme, parse_scheme
from convert.verify import verify_on_runtimes
from device_runner.backends import backend_module
from device_runner.errors import MissingRuntimeError
from device_runner.model.contract import Tolerance
from device_runner.model.window import Window
from device_runner.stream import Stream
from tests.convert.lone_windows import compare_bytes

STEPS, CHANNELS = 8, 3
KERAS = {"tf_keras": keras2, "Keras 3": keras3}
RUNTIMES = ("litert", "tflite-runtime", "tensorflow", "reference", "micro")


def _layers(keras, name, steps=STEPS):
    layers = keras.layers
    return {
        "LSTM": [layers.LSTM(5)],
        "GRU": [layers.GRU(5)],
        "CRNN": [
            layers.Conv1D(4, 3, padding="causal", activation="relu"),
            layers.BatchNormalization(),
            layers.GRU(5),
        ],
        "stacked": [layers.LSTM(5, return_sequences=True), layers.GRU(4)],
        "Bidirectional": [layers.Bidirectional(layers.LSTM(4))],
        "backwards": [layers.GRU(4, go_backwards=True)],
        "Flatten": [layers.SimpleRNN(4, return_sequences=True), layers.Flatten()],
        "strides": [
            layers.Conv1D(4, 3, activation="relu"),
            layers.MaxPooling1D(2),
            layers.LSTM(4),
        ],
        "decoder": [
            layers.GRU(4),
            layers.RepeatVector(steps),
            layers.GRU(4, return_sequences=True),
            layers.Flatten(),
        ],
    }[name]


def _saved(folder, keras, name, steps=STEPS):
    """Save a model of random weights, and return it with its path."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.layers.Input((steps, CHANNELS)),
            *_layers(keras, name),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.save(folder / "model.keras")
    return model, folder / "model.keras"


def _frames(steps, seed=5):
    x = np.random.default_rng(seed).normal(size=(steps, CHANNELS)).astype(np.float16)
    return {"x": x.astype(np.float32)}


def _converted(path, hop=None, window=None):
    imported = import_model(path, whole=True)
    meaning = choose_meaning(imported, WindowWish(window, hop))
    return prepare(imported, Facts(), [_frames(60)], meaning=meaning)


def _wanted(model, window, frames):
    """Ask the original for the window at each frame that has an answer."""
    ends = list(window.answered_frames(len(frames)))
    windows = np.stack([frames[end + 1 - window.steps : end + 1] for end in ends])
    return ends, np.asarray(model(windows, training=False))


def _check_float(tmp_path, framework, name, hop, backends=("litert", "reference")):
    """Hold the float stream against the original; return the conversion."""
    model, path = _saved(tmp_path, KERAS[framework], name)
    conversion = _converted(path, hop)
    made = conversion.export("float32", tmp_path / "float32.tflite")
    frames = _frames(3 * STEPS + 2, seed=6)["x"]
    ends, wanted = _wanted(model, made.contract.window, frames)
    for backend in backends:
        given = Stream(made, backend).run(frames)
        assert np.abs(given[ends] - wanted).max() < 1e-4
        window = made.contract.window
        gives = [window.given_row(frame) is not None for frame in range(len(frames))]
        np.testing.assert_array_equal(~np.isnan(given).any(-1), gives)
    return conversion


def _int8(tmp_path, conversion):
    """Write the int8 lanes, and the same step with a single row, which has no window."""
    made = conversion.export("int8", tmp_path / "int8.tflite")
    if not made.contract.window.lanes:
        return made, made
    step, spec = conversion.step, parse_scheme("int8")
    alone = replace(step, flatbuffer=step.one_row or step.flatbuffer, window=None, one_row=None)
    row = draft_model(
        alone,
        conversion.description,
        apply_scheme(spec, alone, conversion._ranges),
        tmp_path / "row.tflite",
        spec,
        Tolerance(1.0, 1.0, 0.0),
    )
    return made, row


def _check_int8(tmp_path, conversion):
    """Compare the bytes of the int8 lanes with those of each window stepped alone."""
    made, row = _int8(tmp_path, conversion)
    compare_bytes(made, row, "litert", _frames(3 * STEPS + 2, seed=7)["x"])
    return made


@pytest.mark.parametrize(
    ("framework", "name", "hop"), [("tf_keras", "CRNN", 3), ("Keras 3", "LSTM", 1)]
)
def test_lanes_give_what_the_model_says_of_each_window(tmp_path, framework, name, hop):
    conversion = _check_float(tmp_path, framework, name, hop)
    assert conversion.step.window == Window(STEPS, hop, -(-STEPS // hop))
    _check_int8(tmp_path, conversion)


@pytest.mark.slow
@pytest.mark.parametrize("hop", [1, STEPS // 4, 3, STEPS, STEPS + 3])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "CRNN", "stacked"])
@pytest.mark.parametrize("framework", KERAS)
def test_lanes_at_every_hop_on_every_runtime(tmp_path, framework, name, hop):
    conversion = _check_float(tmp_path, framework, name, hop)
    made = _check_int8(tmp_path, conversion)
    verified = verify_on_runtimes([made.path, tmp_path / "float32.tflite"])
    assert verified
    assert not [one for one in verified if one["failure"]]


def test_what_cannot_be_stepped_is_computed_anew_over_its_window(tmp_path):
    conversion = _check_float(tmp_path, "tf_keras", "Bidirectional", None)
    assert conversion.step.window == Window(STEPS, 1, 0)
    assert "recomputed for each answer" in conversion.proof
    assert "reads the sequence backwards" in conversion.proof
    made = conversion.export("int8", tmp_path / "int8.tflite")
    assert made.contract.scheme == "int8"


@pytest.mark.slow
@pytest.mark.parametrize("framework", KERAS)
def test_a_window_of_token_ids_holds_what_is_looked_up(tmp_path, framework):
    keras = KERAS[framework]
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Embedding(20, 4), keras.layers.Bidirectional(keras.layers.GRU(3))]
    model = keras.Sequential([keras.Input((STEPS,)), *layers, keras.layers.Dense(2)])
    model.save(tmp_path / "model.keras")
    imported = import_model(tmp_path / "model.keras", whole=True)
    ids = np.random.default_rng(4).integers(0, 20, size=3 * STEPS)
    meaning = choose_meaning(imported, WindowWish())
    conversion = prepare(imported, Facts(), [{"x": ids[:, np.newaxis]}], meaning=meaning)
    made = conversion.export("float32", tmp_path / "float32.tflite")
    ends, wanted = _wanted(model, made.contract.window, ids)
    given = Stream(made, "litert").run(ids[:, np.newaxis])
    assert np.abs(given[ends] - wanted).max() < 1e-4


def test_lanes_of_an_onnx_window_are_to_the_byte_as_each_alone(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from tests.convert.importers.onnx_networks import window

    onnx.save(window(STEPS), tmp_path / "net.onnx")
    # It ends in a Softmax, whose values have other axes in several lanes than in one.
    _check_int8(tmp_path, _converted(tmp_path / "net.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("hop", [1, 2, STEPS])
@pytest.mark.parametrize("name", ["Bidirectional", "backwards", "Flatten", "strides", "decoder"])
@pytest.mark.parametrize("framework", KERAS)
def test_windows_computed_anew_at_every_hop(tmp_path, framework, name, hop):
    conversion = _check_float(tmp_path, framework, name, hop, ("litert",))
    assert conversion.step.window == Window(STEPS, hop, 0)
    verified = verify_on_runtimes([tmp_path / "float32.tflite"])
    assert verified
    assert not [one for one in verified if one["failure"]]


@pytest.mark.slow
@pytest.mark.parametrize("framework", KERAS)
@pytest.mark.parametrize("name", ["LSTM", "GRU", "CRNN", "stacked", "Bidirectional"])
def test_windows_are_exact_on_each_runtime(tmp_path, framework, name):
    """In float32 as the original, in int8 to the byte as each window alone; hop 1, W/4 and W."""
    model, path = _saved(tmp_path, KERAS[framework], name)
    frames = _frames(3 * STEPS + 2, seed=8)["x"]
    folders = []
    for hop in (1, STEPS // 4, STEPS):
        conversion = _converted(path, hop)
        folders.append(tmp_path / str(hop))
        folders[-1].mkdir()
        made, _ = _int8(folders[-1], conversion)
        conversion.export("float32", folders[-1] / "float32.tflite")
        np.save(folders[-1] / "frames.npy", frames)
        np.save(folders[-1] / "wanted.npy", _wanted(model, made.contract.window, frames)[1])
    tried = []
    for backend in RUNTIMES:
        try:
            backend_module(backend).probe()
        except MissingRuntimeError:
            continue
        tried.append(backend)
        done = subprocess.run(
            [sys.executable, "-m", "tests.convert.lone_windows", backend, *map(str, folders)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{backend}: {done.stderr[-2000:]}"
    assert {"litert", "reference"} <= set(tried)


def test_wishes_that_do_not_fit_are_refused_in_one_line(tmp_path):
    _, path = _saved(tmp_path, keras2, "Bidirectional")
    imported = import_model(path, whole=True)
    with pytest.raises(UnsupportedLayerError, match="computed anew over its window of 8 steps"):
        choose_meaning(imported, WindowWish(carry=True))
    with pytest.raises(WindowOptionError, match="fixed to windows of 8 steps, not 5"):
        choose_meaning(imported, WindowWish(steps=5))
    with pytest.raises(UnsupportedLayerError, match="recurrent steps, 1,024 at most"):
        choose_meaning(replace(imported, window=None), WindowWish(steps=5000))
    _, path = _saved(tmp_path, keras2, "GRU", None)
    free = import_model(path)
    with pytest.raises(WindowOptionError, match="give --window W too"):
        choose_meaning(free, WindowWish(hop=2))
    assert choose_meaning(free, WindowWish()).window is None
    assert choose_meaning(free, WindowWish(steps=9, hop=4)).window == Window(9, 4, 3)
    with pytest.raises(WindowOptionError, match="leave out --window and --hop, or --carry"):
        WindowWish(steps=9, carry=True).check()
