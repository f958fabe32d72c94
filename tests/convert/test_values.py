"""A network that gives values at every step instead of class scores: the next frame's cepstra."""

from dataclasses import replace

import numpy as np
import pytest
import tf_keras as keras

from calibration.rollout import long_streams
from convert.export import export, float_step
from convert.quantization_aware import float_network, train_quantization_aware
from device_runner.model.flatbuffer import read_graph
from device_runner.stream import Stream
from models.metrics import Metric, explained_variance, mean_absolute_error
from models.network import Architecture
from models.prediction import evaluate, predict
from models.training import fit
from models.training_settings import TrainingSettings

SETTINGS = TrainingSettings(epochs=15, learning_rate=1e-2)


@pytest.fixture(scope="module")
def task(vowels):
    def next_frames(data):
        return replace(
            data,
            sequences=[s[:-1] for s in data.sequences],
            values=[s[1:] for s in data.sequences],
        )

    return replace(
        vowels,
        train=next_frames(vowels.train),
        validation=next_frames(vowels.validation),
        test=next_frames(vowels.test),
        labels=vowels.channels,
    )


@pytest.fixture(scope="module")
def fitted(task):
    keras.utils.set_random_seed(1)
    architecture = Architecture("gru", (16,), 12, 12, gives_values=True)
    network = architecture.build()
    network.get_layer("normalization").adapt(*task.normalization)
    network.get_layer("head").adapt(*task.value_spread)
    history = fit(network, task, SETTINGS)
    return network, architecture, history


def test_it_learns_and_the_score_is_the_explained_variance(fitted, task):
    network, _, history = fitted
    assert history.validation_loss[-1] < 0.5 * history.validation_loss[0]
    loss, score = evaluate(network, task.test)
    assert score > 0.5
    outputs = predict(network, task.test)
    errors, wanted = [], []
    for given, values in zip(outputs, task.test.values, strict=True):
        errors.append(given[: len(values)] - values)
        wanted.append(values)
    per_sequence = [np.mean(error**2) for error in errors]
    assert loss == pytest.approx(np.mean(per_sequence), rel=1e-4)
    spread = np.concatenate(wanted) - np.concatenate(wanted).mean(0)
    expected = 1 - np.mean(np.concatenate(errors) ** 2) / np.mean(spread**2)
    assert score == pytest.approx(expected, abs=1e-4)


def test_a_perfect_network_explains_everything(task):
    assert explained_variance(task.test.targets, task.test) == 1.0


@pytest.mark.parametrize(
    "scheme", ["float32", "int8", pytest.param("int8:qat", marks=pytest.mark.slow)]
)
def test_its_step_model_says_so(fitted, task, tmp_path, scheme):
    network, architecture, _ = fitted
    step = float_step(network)
    ranges = step.calibrate(long_streams(task.train.sequences, 2000, 1))
    if scheme.endswith("qat"):
        settings = replace(SETTINGS, epochs=2, learning_rate=1e-3)
        step, _, _ = train_quantization_aware(network, architecture, step, ranges, task, settings)
        network = float_network(step)
    model = export(network, architecture, task, scheme, tmp_path / "m.tflite", step, ranges)
    metrics = model.contract.metrics
    assert model.contract.output_meaning == "values"
    assert model.contract.tolerance.argmax_agreement == 0
    assert metrics["float_explained_variance"] == pytest.approx(
        evaluate(network, task.test)[1], abs=1e-4
    )
    stream = Stream(tmp_path / "m.tflite", "litert")
    outputs = np.zeros_like(task.test.targets)
    for index, sequence in enumerate(task.test.sequences):
        stream.reset()
        outputs[index, : len(sequence)] = stream.run(sequence)
    expected = explained_variance(outputs, task.test)
    assert metrics["explained_variance"] == pytest.approx(expected, abs=1e-4)
    assert metrics["explained_variance"] > metrics["float_explained_variance"] - 0.1


def test_scale_and_shift_of_the_values_cost_no_operator(fitted):
    network, _, _ = fitted
    plain = Architecture("gru", (16,), 12, 12).build()

    def operators(network):
        return [operator.name for operator in read_graph(float_step(network).flatbuffer).operators]

    assert operators(network) == operators(plain)


def test_a_metric_in_a_unit_is_in_the_contract(fitted, task, tmp_path):
    network, architecture, _ = fitted
    metric = Metric("mean absolute error", "cepstra", False, "", mean_absolute_error)
    groups = np.arange(len(task.test)) % 2
    task = replace(task, metric=metric, group_name="half", test=replace(task.test, groups=groups))
    model = export(network, architecture, task, "float32", tmp_path / "m.tflite")
    metrics = model.contract.metrics
    assert metrics["metric"]["unit"] == "cepstra"
    assert metrics["mean_absolute_error"] == pytest.approx(
        metrics["float_mean_absolute_error"], rel=1e-3
    )
    halves = metrics["mean_absolute_error_by_half"]
    assert min(halves.values()) <= metrics["mean_absolute_error"] <= max(halves.values())
