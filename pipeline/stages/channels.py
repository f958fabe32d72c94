"""A task as a network reads it from which input channels were taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.stages.history import NetworkHistory

if TYPE_CHECKING:
    from models.tasks.task import Task


def narrowed_task(name: str, history: NetworkHistory) -> Task:
    """The task of this name, with those channels alone that the network of a history reads."""
    from models.compress.structured.cut import select_channels
    from models.tasks import load_task

    task = load_task(name)
    return task if history.channels_kept is None else select_channels(task, history.channels_kept)
