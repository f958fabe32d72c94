"""Train a network, with its teachers if it has any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.training_settings import DistillationSettings
from pipeline.networks import Network
from pipeline.recipe import Recipe
from pipeline.stages.channels import judged_on
from pipeline.stages.dependence import network_registries, task_data
from pipeline.stages.fitting import (
    CHECKPOINT_FILE,
    Watch,
    epoch_progress,
    training_settings,
    watched,
)
from pipeline.stages.history import NetworkHistory
from pipeline.work import Report, Work
from pipeline.workspace import Stage

if TYPE_CHECKING:
    import tf_keras as keras

    from models.history import TrainingHistory
    from models.network import Architecture
    from models.tasks.task import Task


@dataclass(frozen=True)
class Train(Work):
    """Trains a network. Networks that differ only in their later compression share this stage.

    Args:
        teachers: the finished stages of the networks that it learns from.
        watch: called after each epoch with (epochs done, epochs in all, its record); what it
            raises ends the training, which goes on from there the next time.
    """

    recipe: Recipe
    network: Network
    teachers: tuple[Stage, ...] = ()
    watch: Watch | None = None

    name = "train"

    @property
    def subject(self) -> str:
        return self.network.base_label

    def settings(self) -> dict[str, Any]:
        later = {"name", "training", *self.network.section.compressions}
        return {
            "task": self.recipe.task,
            "model": self.network.section.model_dump(exclude=later, exclude_none=True),
            "seed": self.network.seed,
            "training": {
                **self.recipe.training.model_dump(),
                **self.network.section.training.model_dump(exclude_none=True),
            },
            "teachers": [teacher.key for teacher in self.teachers],
            **task_data(self.recipe),
            **judged_on(self.recipe),
        }

    def chosen(self) -> dict[str, tuple[str, ...]]:
        return network_registries(self.recipe, self.network)

    def build(self, folder: Path, report: Report) -> None:
        import tf_keras as keras

        from models.gradient_health import gradient_health
        from models.network import save_network
        from models.prediction import evaluate

        task = self.recipe.load_task()
        keras.utils.set_random_seed(self.network.seed)
        architecture = architecture_of(self.recipe, self.network, task)
        network = new_network(architecture, task)
        gradients = {"gradient_norms_at_start": gradient_health(network, task.validation)}
        history = self._fit(network, task, folder / CHECKPOINT_FILE, report)
        gradients["gradient_norms_after_training"] = gradient_health(network, task.validation)
        save_network(folder, network, architecture)
        test_loss, test_score = evaluate(network, task.test, task.score)
        facts = {"test_loss": test_loss, "test_score": test_score}
        NetworkHistory.of({**history.facts(), **gradients, **facts}).save(folder)
        (folder / CHECKPOINT_FILE).unlink(missing_ok=True)

    def help(self) -> None:
        """Help another machine to train the network; it keeps what comes of it."""
        import tf_keras as keras

        task = self.recipe.load_task()
        keras.utils.set_random_seed(self.network.seed)
        network = new_network(architecture_of(self.recipe, self.network, task), task)
        self._fit_together(network, task, None, lambda *_: None)

    def _fit(
        self, network: keras.Model, task: Task, checkpoint: Path, report: Report
    ) -> TrainingHistory:
        from models.compress.distillation import distil
        from models.network import load_network
        from models.training import fit

        if self.recipe.training.distribute != "none" and not self.network.section.distil:
            return self._fit_together(network, task, checkpoint, report)
        settings = training_settings(self.recipe, self.network)
        progress = watched(epoch_progress(report, task), self.watch)
        learning = self.network.section.distil
        if not learning:
            return fit(network, task, settings, checkpoint, progress)
        return distil(
            [load_network(teacher.folder)[0] for teacher in self.teachers],
            network,
            task,
            settings,
            learning.part(DistillationSettings),
            checkpoint,
            progress,
        )

    def _fit_together(
        self, network: keras.Model, task: Task, checkpoint: Path | None, report: Report
    ) -> TrainingHistory:
        """Train a copy of the network on several devices or machines, and take its weights."""
        from models.distribution import group_named, lost_workers
        from models.training import fit
        from pipeline.training_machines import call

        group = group_named(self.recipe.training.distribute)
        progress = watched(epoch_progress(report, task), self.watch)
        settings = training_settings(self.recipe, self.network)
        with lost_workers():
            if group.processes > 1 and group.is_first:
                call(group, self)
            with group.strategy.scope():
                copy = new_network(architecture_of(self.recipe, self.network, task), task)
                copy.set_weights(network.get_weights())
                history = fit(copy, task, settings, checkpoint, progress)
            network.set_weights(copy.get_weights())
        return history


def architecture_of(recipe: Recipe, network: Network, task: Task) -> Architecture:
    """Return the architecture of a recipe's network before it is compressed.

    Raises:
        ModelsError: sizes do not fit each other or the task.
    """
    from models.network import Architecture

    section, training = network.section, recipe.training
    return Architecture(
        cell=section.cell,
        units=section.unit_list,
        inputs=len(task.channels),
        outputs=len(task.labels),
        options=section.options,
        input_noise=training.input_noise,
        input_offset=training.input_offset,
        dropout=training.dropout,
        embedding=section.embedding,
        residual=section.residual,
        periods=tuple(section.periods),
        vocabulary=task.vocabulary,
        gives_values=task.gives_values,
    )


def new_network(architecture: Architecture, task: Task) -> keras.Model:
    """Make a network with random weights that knows the task's means and deviations."""
    from models.layers import Normalization, ValueHead

    network = architecture.build()
    for layer in network.layers:
        if isinstance(layer, Normalization):
            layer.adapt(*task.normalization)
        elif isinstance(layer, ValueHead):
            layer.adapt(*task.value_spread)
    return network
