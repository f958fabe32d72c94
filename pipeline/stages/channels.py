"""Narrow a task to the input channels that a network still reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.recipe import Recipe
from pipeline.stages.history import NetworkHistory

if TYPE_CHECKING:
    from models.tasks.task import Task


def narrowed_task(recipe: Recipe, history: NetworkHistory) -> Task:
    """Return a recipe's task, with only the channels that the network of a history reads."""
    from models.compress.structured.cut import select_channels

    task = recipe.load_task()
    return task if history.channels_kept is None else select_channels(task, history.channels_kept)
