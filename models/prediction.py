"""What a network gives for a data set, and how good that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from models.losses import loss_for
from models.metrics import Metric, usual_metric
from models.tasks.sequence_set import SequenceSet
from models.tensorflow_log import quiet

# Sequences that are run at once.
PREDICTION_BATCH = 256


def evaluate(
    network: keras.Model, data: SequenceSet, metric: Metric | None = None
) -> tuple[float, float]:
    """Compute a network's loss (see :func:`models.losses.loss_for`) and score: the value of
    ``metric``, or of the one that is usual for such data
    (:func:`models.metrics.usual_metric`)."""
    return judge(predict(network, data), data, metric or usual_metric(data))


def judge(
    outputs: NDArray[Any], data: SequenceSet, metric: Metric, loss_from: float = 0.0
) -> tuple[float, float]:
    """Compute loss (see :func:`models.losses.loss_for`) and score of outputs [sequences, longest,
    outputs]."""
    loss_of = loss_for(data.kind, loss_from)
    loss = loss_of(tf.constant(outputs), tf.constant(data.targets), tf.constant(data.lengths))
    return float(loss), metric.compute(outputs, data)


def predict(
    network: keras.Model, data: SequenceSet, forward: Callable[[Any], tf.Tensor] | None = None
) -> NDArray[Any]:
    """Compute the outputs of every step, float32 [sequences, longest, outputs]; after a sequence's
    end they mean nothing.

    Args:
        network: [batch, steps, channels] -> [batch, steps, outputs].
        forward: the network's forward pass, compiled; to be given where one network is run again
            and again, as Keras' predict spends 80 ms on preparing.
    """
    if forward is None:
        with quiet():  # TensorFlow warns of a new trace for each network
            outputs: NDArray[Any] = network.predict(
                data.padded, batch_size=PREDICTION_BATCH, verbose=0
            )
        return outputs
    x = data.padded
    starts = range(0, len(x), PREDICTION_BATCH)
    return np.concatenate(
        [forward(x[start : start + PREDICTION_BATCH]).numpy() for start in starts]
    )
