"""Narrow a task to the input channels that a network still reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.stages.history import NetworkHistory

if TYPE_CHECKING:
    from models.tasks.task import Task


def narrowed_task(name: str, history: NetworkHistory) -> Task:
    """Return a task by name, with only the channels that the network of a history reads."""
    from models.compress.structured.cut import select_channels
    from models.tasks import load_task

    task = load_task(name)
    return task if history.channels_kept is None else select_channels(task, history.channels_kept)
