"""How much each hidden unit and each input channel matters."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from models.cells.cell import RecurrentCell
from models.compress.structured.unit_axes import by_unit, unit_basis, weight_axes
from models.errors import ModelsError, UnknownNameError
from models.layers import Normalization, Recurrence
from models.losses import loss_for
from models.network import recurrences
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task

IMPORTANCES = ("taylor", "norm")
# Sequences whose activations and gradients are in memory at once.
SCORING_BATCH = 64


def unit_importance(
    network: keras.Model, task: Task, importance: str = "taylor"
) -> list[NDArray[Any]]:
    """Compute how much each hidden unit matters.

    Args:
        importance: "taylor": the sum of |u dL/du| over the training sequences and their steps,
            with u the value of a unit after a step, and the derivative over all that comes of it,
            later steps too; to first order this is what the loss changes by when u becomes zero.
            "norm": the Euclidean norm of all weights that go with the unit, into it and out of it.

    Returns:
        For every recurrence, float64 [H].

    Raises:
        UnknownNameError: there is no such importance.
        ModelsError: the scores are not finite, as the network's weights or the data are not.
    """
    _check_importance(importance)
    scores = _unit_norms(network) if importance == "norm" else _taylor_scores(network, task)[1]
    return [_check_finite(score) for score in scores]


def input_importance(network: keras.Model, task: Task, importance: str = "taylor") -> NDArray[Any]:
    """Compute how much each input channel matters, as :func:`unit_importance`: "taylor" is the sum
    of |x dL/dx| over the normalized inputs x, "norm" that of a channel's weights.

    Returns:
        float64 [inputs].

    Raises:
        UnknownNameError: there is no such importance.
        ModelsError: the scores are not finite, as the network's weights or the data are not.
    """
    _check_importance(importance)
    if importance == "norm":
        kernel = _input_matrix(recurrences(network)[0].cell)
        return _check_finite(np.linalg.norm(kernel, axis=1))
    return _check_finite(_taylor_scores(network, task)[0])


def _taylor_scores(network: keras.Model, task: Task) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """The sums of |value dL/dvalue| of the normalized inputs [inputs] and of the units of every
    recurrence [H]. L is the sum over the sequences of the mean loss of their steps."""
    data = task.train
    bases = [unit_basis(layer.cell) for layer in recurrences(network)]
    input_scores: Any = 0.0
    unit_scores: list[Any] = [0.0] * len(bases)
    for first in range(0, len(data), SCORING_BATCH):
        batch = data.select(np.arange(first, min(first + SCORING_BATCH, len(data))))
        normalized, outputs, gradients = _activations(network, batch)
        input_scores += np.abs(normalized * gradients[0]).sum((0, 1))
        for layer, basis in enumerate(bases):
            value, gradient = outputs[layer], gradients[1 + layer]
            if basis is not None:
                value, gradient = value @ basis, gradient @ basis
            unit_scores[layer] += np.abs(value * gradient).sum((0, 1))
    return input_scores, unit_scores


def _activations(
    network: keras.Model, batch: SequenceSet
) -> tuple[NDArray[Any], list[NDArray[Any]], list[NDArray[Any]]]:
    """The normalized inputs [batch, steps, inputs], the outputs of every recurrence
    [batch, steps, H], and the derivatives of the loss by the former and by the latter."""
    value = tf.constant(batch.padded)
    outputs: list[tf.Tensor] = []
    # Zeros that are added to the outputs: a derivative by them is one by the output of a step,
    # the way through the following steps included, without a tape entry for every step.
    nudges: list[tf.Tensor] = []
    normalized = value
    with tf.GradientTape() as tape:
        tape.watch(normalized)
        for layer in network.layers:
            if isinstance(layer, Recurrence):
                nudges.append(tf.zeros((*value.shape[:2], layer.cell.units)))
                tape.watch(nudges[-1])
                value = _nudged(layer, value, nudges[-1])
                outputs.append(value)
            else:
                value = layer(value, training=False)
            if isinstance(layer, Normalization):
                normalized = value
        # The sum over the sequences, so that every sequence counts the same in every batch.
        loss = len(batch) * loss_for(batch.kind)(
            value, tf.constant(batch.targets), tf.constant(batch.lengths)
        )
    gradients = tape.gradient(loss, [normalized, *nudges])
    return (
        normalized.numpy().astype(np.float64),
        [output.numpy().astype(np.float64) for output in outputs],
        [gradient.numpy().astype(np.float64) for gradient in gradients],
    )


def _nudged(layer: Recurrence, inputs: tf.Tensor, nudge: tf.Tensor) -> tf.Tensor:
    """What the layer computes when ``nudge`` [batch, steps, H] is added to the output of every
    step, where it is passed up as where it is fed back."""
    constants = layer.cell.begin()

    def step(
        at_step: tuple[tf.Tensor, tf.Tensor], states: list[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        product, step_nudge = at_step
        output, new_states = layer.cell.step(product, tuple(states), constants)
        nudged = output + step_nudge
        return nudged, [nudged if state is output else state for state in new_states]

    _, outputs, _ = keras.backend.rnn(
        step,
        (layer.cell.input_product(inputs), nudge),
        layer.initial_states(inputs.shape[0]),
    )
    return outputs


def _unit_norms(network: keras.Model) -> list[NDArray[Any]]:
    """The norm of all weights that the cut takes away with a unit, [H] for every recurrence."""
    layers = recurrences(network)
    head = network.get_layer("head").kernel.numpy().astype(np.float64)
    above = [*(_input_matrix(layer.cell) for layer in layers[1:]), head]
    norms = []
    for layer, taker in zip(layers, above, strict=True):
        cell = layer.cell
        basis = unit_basis(cell)
        squares = (by_unit(taker, basis) ** 2).sum(1)
        for weight in cell.weights:
            values = weight.numpy().astype(np.float64)
            for axis, along in enumerate(weight_axes(cell, weight)):
                rows = np.moveaxis(values, axis, 0)
                if along == "outputs":
                    squares = squares + (by_unit(rows, basis) ** 2).reshape(cell.units, -1).sum(1)
                elif along == "units":
                    squares = squares + (rows**2).reshape(-1, cell.units, rows[0].size).sum((0, 2))
        norms.append(np.sqrt(squares))
    return norms


def _input_matrix(cell: RecurrentCell) -> NDArray[Any]:
    """[inputs, gates * H], of low rank or not, float64."""
    first, *others = (factor.numpy().astype(np.float64) for factor in cell.input_matrices())
    for factor in others:
        first = first @ factor
    return np.asarray(first)


def _check_importance(importance: str) -> None:
    if importance not in IMPORTANCES:
        raise UnknownNameError("importance", importance, IMPORTANCES)


def _check_finite(scores: NDArray[Any]) -> NDArray[Any]:
    # argsort would rank NaN without a word.
    if not np.isfinite(scores).all():
        raise ModelsError(
            "the importances are not finite; check the network's weights and the training data "
            "for NaN"
        )
    return scores
