"""What all stages that train share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from models.augmentation import Augmentation
from models.training_settings import TrainingSettings
from pipeline.networks import Network
from pipeline.recipe import Recipe

if TYPE_CHECKING:
    from models.history import EpochRecord
    from models.tasks.task import Task
    from models.training import Progress

Watch = Callable[[int, int, "EpochRecord"], None]

# It is in a stage's folder while the stage trains.
CHECKPOINT_FILE = "checkpoint.npz"


def tuning_settings(
    recipe: Recipe,
    network: Network,
    epochs: int,
    learning_rate: float,
    patience: int = TrainingSettings.patience,
) -> TrainingSettings:
    """Make the fine-tuning settings from what the stage says and, for the rest, [training]."""
    training = recipe.training
    return TrainingSettings(
        epochs=epochs,
        batch_size=training.batch_size,
        learning_rate=learning_rate,
        clip_norm=training.clip_norm,
        patience=patience,
        seed=network.seed,
        loss_from=training.loss_from,
        augmentation=training.augmentation.part(Augmentation),
    )


def tuning_facts(recipe: Recipe) -> dict[str, object]:
    """Return what a fine-tuning reads of [training]."""
    return recipe.training.model_dump(
        include={"batch_size", "clip_norm", "loss_from", "augmentation"}
    )


def training_settings(recipe: Recipe, network: Network) -> TrainingSettings:
    """Make the training settings from [training] and what the model itself says."""
    own = network.section.training.model_dump(exclude_none=True)
    section = recipe.training.model_copy(update=own)
    return replace(
        section.part(TrainingSettings),
        seed=network.seed,
        augmentation=section.augmentation.part(Augmentation),
    )


def epoch_progress(report: Callable[[int, int, str], None], task: Task) -> Progress:
    """Make the function that ``fit`` calls after each epoch to show losses and the task's score."""

    def progress(epoch: int, epochs: int, entry: EpochRecord) -> None:
        report(
            epoch,
            epochs,
            f"loss {entry.loss:.3f}, validation {entry.validation_loss:.3f} "
            f"({task.score.text(entry.validation_score)})",
        )

    return progress


def watched(progress: Progress, watch: Watch | None) -> Progress:
    """Return a progress that a second one sees, too."""
    if watch is None:
        return progress

    def both(epoch: int, epochs: int, entry: EpochRecord) -> None:
        progress(epoch, epochs, entry)
        watch(epoch, epochs, entry)

    return both
