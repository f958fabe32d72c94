"""Structured pruning: whole hidden units and whole input channels are taken out.

The network is rebuilt smaller and stays dense, so that every stock runtime is faster for it, which
zeros among the weights do not achieve (see :mod:`models.compress.pruning`).

The cut is exact. Without some units a network computes what the larger one does with the values of
these units held at zero: their outputs and states, and their share in a StateORU's reflection.
Without some inputs it computes what the larger one does with these channels held at their mean.
Where the units lie in a cell's weights is declared by the cell (``RecurrentCell.weight_axes``).

An ORU's units are the coordinates of h~; its output is h = Q h~. A square part of Q is not
orthogonal, and the nearest orthogonal matrix to it makes another network. But whatever takes h is
linear, so Q can be drawn into it: only W Q matters, for the recurrent weights as for the layer
above. The smaller cell therefore gets any orthogonal Q' that fits (that of the reflectors, cut to
the units kept) and W' = (W Q)[kept] Q'^T, which is exact.

Sources: P. Molchanov et al., "Pruning convolutional neural networks for resource efficient
inference" (2017), for the importance and for pruning in rounds; W. Wen et al., "Learning intrinsic
sparse structures within long short-term memory" (2018), for what goes with a unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from device_runner.front_ends import narrowed_front_end
from models.cells import cell_class
from models.cells.cell import RecurrentCell
from models.errors import ModelsError, UnknownNameError
from models.layers import Normalization, Recurrence
from models.losses import task_loss
from models.network import Architecture, check_fit, recurrences
from models.prediction import evaluate
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task
from models.training import Progress, TrainingSettings, fit

IMPORTANCES = ("taylor", "norm")
# Sequences whose activations and gradients are in memory at once.
SCORING_BATCH = 64


def unit_importance(
    network: keras.Sequential, task: Task, importance: str = "taylor"
) -> list[np.ndarray]:
    """How much each hidden unit matters.

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


def input_importance(
    network: keras.Sequential, task: Task, importance: str = "taylor"
) -> np.ndarray:
    """How much each input channel matters, as :func:`unit_importance`: "taylor" is the sum of
    |x dL/dx| over the normalized inputs x, "norm" that of a channel's weights.

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


def prune_units(
    network: keras.Sequential,
    architecture: Architecture,
    task: Task,
    keep: int | float,
    importance: str = "taylor",
) -> tuple[keras.Sequential, Architecture]:
    """Take the least important hidden units out of every recurrence, at once.

    Args:
        network: trained; left as it is.
        task: whose training data tell the importance.
        keep: units that each recurrence keeps (int), or the share of its units (float, (0, 1]).
        importance: as in :func:`unit_importance`; units are ranked within their recurrence.

    Returns:
        The smaller network, not fine-tuned, and its architecture.

    Raises:
        UnknownNameError: there is no such importance.
        ModelsError: ``keep`` is out of range for a recurrence or below the rank of a low-rank
            network, or network and architecture do not fit.
    """
    counts = _unit_counts(architecture, keep)
    scores = unit_importance(network, task, importance)
    kept = [_most_important(score, count) for score, count in zip(scores, counts, strict=True)]
    return keep_units(network, architecture, kept)


def prune_inputs(
    network: keras.Sequential,
    architecture: Architecture,
    task: Task,
    keep: int | float,
    importance: str = "taylor",
) -> tuple[keras.Sequential, Architecture, Task]:
    """Take the least important input channels out.

    The smaller network's frames hold the kept channels only, in the task's order: the device need
    not read a sensor that is not used.

    Args:
        network: trained; left as it is.
        keep: channels to keep (int), or their share (float, (0, 1]).
        importance: as in :func:`input_importance`.

    Returns:
        The smaller network, not fine-tuned, its architecture, and the task with the kept channels
        alone, to fine-tune, calibrate and export with.

    Raises:
        ModelsError: ``keep`` is out of range, or network, architecture and task do not fit.
    """
    count = _count(keep, architecture.inputs, "inputs")
    kept = _most_important(input_importance(network, task, importance), count)
    smaller, smaller_architecture = keep_inputs(network, architecture, kept)
    return smaller, smaller_architecture, select_channels(task, kept)


def structured_prune(
    network: keras.Sequential,
    architecture: Architecture,
    task: Task,
    keep: int | float | None,
    rounds: int,
    settings: TrainingSettings,
    progress: Progress | None = None,
    importance: str = "taylor",
    inputs: int | float | None = None,
) -> tuple[keras.Sequential, Architecture, dict[str, Any]]:
    """Take units and input channels out in several rounds and fine-tune after each.

    Every round keeps the same share of what is left, and ranks it anew.

    Args:
        network: trained; left as it is.
        keep: as in :func:`prune_units`, of the whole; None keeps all units.
        inputs: as ``keep`` in :func:`prune_inputs`, of the whole; None keeps all input channels.
        settings: of the fine-tuning in each round; epochs and patience are counted anew.
        progress: called after each epoch with (epoch over all rounds, epochs of all rounds,
            its losses); rounds that stop early leave numbers out.

    Returns:
        The smaller network, its architecture, and the history: what :func:`models.training.fit`
        tells, over all rounds one after the other, and ``rounds``, with for each round ``units``,
        ``inputs`` and the validation loss and accuracy ``cut_...`` (before the fine-tuning) and
        ``tuned_...``; ``best_epoch`` counts from the first round's start; and with ``inputs``
        ``channels_kept``, their indices, to narrow the task by (:func:`select_channels`).

    Raises:
        ModelsError: ``keep`` (see :func:`prune_units`), ``inputs`` or ``rounds`` is out of range,
            or network and architecture do not fit.
        DivergedError: the fine-tuning lost its numbers; lower its learning rate.
    """
    if rounds < 1:
        raise ModelsError(f"rounds must be 1 or more, not {rounds}")
    whole = architecture
    counts = None if keep is None else _unit_counts(whole, keep)
    input_count = None if inputs is None else _count(inputs, whole.inputs, "inputs")
    channels = task.channels
    history: dict[str, Any] = {"rounds": []}
    for number in range(1, rounds + 1):
        share = number / rounds
        if input_count is not None:
            left = _left_after(whole.inputs, input_count, share)
            network, architecture, task = prune_inputs(
                network, architecture, task, left, importance
            )
            history["channels_kept"] = [channels.index(name) for name in task.channels]
        if counts is not None:
            scores = unit_importance(network, task, importance)
            kept = [
                _most_important(score, _left_after(units, count, share))
                for score, units, count in zip(scores, whole.units, counts, strict=True)
            ]
            network, architecture = keep_units(network, architecture, kept)
        cut_loss, cut_accuracy = evaluate(network, task.validation, task.score)
        done = (number - 1) * settings.epochs
        fitted = fit(
            network, task, settings, progress=_shifted(progress, done, rounds * settings.epochs)
        )
        tuned_loss, tuned_accuracy = evaluate(network, task.validation, task.score)
        history["best_epoch"] = len(history.get("loss", [])) + fitted.pop("best_epoch")
        for name, values in fitted.items():
            history.setdefault(name, []).extend(values)
        history["rounds"].append(
            {
                "units": architecture.units,
                "inputs": architecture.inputs,
                "cut_loss": cut_loss,
                "cut_accuracy": cut_accuracy,
                "tuned_loss": tuned_loss,
                "tuned_accuracy": tuned_accuracy,
            }
        )
    return network, architecture, history


def select_channels(task: Task, indices: Sequence[int] | np.ndarray) -> Task:
    """The task with these channels alone, in this order; its front end says which they are.

    Raises:
        ModelsError: an index is out of range or there twice, or there is none.
    """
    indices = _check_indices(indices, len(task.channels), "channels")

    def narrowed(data: SequenceSet) -> SequenceSet:
        return replace(data, sequences=[s[:, indices] for s in data.sequences])

    return replace(
        task,
        train=narrowed(task.train),
        validation=narrowed(task.validation),
        test=narrowed(task.test),
        channels=tuple(task.channels[index] for index in indices),
        front_end=task.front_end and narrowed_front_end(task.front_end, indices.tolist()),
    )


def keep_units(
    network: keras.Sequential,
    architecture: Architecture,
    kept: Sequence[Sequence[int] | np.ndarray],
) -> tuple[keras.Sequential, Architecture]:
    """The network with these units alone.

    Args:
        network: left as it is.
        kept: for every recurrence, lowest first, the indices of the units to keep.

    Raises:
        ModelsError: indices do not fit, network and architecture do not fit, or the cell does not
            declare where its units lie, or fewer units are kept than its recurrent matrix has
            rank.
    """
    if len(kept) != len(architecture.units):
        raise ModelsError(
            f"the network has {len(architecture.units)} recurrences; give the units to keep of "
            f"each, not {len(kept)} lists"
        )
    return _cut(network, architecture, np.arange(architecture.inputs), kept)


def keep_inputs(
    network: keras.Sequential, architecture: Architecture, kept: Sequence[int] | np.ndarray
) -> tuple[keras.Sequential, Architecture]:
    """The network with these input channels alone, in this order (see :func:`select_channels`).

    Args:
        network: left as it is.

    Raises:
        ModelsError: as :func:`keep_units`.
    """
    return _cut(network, architecture, kept, [np.arange(units) for units in architecture.units])


@dataclass(frozen=True)
class _Wires:
    """What leads from one layer to its takers, and how it changes in the cut.

    ``kept`` are indices into the units; ``before`` and ``after`` are the layer's unit bases
    (``RecurrentCell.unit_basis``), None where outputs are units.
    """

    kept: np.ndarray
    before: np.ndarray | None = None
    after: np.ndarray | None = None

    def cut(self, weight: np.ndarray, axis: int) -> np.ndarray:
        """The weight of a taker, whose ``axis`` runs along the outputs."""
        rows = _by_unit(np.moveaxis(weight, axis, 0), self.before)[self.kept]
        if self.after is not None:
            rows = np.tensordot(self.after, rows, 1)
        return np.moveaxis(rows, 0, axis)


def _cut(
    network: keras.Sequential,
    architecture: Architecture,
    kept_inputs: Sequence[int] | np.ndarray,
    kept_units: Sequence[Sequence[int] | np.ndarray],
) -> tuple[keras.Sequential, Architecture]:
    check_fit(network, architecture)
    if architecture.residual or architecture.vocabulary or architecture.periods:
        raise ModelsError(
            "units cannot be cut out of a network that is residual, hierarchical or reads tokens; "
            "prune single weights ('sparsity') or factorize it instead"
        )
    wires = _Wires(_check_indices(kept_inputs, architecture.inputs, "inputs"))
    kept = [
        _check_indices(indices, units, "units")
        for indices, units in zip(kept_units, architecture.units, strict=True)
    ]
    units = tuple(len(indices) for indices in kept)
    smaller_architecture = replace(
        architecture,
        inputs=len(wires.kept),
        units=units,
        options=cell_class(architecture.cell).options_for(architecture.options, min(units)),
    )
    smaller = smaller_architecture.build()
    for old, new in zip(_normalizations(network), _normalizations(smaller), strict=True):
        new.set_weights([values[wires.kept] for values in old.get_weights()])
    for source, target, indices in zip(
        recurrences(network), recurrences(smaller), kept, strict=True
    ):
        wires = _cut_cell(source.cell, target.cell, wires, indices)
    kernel, *rest = network.get_layer("head").get_weights()
    smaller.get_layer("head").set_weights([wires.cut(kernel, 0), *rest])
    return smaller, smaller_architecture


def _cut_cell(old: RecurrentCell, new: RecurrentCell, inputs: _Wires, kept: np.ndarray) -> _Wires:
    """Fill ``new`` with what is kept of ``old``; how its takers are to be cut."""
    recurrent = []
    for old_weight, new_weight in zip(old.weights, new.weights, strict=True):
        values = old_weight.numpy().astype(np.float64)
        axes = _axes(old, old_weight)
        for axis, along in enumerate(axes):
            if along == "inputs":
                values = inputs.cut(values, axis)
            elif along == "units":
                blocks = np.arange(values.shape[axis] // old.units)[:, np.newaxis]
                values = values.take((blocks * old.units + kept).ravel(), axis)
            elif along != "outputs":
                values = values.take(np.arange(new_weight.shape[axis]), axis)
        if "outputs" in axes:
            recurrent.append((new_weight, values, axes.index("outputs")))
        else:
            new_weight.assign(values)
    # The new basis is known only now that the weights it depends on are in place.
    outputs = _Wires(kept, _basis(old), _basis(new))
    for new_weight, values, axis in recurrent:
        new_weight.assign(outputs.cut(values, axis))
    return outputs


def _taylor_scores(network: keras.Sequential, task: Task) -> tuple[np.ndarray, list[np.ndarray]]:
    """The sums of |value dL/dvalue| of the normalized inputs [inputs] and of the units of every
    recurrence [H]. L is the sum over the sequences of the mean loss of their steps."""
    data = task.train
    bases = [_basis(layer.cell) for layer in recurrences(network)]
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
    network: keras.Sequential, batch: SequenceSet
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
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
        loss = len(batch) * task_loss(value, tf.constant(batch.targets), tf.constant(batch.lengths))
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


def _unit_norms(network: keras.Sequential) -> list[np.ndarray]:
    """The norm of all weights that the cut takes away with a unit, [H] for every recurrence."""
    layers = recurrences(network)
    head = network.get_layer("head").kernel.numpy().astype(np.float64)
    above = [*(_input_matrix(layer.cell) for layer in layers[1:]), head]
    norms = []
    for layer, taker in zip(layers, above, strict=True):
        cell = layer.cell
        basis = _basis(cell)
        squares = (_by_unit(taker, basis) ** 2).sum(1)
        for weight in cell.weights:
            values = weight.numpy().astype(np.float64)
            for axis, along in enumerate(_axes(cell, weight)):
                rows = np.moveaxis(values, axis, 0)
                if along == "outputs":
                    squares = squares + (_by_unit(rows, basis) ** 2).reshape(cell.units, -1).sum(1)
                elif along == "units":
                    squares = squares + (rows**2).reshape(-1, cell.units, rows[0].size).sum((0, 2))
        norms.append(np.sqrt(squares))
    return norms


def _input_matrix(cell: RecurrentCell) -> np.ndarray:
    """[inputs, gates * H], of low rank or not, float64."""
    first, *others = (factor.numpy().astype(np.float64) for factor in cell.input_matrices())
    for factor in others:
        first = first @ factor
    return first


def _by_unit(rows: np.ndarray, basis: np.ndarray | None) -> np.ndarray:
    """A taker's weight [H (outputs), ...] as if it took the units: [H (units), ...]."""
    return rows if basis is None else np.tensordot(basis.T, rows, 1)


def _basis(cell: RecurrentCell) -> np.ndarray | None:
    basis = cell.unit_basis()
    return None if basis is None else basis.numpy().astype(np.float64)


def _axes(cell: RecurrentCell, weight: tf.Variable) -> tuple[str, ...]:
    name = weight.name.rpartition("/")[2].partition(":")[0]
    axes = cell.weight_axes.get(name, ())
    if len(axes) != len(weight.shape):
        raise ModelsError(
            f"{type(cell).__name__} does not say what the {len(weight.shape)} axes of its weight "
            f"'{name}' run along; enter it in the cell's weight_axes"
        )
    return axes


def _normalizations(network: keras.Sequential) -> list[Normalization]:
    return [layer for layer in network.layers if isinstance(layer, Normalization)]


def _most_important(scores: np.ndarray, count: int) -> np.ndarray:
    """The indices of the ``count`` highest scores, ascending."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def _unit_counts(architecture: Architecture, keep: int | float) -> list[int]:
    counts = [_count(keep, units, "units") for units in architecture.units]
    rank = architecture.options.get("rank")
    if rank is not None and min(counts) < rank:
        raise ModelsError(
            f"the recurrent matrices have rank {rank}, so each recurrence must keep {rank} units "
            f"or more, not {min(counts)}; prune units first and factorize then"
        )
    return counts


def _count(keep: int | float, size: int, what: str) -> int:
    """``keep`` of ``size`` things as a number."""
    if isinstance(keep, (int, np.integer)) and not isinstance(keep, bool):
        if 1 <= keep <= size:
            return int(keep)
    elif not isinstance(keep, bool) and 0 < keep <= 1:
        return max(1, round(keep * size))
    raise ModelsError(
        f"keep must be a number of {what} from 1 to {size} (int) or their share above 0 and up to "
        f"1.0 (float), not {keep!r}"
    )


def _left_after(whole: int, count: int, progress: float) -> int:
    """How many are left when ``progress`` (0 to 1) of the way from ``whole`` to ``count`` is
    done."""
    return round(whole * (count / whole) ** progress)


def _shifted(progress: Progress | None, done: int, total: int) -> Progress | None:
    if progress is None:
        return None

    def report(epoch: int, _: int, entry: dict[str, float]) -> None:
        progress(done + epoch, total, entry)

    return report


def _check_importance(importance: str) -> None:
    if importance not in IMPORTANCES:
        raise UnknownNameError("importance", importance, IMPORTANCES)


def _check_finite(scores: np.ndarray) -> np.ndarray:
    # argsort would rank NaN without a word.
    if not np.isfinite(scores).all():
        raise ModelsError(
            "the importances are not finite; check the network's weights and the training data "
            "for NaN"
        )
    return scores


def _check_indices(indices: Sequence[int] | np.ndarray, size: int, what: str) -> np.ndarray:
    array = np.asarray(indices)
    if (
        array.ndim != 1
        or not len(array)
        or not np.issubdtype(array.dtype, np.integer)
        or array.min() < 0
        or array.max() >= size
        or len(np.unique(array)) != len(array)
    ):
        raise ModelsError(
            f"the {what} to keep must be one or more different integers from 0 to {size - 1}, "
            f"not {array.tolist()}"
        )
    return array
