"""Build every network of a recipe once, to find what cannot work before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from models.augmentation import Augmentation
from models.training_settings import DistillationSettings
from pipeline.errors import RecipeError
from pipeline.networks import Network
from pipeline.recipe import ModelSection, Recipe
from pipeline.stages.dependence import task_data, task_registries
from pipeline.stages.train import architecture_of
from pipeline.work import Report, Work

if TYPE_CHECKING:
    import tf_keras as keras

    from models.tasks.task import Task


@dataclass(frozen=True)
class Check(Work):
    """Checks a recipe's networks against the task by doing everything but the training.

    Every network is built, handed to its pupils, and compressed."""

    recipe: Recipe

    name = "check"

    @property
    def subject(self) -> str:
        return self.recipe.task

    def settings(self) -> dict[str, Any]:
        read = {"task", "training", "models"}
        return {**self.recipe.model_dump(include=read), **task_data(self.recipe)}

    def chosen(self) -> dict[str, tuple[str, ...]]:
        models = self.recipe.models
        return {
            **task_registries(self.recipe.task),
            "models.cells": tuple({model.cell for model in models}),
            "models.compress": tuple({name for model in models for name in model.compressions}),
        }

    def _check_devices(self) -> None:
        from models.distribution import check_batch, group_named

        training = self.recipe.training
        if training.distribute != "none":
            check_batch(group_named(training.distribute), training.batch_size)

    def build(self, folder: Path, report: Report) -> None:
        task = self.recipe.load_task()
        try:
            _check_augmentation(self.recipe, task)
        except click.ClickException as error:
            raise RecipeError(f"[training.augmentation]: {error.message}") from error
        self._check_devices()
        networks: dict[str, keras.Model] = {}
        for number, model in enumerate(self.recipe.models):
            report(number, len(self.recipe.models), model.label)
            try:
                networks[model.label] = self._rehearsed(model, networks, task)
            except click.ClickException as error:
                raise RecipeError(f"model '{model.label}': {error.message}") from error
            except (ValueError, TypeError, IndexError) as error:
                # A cell or layer did not say in its own words what it takes.
                reason = " ".join(str(error).split())
                raise RecipeError(f"model '{model.label}' cannot be built: {reason}") from error

    def _rehearsed(
        self, model: ModelSection, above: dict[str, keras.Model], task: Task
    ) -> keras.Model:
        """Build the model's network with random weights, compressed as it will be."""
        from models.compress import rehearse
        from models.compress.distillation import check_distillation

        architecture = architecture_of(self.recipe, Network(model, 0), task)
        network = architecture.build()
        if model.distil:
            settings = model.distil.part(DistillationSettings)
            check_distillation([above[model.distil.teacher]], network, task, settings)
        for name, section in model.compressions.items():
            network, architecture = rehearse(name, network, architecture, section.settings)
        return network


def _check_augmentation(recipe: Recipe, task: Task) -> None:
    """Augment one sequence, to see whether that works."""
    import numpy as np

    from models.training import check_augmentation

    augmentation = recipe.training.augmentation.part(Augmentation)
    check_augmentation(augmentation, task)
    if augmentation:
        data = task.train
        augmentation.apply(data.padded[:1], data.lengths[:1], np.random.default_rng(0))
