"""Tasks on real data: one file each, listed here."""

from __future__ import annotations

from models.errors import UnknownNameError
from models.tasks import japanese_vowels, keywords, watch_exercises
from models.tasks.task import SequenceSet, Task, TaskLoader

TASKS: dict[str, TaskLoader] = {
    "japanese-vowels": japanese_vowels.load,
    "keywords": keywords.load,
    "keywords-synthetic": keywords.load_synthetic,
    "watch-exercises": watch_exercises.load,
}


def load_task(name: str) -> Task:
    """Load a task by its name in TASKS; UnknownNameError where there is none."""
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    return TASKS[name]()


__all__ = ["TASKS", "SequenceSet", "Task", "load_task"]
