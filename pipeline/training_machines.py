"""Recipes on several machines: the first one runs all stages, the others help it train.

The first machine (index 0 in TF_CONFIG) says which network is trained next. The others make the
same network, take their part of each batch, and write nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from models.errors import DamagedCheckpointError
from pipeline.errors import RecipeError
from pipeline.networks import networks_of
from pipeline.recipe import Recipe

if TYPE_CHECKING:
    from models.distribution import Group
    from pipeline.stages.train import Train

_END = -1


def joins_machines(recipe: Recipe) -> bool:
    """Tell whether the recipe trains on several machines."""
    return recipe.training.distribute == "multi-worker"


def join(recipe: Recipe) -> Group:
    """Meet the other machines; waits for them.

    Raises:
        ModelsError: TF_CONFIG does not list them.
    """
    from models.distribution import group_named
    from models.tensorflow_log import load_tensorflow

    load_tensorflow()
    return group_named(recipe.training.distribute)


def call(group: Group, train: Train) -> None:
    """Have the other machines train this network, too. Called by the first one.

    Raises:
        RecipeError: another machine has another recipe, data or version.
    """
    networks = [network.base_label for network in networks_of(train.recipe)]
    group.from_first(np.array([networks.index(train.network.base_label)], np.int32))
    _compare(group, train)


def dismiss(group: Group) -> None:
    """Tell the other machines that nothing is left to train."""
    group.from_first(np.array([_END], np.int32))


def help_train(recipe: Recipe, group: Group, say: Callable[[str], None]) -> int:
    """Help the first machine until it is done; return how many trainings that were.

    Raises:
        RecipeError: the first machine has another recipe, data or version.
        ModelsError: a training failed, or the first machine was lost.
    """
    from models.distribution import lost_workers
    from pipeline.stages.train import Train

    networks, done = networks_of(recipe), 0
    with lost_workers():
        while (index := int(group.from_first(np.array([0], np.int32))[0])) != _END:
            train = Train(recipe, networks[min(index, len(networks) - 1)])
            _compare(group, train)
            say(f"helps to train {train.subject}")
            try:
                train.help()
                done += 1
            except DamagedCheckpointError:
                continue  # the first machine removes it and calls again
    return done


def _compare(group: Group, train: Train) -> None:
    text = json.dumps(train.settings(), sort_keys=True, default=str)
    own = np.array([int(hashlib.sha256(text.encode()).hexdigest()[:7], 16)], np.int32)
    if group.any(bool((group.from_first(own) != own).any())):
        raise RecipeError(
            f"the machines' recipes or data differ for {train.subject}; give all of them the same"
        )
