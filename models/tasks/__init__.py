"""Tasks on real data: one file each, listed here."""

from __future__ import annotations

from models.errors import UnknownNameError
from models.tasks import (
    char_lm,
    japanese_vowels,
    language_id,
    sentiment,
    translation,
    watch_exercises,
)
from models.tasks.task import SequenceSet, Task, TaskLoader

TASKS: dict[str, TaskLoader] = {
    "char-lm": char_lm.load,
    "japanese-vowels": japanese_vowels.load,
    "language-id": language_id.load,
    "sentiment": sentiment.load,
    "translation": translation.load,
    "watch-exercises": watch_exercises.load,
}


def load_task(name: str) -> Task:
    """Load a task by its name in TASKS; UnknownNameError where there is none."""
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    return TASKS[name]()


__all__ = ["TASKS", "SequenceSet", "Task", "load_task"]
