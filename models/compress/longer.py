"""Longer training: no compression, but what one has to be held against.

A compression fine-tunes, and further epochs help by themselves. The same network, trained for as
many more epochs, shows how much of a gain is theirs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tf_keras as keras

from models.compress import LongerSettings
from models.compress.compressed import Compressed
from models.history import TrainingHistory
from models.network import Architecture
from models.tasks.task import Task
from models.training import Progress, fit
from models.training_settings import TrainingSettings


def train_longer(
    network: keras.Model,
    architecture: Architecture,
    task: Task,
    settings: LongerSettings,
    training: TrainingSettings,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Compressed:
    """Train a network on, as often as a compression fine-tunes it.

    Args:
        network: trained; left as it is.
        settings: how often.
        training: of each fine-tuning.
        progress, checkpoint: as for :func:`models.training.fit`; each fine-tuning has a checkpoint
            of its own.

    Returns:
        A network of the same size.

    Raises:
        DivergedError: the training lost its numbers; lower its learning rate.
    """
    trained = keras.models.clone_model(network)
    trained.set_weights(network.get_weights())
    # As many epochs as it is asked for: it does not stop early.
    patient = replace(training, patience=training.epochs)
    history = TrainingHistory()
    for number in range(settings.times):
        own_file = checkpoint and checkpoint.with_name(f"{checkpoint.stem}-{number}.npz")
        history.extend(fit(trained, task, patient, own_file, progress))
    for number in range(settings.times):
        if checkpoint:
            checkpoint.with_name(f"{checkpoint.stem}-{number}.npz").unlink(missing_ok=True)
    return Compressed(trained, architecture, history)
