"""What is chosen on the way to a step model does not depend on the test data: with its labels
permuted and its frames drawn at random, all but the test scores stays the same."""

from dataclasses import replace

import numpy as np
import pytest
import tf_keras as keras

from calibration.rollout import long_streams
from convert.export import export, float_step
from convert.model_metrics import ModelMetrics
from convert.scheme_choice import choose, refusal
from models.compress import PruneSettings, compression
from models.network import Architecture
from models.tasks import load_task
from models.tasks.sequence_set import SequenceSet
from models.training import fit
from models.training_settings import TrainingSettings

OF_TEST_DATA = {"accuracy", "float_accuracy"}


def small_task():
    vowels = load_task("japanese-vowels")
    return replace(
        vowels,
        train=vowels.train.select(np.arange(48)),
        test=vowels.test.select(np.arange(0, 370, 5)),
    )


def poisoned(task):
    """The task with test data that tells nothing."""
    generator = np.random.default_rng(1)
    frames = [generator.normal(size=one.shape).astype(np.float32) for one in task.test.sequences]
    labels = generator.permutation(task.test.labels)
    return replace(task, test=SequenceSet(frames, labels, task.test.groups))


def made(task, folder, schemes, trained=False):
    """Export a network in some schemes, trained and pruned before if asked."""
    keras.utils.set_random_seed(3)
    architecture = Architecture("gru", (6,), len(task.channels), len(task.labels))
    network = architecture.build()
    network.get_layer("normalization").adapt(*task.normalization)
    if trained:
        settings = TrainingSettings(epochs=3, learning_rate=0.01)
        fit(network, task, settings)
        halved = compression("prune")(
            network, architecture, task, PruneSettings(keep=0.5, rounds=1), settings
        )
        network, architecture = halved.network, halved.architecture
    step = float_step(network)
    ranges = step.calibrate(long_streams(task.train.sequences, 400, 1))
    folder.mkdir()
    return {
        scheme: export(network, architecture, task, scheme, folder / scheme, step, ranges)
        for scheme in schemes
    }


def check_only_test_scores_differ(clean, other):
    assert clean.contract.metrics["accuracy"] != other.contract.metrics["accuracy"]
    left = [
        {key: value for key, value in model.contract.metrics.items() if key not in OF_TEST_DATA}
        for model in (clean, other)
    ]
    assert left[0] == left[1]
    assert replace(clean.contract, metrics={}) == replace(other.contract, metrics={})
    assert clean.flatbuffer == other.flatbuffer
    for name, values in clean.golden.inputs.items():
        np.testing.assert_array_equal(values, other.golden.inputs[name])


def recommended(models):
    metrics = {s: ModelMetrics.read(model.contract.metrics) for s, model in models.items()}
    return choose("cpu", {scheme: refusal(metrics[scheme]) for scheme in models})


def test_of_a_step_model_only_the_test_scores_change(tmp_path):
    task = small_task()
    clean = made(task, tmp_path / "clean", ("int8",))
    other = made(poisoned(task), tmp_path / "poisoned", ("int8",))
    check_only_test_scores_differ(clean["int8"], other["int8"])
    assert recommended(clean) == recommended(other)


@pytest.mark.slow
def test_training_pruning_and_the_recommended_scheme_do_not_see_the_test_data(tmp_path):
    task, schemes = small_task(), ("int8", "dynamic", "float32")
    clean = made(task, tmp_path / "clean", schemes, trained=True)
    other = made(poisoned(task), tmp_path / "poisoned", schemes, trained=True)
    for scheme in schemes:
        check_only_test_scores_differ(clean[scheme], other[scheme])
    assert recommended(clean) == recommended(other)
