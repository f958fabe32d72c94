"""Pruning: single weights, or whole units and input channels."""

from __future__ import annotations

from pathlib import Path

import tf_keras as keras

from models.compress import PruneSettings
from models.compress.compressed import Compressed
from models.compress.magnitude import check_pattern, prune_by_magnitude
from models.compress.structured.rounds import cut_any, prune_in_rounds
from models.network import Architecture
from models.tasks.task import Task
from models.training import Progress
from models.training_settings import TrainingSettings


def prune(
    network: keras.Model,
    architecture: Architecture,
    task: Task,
    settings: PruneSettings,
    training: TrainingSettings,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Compressed:
    """Prune as the settings say: :func:`models.compress.magnitude.prune_by_magnitude` where they
    have a ``sparsity``, else :func:`models.compress.structured.rounds.prune_in_rounds`, which both
    take and give the same."""
    kind = prune_in_rounds if settings.structured else prune_by_magnitude
    return kind(network, architecture, task, settings, training, progress, checkpoint)


def rehearse(
    network: keras.Model, architecture: Architecture, settings: PruneSettings
) -> tuple[keras.Model, Architecture]:
    """Do to a network what needs no training; ModelsError where it cannot be pruned so."""
    if settings.structured:
        return cut_any(network, architecture, settings.keep, settings.keep_inputs)
    check_pattern(network, settings.pattern)
    return network, architecture
