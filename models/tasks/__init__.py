"""Tasks on real data: one file each, listed here."""

from __future__ import annotations

from models.errors import UnknownNameError
from models.tasks import (
    basic_motions,
    char_lm,
    engine_fault,
    glucose,
    japanese_vowels,
    language_id,
    sentiment,
    stocks,
    translation,
    watch_exercises,
)
from models.tasks.task import SequenceSet, Task, TaskLoader

TASKS: dict[str, TaskLoader] = {
    "basic-motions": basic_motions.load,
    "char-lm": char_lm.load,
    "engine-fault": engine_fault.load,
    "glucose": glucose.load,
    "japanese-vowels": japanese_vowels.load,
    "language-id": language_id.load,
    "sentiment": sentiment.load,
    "stocks": stocks.load,
    "translation": translation.load,
    "watch-exercises": watch_exercises.load,
    "watch-exercises-4s": watch_exercises.load_4s,
}


def load_task(name: str) -> Task:
    """Load a task by its name in TASKS; UnknownNameError where there is none."""
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    return TASKS[name]()


__all__ = ["TASKS", "SequenceSet", "Task", "load_task"]
