"""``edgestep convert`` from a file to a verified step model, and its refusals."""

import functools
import re

import numpy as np
import pytest
from click.testing import CliRunner

from convert import file_conversion
from device_runner.model.step_file import load_step_model
from device_runner.model.window import Window
from device_runner.stream import Stream
from pipeline.cli import main
from tests.convert.importers.architectures import ARCHITECTURES, KERAS_3, TENSORFLOW, saved


def _saved(framework, name, folder):
    (architecture,) = (a for a in ARCHITECTURES if (a.framework, a.name) == (framework, name))
    return saved(architecture, folder)[0]


def _convert(*arguments):
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


@pytest.fixture
def litert_alone(monkeypatch):
    """Files are verified on LiteRT alone, where the test is of something else: TensorFlow takes
    seconds to start. The first test verifies on all."""
    one = functools.partial(file_conversion.waiting_runtimes, ["litert"])
    monkeypatch.setattr(file_conversion, "waiting_runtimes", one)


@pytest.fixture
def frames(vowels, tmp_path):
    """A file of real sequences."""
    array = np.stack([s[:12] for s in vowels.train.sequences if len(s) >= 12])
    np.save(tmp_path / "frames.npy", array)
    return tmp_path / "frames.npy"


def test_a_keras_3_model_becomes_an_int8_step_model(tmp_path, frames, vowels):
    path = _saved(KERAS_3, "GRU, one decision at the end", tmp_path)
    labels = ",".join(vowels.labels)
    result = _convert(
        path, "--target", "edgetpu", "--data", frames, "--labels", labels, "--frame-period", 0.0064
    )
    assert result.exit_code == 0, result.output
    assert re.search(r"verified on (native, )?litert", result.output)
    assert "fits edgetpu" in result.output
    assert "next: edgestep compile-edgetpu" in result.output
    model = load_step_model(tmp_path / "model-int8.tflite")
    assert model.labels == vowels.labels
    assert model.contract.frame_period_s == 0.0064
    assert (model.contract.cell, model.contract.units) == ("gru", (16,))
    assert model.contract.output_meaning == "probabilities"
    assert "calibration_warning" not in model.contract.metrics
    # What the file gives after the last step is what Keras gives for the sequence.
    import keras

    whole = vowels.test.sequences[0]
    original = np.asarray(keras.saving.load_model(path, compile=False)(whole[np.newaxis]))[0]
    stepped = Stream(model, "litert").run(whole)[-1]
    assert np.abs(stepped - original).max() < 0.05


@pytest.mark.slow
def test_without_data_random_numbers_must_be_asked_for(tmp_path):
    path = _saved(TENSORFLOW, "GRU", tmp_path)
    result = _convert(path, "--target", "cpu")
    assert result.exit_code == 2
    assert "--random-calibration" in result.output
    result = _convert(path, "--target", "cpu", "--random-calibration", "--scheme", "int8")
    assert result.exit_code == 0, result.output
    contract = load_step_model(tmp_path / "model-int8.tflite").contract
    assert "random numbers" in contract.metrics["calibration_warning"]
    assert "held_out" not in contract.metrics
    assert "verified" not in result.output
    assert "accuracy unknown" in result.output.splitlines()[-1]
    # Its matrices are rounded over what it computes on the data.
    scheme = "dynamic:compensated"
    result = _convert(path, "--target", "cpu", "--random-calibration", "--scheme", scheme)
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_what_integers_cannot_hold_is_converted_otherwise(tmp_path, frames):
    path = _saved(TENSORFLOW, "GlobalAveragePooling1D", tmp_path)
    result = _convert(path, "--target", "edgetpu", "--data", frames)
    assert result.exit_code == 3
    assert "mixed: parts of 'global_average_pooling1d" in result.output
    assert "edgetpu takes whole integer graphs" in result.output
    assert not list(tmp_path.glob("*.tflite"))
    result = _convert(path, "--target", "cpu", "--data", frames)
    assert result.exit_code == 0, result.output
    assert "mixed: parts of 'global_average_pooling1d" in result.output
    assert (tmp_path / "model-int8.tflite").exists()


@pytest.fixture
def walks(tmp_path):
    """A small network with named layers in model.keras, and random walks for it in walks.npy."""
    import tf_keras as keras

    keras.utils.set_random_seed(6)
    memory = keras.layers.GRU(6, return_sequences=True, name="memory")
    head = keras.layers.Dense(2, activation="softmax", name="head")
    keras.Sequential([keras.layers.Input((None, 3)), memory, head]).save(tmp_path / "model.keras")
    steps = np.random.default_rng(2).normal(0, 0.3, (10, 30, 3)).cumsum(1)
    np.save(tmp_path / "walks.npy", steps.astype(np.float32))
    return tmp_path


@pytest.mark.slow
def test_a_scheme_that_strays_names_the_layer_that_loses_most(walks, monkeypatch):
    monkeypatch.setattr("convert.scheme_choice.DECISIONS_KEPT", 1.1)
    options = "--target", "cpu", "--data", walks / "walks.npy"
    result = _convert(walks / "model.keras", *options)
    assert result.exit_code == 0, result.output
    said = next(line for line in result.output.splitlines() if "not int8:" in line)
    assert "decides as the float model at only" in said
    assert "layer 'memory' loses most (rms" in said
    assert (walks / "model-float32.tflite").exists()


@pytest.mark.usefixtures("litert_alone")
def test_what_int8_loses_is_told_by_layer_and_scheme(walks):
    tmp_path = walks
    options = "--target", "cpu", "--data", tmp_path / "walks.npy", "--scheme", "int8"
    result = _convert(tmp_path / "model.keras", *options, "--explain", "--in-float", "head")
    assert result.exit_code == 0, result.output
    assert "on data kept from calibration (2 of 10 sequences): rms" in result.output
    assert "decisions changed" in result.output
    lines = [line.split() for line in result.output.splitlines()]
    begins = [line[0] for line in lines if line]
    assert {"int8", "int8:per-channel", "int16x8", "dynamic", "memory"} <= set(begins)
    assert begins.count("head") == 0
    assert "cheapest mend:" in result.output
    assert "mixed: parts of 'head' stay in float32 (chosen)" in result.output
    held = load_step_model(tmp_path / "model-int8.tflite").contract.metrics["held_out"]
    assert held["steps"] == 60
    assert 0 < held["rms"] < 0.05
    result = _convert(tmp_path / "model.keras", *options, "--in-float", "haed")
    assert result.exit_code == 2
    assert "head" in result.output


def test_errors_have_their_exit_codes(tmp_path, frames):
    path = _saved(TENSORFLOW, "Bidirectional", tmp_path)
    result = _convert(path, "--target", "cpu", "--data", frames)
    assert result.exit_code == 3
    assert "(Bidirectional) reads the sequence backwards" in result.output
    assert "or give --window W" in result.output
    result = _convert(path, "--target", "toaster", "--data", frames)
    assert result.exit_code == 2
    result = _convert(tmp_path / "nothing.keras", "--target", "cpu", "--data", frames)
    assert result.exit_code == 3
    assert "no such file" in result.output


@pytest.mark.usefixtures("litert_alone")
def test_a_step_that_computes_something_else_is_exit_code_5(tmp_path, frames, monkeypatch):
    """Fake fault: the reference is off by a thousandth of the range."""
    from convert.importers import loaded_model

    right = loaded_model.reference_of

    def wrong(*models):
        compute = right(*models)
        return lambda inputs: [value + 1e-3 * np.ptp(value) for value in compute(inputs)]

    monkeypatch.setattr(loaded_model, "reference_of", wrong)
    path = _saved(TENSORFLOW, "GRU", tmp_path)
    result = _convert(path, "--target", "cpu", "--data", frames)
    assert result.exit_code == 5
    assert "fault of the conversion" in result.output
    assert not list(tmp_path.glob("*.tflite"))


def test_the_layers_that_can_be_stepped_are_listed():
    result = _convert("--list-layers")
    assert result.exit_code == 0
    assert {"GRU", "LSTM", "Conv1D"} <= set(result.output.split())


@pytest.mark.usefixtures("litert_alone")
def test_a_model_of_fixed_windows_says_how_far_its_step_is_from_them(tmp_path, frames):
    import tf_keras as keras

    keras.utils.set_random_seed(6)
    layers = [keras.layers.Input((8, 12)), keras.layers.GRU(6), keras.layers.Dense(2)]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    path = tmp_path / "model.keras"
    options = ("--target", "cpu", "--data", frames, "--scheme", "float32")
    result = _convert(path, *options, "--carry")
    assert result.exit_code == 0, result.output
    said = next(line for line in result.output.splitlines() if "trained on windows" in line)
    assert "windows of 8 steps, stepped with the state carried on: differs by" in said
    assert "% of the spread on the data given; " in said
    assert "without --carry: 8 lanes, " in said
    assert "computes what the original does" not in result.output
    contract = load_step_model(tmp_path / "model-float32.tflite").contract
    assert contract.window is None
    metrics = contract.metrics
    assert metrics["window_warning"].split(": ")[1] in said
    assert metrics["window"]["steps"] == 8
    assert metrics["window"]["max"] >= metrics["window"]["rms"] > 0
    assert metrics["window"]["multiply_adds"] > metrics["window"]["carry_multiply_adds"]
    result = _convert(path, *options, "--hop", 4)
    assert result.exit_code == 0, result.output
    assert "the stream answers, every 4 frames, for its last 8 frames, 2 lanes, " in result.output
    assert "; --carry: " in result.output
    contract = load_step_model(tmp_path / "model-float32.tflite").contract
    assert contract.window == Window(8, 4, 2)
    assert "window_warning" not in contract.metrics
