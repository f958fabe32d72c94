"""What stages that use a task's data or a network depend on."""

from __future__ import annotations

from typing import Any

from pipeline.networks import Network
from pipeline.recipe import Recipe


def task_data(name: str) -> dict[str, Any]:
    """What a stage depends on where the task's data lies in a folder of the user's."""
    from models.tasks import data_facts

    facts = data_facts(name)
    return {"data": facts} if facts else {}


def task_registries(name: str) -> dict[str, tuple[str, ...]]:
    """The task's entry alone. A front end matters to a result that is made of the task's data if
    the task imports it; what its package can do beside does not."""
    return {"models.tasks": (name,), "device_runner.front_ends": ()}


def network_registries(recipe: Recipe, network: Network) -> dict[str, tuple[str, ...]]:
    """The entries of the registries that a network on the recipe's task needs."""
    return {
        **task_registries(recipe.task),
        "models.cells": (network.section.cell,),
        "models.compress": (),
    }
