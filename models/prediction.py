"""What a network gives for a data set, and how good that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from models.losses import task_loss
from models.metrics import Metric, usual_metric
from models.tasks.sequence_set import SequenceSet
from models.tensorflow_log import quiet

# Sequences that are run at once.
PREDICTION_BATCH = 256


def evaluate(
    network: keras.Model, data: SequenceSet, metric: Metric | None = None
) -> tuple[float, float]:
    """Loss (see :func:`task_loss`) and score: the value of ``metric``, or of the one that is
    usual for such data (:func:`models.metrics.usual_metric`)."""
    return judge(predict(network, data), data, metric or usual_metric(data))


def judge(outputs: np.ndarray, data: SequenceSet, metric: Metric) -> tuple[float, float]:
    loss = task_loss(tf.constant(outputs), tf.constant(data.targets), tf.constant(data.lengths))
    return float(loss), metric.compute(outputs, data)


def predict(
    network: keras.Model, data: SequenceSet, forward: Callable[[Any], tf.Tensor] | None = None
) -> np.ndarray:
    """Outputs of every step, float32 [sequences, longest, outputs]; after a sequence's end they
    mean nothing.

    Args:
        forward: the network's forward pass, compiled; to be given where one network is run again
            and again, as Keras' predict spends 80 ms on preparing.
    """
    if forward is None:
        with quiet():  # TensorFlow warns of a new trace for each network
            return network.predict(data.padded, batch_size=PREDICTION_BATCH, verbose=0)
    x = data.padded
    starts = range(0, len(x), PREDICTION_BATCH)
    return np.concatenate(
        [forward(x[start : start + PREDICTION_BATCH]).numpy() for start in starts]
    )
