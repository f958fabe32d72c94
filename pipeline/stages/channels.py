"""The task that a stage works on: as the recipe has it, and as a network reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.recipe import Recipe
from pipeline.stages.history import NetworkHistory

if TYPE_CHECKING:
    from models.tasks.task import Task


def narrowed_task(recipe: Recipe, history: NetworkHistory) -> Task:
    """Return a recipe's task, with only the channels that the network of a history reads."""
    from models.compress.structured.cut import select_channels

    task = recipe.load_task()
    return task if history.channels_kept is None else select_channels(task, history.channels_kept)


def judged_on(recipe: Recipe) -> dict[str, Any]:
    """Return what a stage depends on if it does not see the test data."""
    return {"judged_on": "validation"} if recipe.withholds_test else {}
