"""How much of a step's loss reaches the states of earlier steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from models.layers import Recurrence
from models.tasks.sequence_set import SequenceSet, TargetKind

# Sequences whose gradients are taken together.
GRADIENT_BATCH = 32


def gradient_health(network: keras.Model, data: SequenceSet) -> list[list[float]]:
    """Measure gradients through time from the last step of some sequences, cut to their median
    length; where steps have labels, of those that end at one.

    Returns:
        As :func:`gradient_norms_through_time`; empty where no sequence ends at a label, and
        for transcripts.
    """
    if data.kind is TargetKind.TRANSCRIPT:  # nothing is wanted of one step
        return []
    steps = int(np.median(data.lengths))
    chosen = np.flatnonzero(data.lengths >= steps)
    wanted = data.targets[chosen]
    if data.kind is not TargetKind.LABEL:
        wanted = wanted[:, steps - 1]
    if data.kind is TargetKind.STEP_LABELS:
        chosen, wanted = chosen[wanted >= 0], wanted[wanted >= 0]
    if not len(chosen):
        return []
    chosen, wanted = chosen[:GRADIENT_BATCH], wanted[:GRADIENT_BATCH]
    x = np.stack([data.sequences[index][:steps] for index in chosen])
    return gradient_norms_through_time(network, x, wanted, data.kind is TargetKind.VALUES)


def gradient_norms_through_time(
    network: keras.Model, x: NDArray[Any], targets: NDArray[Any], values: bool = False
) -> list[list[float]]:
    """Measure how much of the last step's loss reaches each earlier state.

    Args:
        network: its layers are those of :class:`models.network.Architecture`.
        x: sequences of one length, [batch, steps, channels].
        targets: what is wanted after the last step: class indices [batch], or values
            [batch, outputs].
        values: whether ``targets`` are values.

    Returns:
        For every recurrence, the norm of d loss(last step) / d state(t), averaged over the batch,
        for t = 0 ... steps - 1 (state 0 is the initial one). The state is what one step hands to
        the next: what a step gives to the layer above it at once, or a slow recurrence until its
        next step, is not counted.
    """
    states: list[list[tuple[tf.Tensor, ...]]] = [
        [tuple(layer.initial_states(len(x)))]
        for layer in network.layers
        if isinstance(layer, Recurrence)
    ]
    with tf.GradientTape() as tape:
        for history in states:
            tape.watch(history[0])
        outputs = _last_outputs(network, x, states)
        wanted = tf.constant(targets)
        if values:
            losses = tf.reduce_mean(tf.square(outputs - wanted), -1)
        else:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, outputs)
        loss = tf.reduce_sum(losses)
    gradients = tape.gradient(
        loss,
        [history[:-1] for history in states],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return [
        [float(tf.reduce_mean(tf.norm(_joined(at_step), axis=-1))) for at_step in history]
        for history in gradients
    ]


def _joined(states: tuple[tf.Tensor, ...]) -> tf.Tensor:
    """A step's states in one tensor, along the last axis; as plain vectors if they have not the
    same axes."""
    if len({len(state.shape) for state in states}) > 1:
        states = tuple(tf.reshape(state, (state.shape[0], -1)) for state in states)
    return tf.concat(states, -1)


def _last_outputs(
    network: keras.Model, x: NDArray[Any], states: list[list[tuple[tf.Tensor, ...]]]
) -> tf.Tensor:
    """Step the network through ``x``, adding to ``states``; the outputs after the last step."""
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    cells = [layer.cell for layer in layers if isinstance(layer, Recurrence)]
    constants = [cell.begin() for cell in cells]
    outputs: list[Any] = [None] * len(cells)
    value: Any = None
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
    return value
