"""How much of a step's loss reaches the states of earlier steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from models.layers import Recurrence


def gradient_norms_through_time(
    network: keras.Sequential, x: np.ndarray, targets: np.ndarray
) -> list[list[float]]:
    """How much of the last step's loss reaches each earlier state.

    Args:
        x: sequences of one length, [batch, steps, channels].
        targets: what is wanted after the last step: class indices [batch], or values
            [batch, outputs].

    Returns:
        For every recurrence, the norm of d loss(last step) / d state(t), averaged over the batch,
        for t = 0 ... steps - 1 (state 0 is the initial one). The state is what one step hands to
        the next: what a step gives to the layer above it at once, or a slow recurrence until its
        next step, is not counted.
    """
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    cells = [layer for layer in layers if isinstance(layer, Recurrence)]
    states: list[list[tuple[tf.Tensor, ...]]] = [
        [tuple(cell.initial_states(len(x)))] for cell in cells
    ]
    constants = [layer.cell.begin() for layer in cells]
    outputs: list[Any] = [None] * len(cells)
    with tf.GradientTape() as tape:
        for history in states:
            tape.watch(history[0])
        for step in range(x.shape[1]):
            value = tf.constant(x[:, step])
            index = 0
            for layer in layers:
                if isinstance(layer, Recurrence):
                    new = states[index][-1]
                    if step % layer.period == 0:
                        outputs[index], new = layer.step(value, new, constants[index])
                    # The identity cuts a state off from its siblings: an LSTM's h is computed
                    # from its c, and would be counted in both.
                    states[index].append(tuple(tf.identity(state) for state in new))
                    value = outputs[index]
                    index += 1
                elif isinstance(layer, keras.layers.Concatenate):
                    value = layer(outputs)
                else:
                    value = layer(value)
        wanted = tf.constant(targets)
        if wanted.dtype.is_integer:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, value)
        else:
            losses = tf.reduce_mean(tf.square(value - wanted), -1)
        loss = tf.reduce_sum(losses)
    gradients = tape.gradient(
        loss,
        [history[:-1] for history in states],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return [
        [float(tf.reduce_mean(tf.norm(tf.concat(at_step, -1), axis=-1))) for at_step in history]
        for history in gradients
    ]
