"""A network without some of its hidden units and input channels.

The cut is exact. Without some units a network computes what the larger one does with the values of
these units held at zero: their outputs and states, and their share in a StateORU's reflection.
Without some inputs it computes what the larger one does with these channels held at their mean.
Where the units lie in a cell's weights is declared by the cell (``RecurrentCell.weight_axes``).

An ORU's units are the coordinates of h~; its output is h = Q h~. A square part of Q is not
orthogonal, and the nearest orthogonal matrix to it makes another network. But whatever takes h is
linear, so Q can be drawn into it: only W Q matters, for the recurrent weights as for the layer
above. The smaller cell therefore gets any orthogonal Q' that fits (that of the reflectors, cut to
the units kept) and W' = (W Q)[kept] Q'^T, which is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from device_runner.front_ends import narrowed_front_end
from models.cells import cell_class
from models.cells.cell import RecurrentCell
from models.compress.structured.unit_axes import by_unit, unit_basis, weight_axes
from models.errors import ModelsError
from models.layers import Normalization
from models.network import Architecture, check_fit, recurrences
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task


def select_channels(task: Task, indices: Sequence[int] | NDArray[Any]) -> Task:
    """Narrow a task to these channels, in this order; its front end then says which they are.

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
    network: keras.Model,
    architecture: Architecture,
    kept: Sequence[Sequence[int] | NDArray[Any]],
) -> tuple[keras.Model, Architecture]:
    """Give the network with these units alone.

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
    network: keras.Model, architecture: Architecture, kept: Sequence[int] | NDArray[Any]
) -> tuple[keras.Model, Architecture]:
    """Give the network with these input channels alone, in this order (see
    :func:`select_channels`).

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

    kept: NDArray[Any]
    before: NDArray[Any] | None = None
    after: NDArray[Any] | None = None

    def cut(self, weight: NDArray[Any], axis: int) -> NDArray[Any]:
        """Cut the weight of a taker, whose ``axis`` runs along the outputs."""
        rows = by_unit(np.moveaxis(weight, axis, 0), self.before)[self.kept]
        if self.after is not None:
            rows = np.tensordot(self.after, rows, 1)
        return np.moveaxis(rows, 0, axis)


def _cut(
    network: keras.Model,
    architecture: Architecture,
    kept_inputs: Sequence[int] | NDArray[Any],
    kept_units: Sequence[Sequence[int] | NDArray[Any]],
) -> tuple[keras.Model, Architecture]:
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


def _cut_cell(old: RecurrentCell, new: RecurrentCell, inputs: _Wires, kept: NDArray[Any]) -> _Wires:
    """Fill ``new`` with what is kept of ``old``; how its takers are to be cut."""
    recurrent = []
    for old_weight, new_weight in zip(old.weights, new.weights, strict=True):
        values = old_weight.numpy().astype(np.float64)
        axes = weight_axes(old, old_weight)
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
    outputs = _Wires(kept, unit_basis(old), unit_basis(new))
    for new_weight, values, axis in recurrent:
        new_weight.assign(outputs.cut(values, axis))
    return outputs


def _normalizations(network: keras.Model) -> list[Normalization]:
    return [layer for layer in network.layers if isinstance(layer, Normalization)]


def _check_indices(indices: Sequence[int] | NDArray[Any], size: int, what: str) -> NDArray[Any]:
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
