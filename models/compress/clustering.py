"""Weight clustering: the weights of a matrix share a few values.

With 16 different values in a matrix, a weight carries four bits at most, so the file shrinks under
compression. Stock runtimes still store and multiply every weight: a clustered model is no faster.
Source: S. Han et al., "Deep compression" (2016), as implemented by TFMOT.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from numpy.typing import NDArray
from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import (
    ClusterWeightsRNN,
)

from models.compress import ClusterSettings
from models.compress.compressed import Compressed
from models.layers import Recurrence
from models.network import Architecture, recurrences
from models.tasks.task import Task
from models.training import Progress, fit
from models.training_settings import TrainingSettings

INITIALIZATION = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS


class _ClusterableRecurrence(Recurrence, tfmot.clustering.keras.ClusterableLayer):
    """A recurrence whose matrices TFMOT's wrapper for recurrent layers finds in its cell."""

    def get_clusterable_weights(self) -> list[tuple[str, Any]]:
        matrices = {id(weight) for weight in self.cell.get_prunable_weights()}
        # The wrapper wants the index of a cell behind the name; there is one.
        return [
            (f"{name}/0", getattr(self.cell, name))
            for name in self.cell.weight_axes
            if id(getattr(self.cell, name, None)) in matrices
        ]


def cluster_weights(
    network: keras.Model,
    architecture: Architecture,
    task: Task,
    settings: ClusterSettings,
    training: TrainingSettings,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Compressed:
    """Leave a few different values in each matrix of the recurrences and of the head, and
    fine-tune them. Zeros that pruning has made stay zero.

    Args:
        network: trained; left as it is.
        settings: the number of values.
        training: of the fine-tuning; the last epoch's weights are kept.
        progress, checkpoint: as for :func:`models.training.fit`.

    Returns:
        A new network without TFMOT's wrappers; its facts have ``distinct_values`` (of each matrix,
        by layer and weight).

    Raises:
        DivergedError: the fine-tuning lost its numbers; lower its learning rate.
    """
    wrapped = _wrapped(network, settings.clusters)
    patient = replace(training, patience=training.epochs, keep="last")
    history = fit(wrapped, task, patient, checkpoint, progress)
    stripped = tfmot.clustering.keras.strip_clustering(wrapped)
    clustered = keras.models.clone_model(network)
    clustered.set_weights(stripped.get_weights())
    distinct = {
        f"{layer.name}/{number}": len(np.unique(matrix))
        for layer in clustered.layers
        if isinstance(layer, (Recurrence, keras.layers.Dense))
        for number, matrix in enumerate(_matrices(layer))
    }
    return Compressed(clustered, architecture, history, {"distinct_values": distinct})


def _wrapped(network: keras.Model, clusters: int) -> keras.Model:
    """The network in TFMOT's wrappers, with its own weights."""
    matrices = [matrix for layer in recurrences(network) for matrix in _matrices(layer)]
    pruned = any((matrix == 0).any() for matrix in matrices)
    arguments = {
        "number_of_clusters": clusters,
        "cluster_centroids_init": INITIALIZATION,
        "preserve_sparsity": pruned,
    }

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = _ClusterableRecurrence if isinstance(layer, Recurrence) else type(layer)
        copy = kind.from_config(layer.get_config())
        if not isinstance(layer, (Recurrence, keras.layers.Dense)):
            return copy
        # The centroids are found in the weights, so these must be there before.
        copy.build(layer.input_shape)
        copy.set_weights(layer.get_weights())
        if isinstance(layer, Recurrence):
            return ClusterWeightsRNN(copy, **arguments)
        return tfmot.clustering.keras.cluster_weights(copy, **arguments)

    wrapped = keras.models.clone_model(network, clone_function=wrap)
    for source, target in zip(network.layers, wrapped.layers, strict=True):
        if not isinstance(source, (Recurrence, keras.layers.Dense)):
            target.set_weights(source.get_weights())
    return wrapped


def _matrices(layer: keras.layers.Layer) -> list[NDArray[Any]]:
    weights = layer.cell.get_prunable_weights() if isinstance(layer, Recurrence) else [layer.kernel]
    return [weight.numpy() for weight in weights]
