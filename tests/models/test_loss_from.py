"""From where a sequence's loss counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from models.errors import ModelsError
from models.losses import loss_for
from models.prediction import judge, predict
from models.tasks.sequence_set import TargetKind
from models.training import fit
from tests.models.test_training import SETTINGS, new_network, small_task, step_task  # noqa: F401


def test_the_loss_is_of_the_last_steps_of_each_sequence():
    logits = tf.constant(np.random.default_rng(1).normal(size=(2, 8, 3)), tf.float32)
    labels, lengths = tf.constant([2, 0]), tf.constant([8, 5])
    found = loss_for(TargetKind.LABEL, 0.75)(logits, labels, lengths)
    entropies = -tf.nn.log_softmax(logits).numpy()
    # Of 8 steps the last two count, of 5 steps the last two (3.75 are left out, rounded down).
    wanted = (entropies[0, 6:8, 2].mean() + entropies[1, 3:5, 0].mean()) / 2
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    # Nothing that comes before or after tells.
    others = logits.numpy()
    others[0, :6], others[1, :3], others[1, 5:] = 9.0, -3.0, 1.0
    assert float(loss_for(TargetKind.LABEL, 0.75)(others, labels, lengths)) == float(found)


def test_a_net_is_fitted_by_the_end_of_its_sequences(small_task):  # noqa: F811
    """And judged by it: its validation loss is that of the last steps."""
    settings = replace(SETTINGS, epochs=2, loss_from=0.9)
    network = new_network(small_task)
    history = fit(network, small_task, settings)
    outputs = predict(network, small_task.validation)
    judged = judge(outputs, small_task.validation, small_task.score, 0.9)
    assert min(history.validation_loss) == pytest.approx(judged[0], rel=1e-5)
    assert judged[0] != judge(outputs, small_task.validation, small_task.score)[0]


def test_other_targets_than_classes_have_no_beginning_of_the_loss(step_task):  # noqa: F811
    with pytest.raises(ModelsError, match="loss_from is for tasks that tell a sequence's class"):
        fit(new_network(step_task), step_task, replace(SETTINGS, epochs=1, loss_from=0.5))
