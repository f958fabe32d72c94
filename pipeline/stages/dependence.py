"""Tell what stages depend on that use a task's data or a network."""

from __future__ import annotations

from typing import Any

from pipeline.networks import Network
from pipeline.recipe import Recipe


def task_data(recipe: Recipe) -> dict[str, Any]:
    """Return what a stage depends on if the task's data is in a user's folder."""
    from models.tasks import data_facts

    facts = data_facts(recipe.task, recipe.described_data)
    return {"data": facts} if facts else {}


def task_registries(name: str) -> dict[str, tuple[str, ...]]:
    """Return only the task's entry.

    If the task imports a front end, a result made from the task's data depends on it; the rest of
    the front ends' package does not matter."""
    return {"models.tasks": (name,), "device_runner.front_ends": ()}


def network_registries(recipe: Recipe, network: Network) -> dict[str, tuple[str, ...]]:
    """Return the registry entries that a network on the recipe's task needs."""
    return {
        **task_registries(recipe.task),
        "models.cells": (network.section.cell,),
        "models.compress": (),
    }
