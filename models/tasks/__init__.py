"""Tasks on real data: one file each, listed here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.errors import UnknownNameError
from models.tasks import (
    basic_motions,
    char_lm,
    engine_fault,
    glucose,
    japanese_vowels,
    keywords,
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
    "keywords": keywords.load,
    "keywords-synthetic": keywords.load_synthetic,
    "language-id": language_id.load,
    "sentiment": sentiment.load,
    "stocks": stocks.load,
    "translation": translation.load,
    "watch-exercises": watch_exercises.load,
    "watch-exercises-4s": watch_exercises.load_4s,
}

# Of tasks whose data lies in a folder of the user's: what it depends on, ready for JSON.
_DATA_FACTS: dict[str, Callable[[], dict[str, Any]]] = {
    "keywords": keywords.data_facts,
    "keywords-synthetic": keywords.synthetic_data_facts,
}


def data_facts(name: str) -> dict[str, Any]:
    """What tells a task's data from other data of the same name, ready for JSON; empty where the
    data comes inside a package, whose version tells it.

    Raises:
        MissingDataError: the data is not there.
    """
    return _DATA_FACTS[name]() if name in _DATA_FACTS else {}


def load_task(name: str) -> Task:
    """Load a task by its name in TASKS; UnknownNameError where there is none."""
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    return TASKS[name]()


__all__ = ["TASKS", "SequenceSet", "Task", "data_facts", "load_task"]
