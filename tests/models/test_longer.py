"""Longer training, what compressions are held against."""

from dataclasses import replace

import numpy as np
import tf_keras as keras

from models.compress import LongerSettings, compression
from models.network import Architecture
from models.tasks import load_task
from models.training_settings import TrainingSettings


def test_it_trains_as_often_as_it_is_asked_and_leaves_the_network_as_it_is(tmp_path):
    vowels = load_task("japanese-vowels")
    task = replace(vowels, train=vowels.train.select(np.arange(32)))
    keras.utils.set_random_seed(1)
    architecture = Architecture("simple-rnn", (4,), len(task.channels), len(task.labels))
    network = architecture.build()
    before = network.get_weights()
    training = TrainingSettings(epochs=3, learning_rate=0.01, patience=1)
    longer = compression("longer")(
        network, architecture, task, LongerSettings(times=2), training, None, tmp_path / "c.npz"
    )
    assert len(longer.history) == 6
    assert longer.architecture == architecture
    assert list(tmp_path.iterdir()) == []
    for old, still in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, still)
    kernels = (one.get_layer("head").get_weights()[0] for one in (network, longer.network))
    assert not np.array_equal(*kernels)
