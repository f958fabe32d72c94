"""Tasks on real data: one file each, listed here.

The list holds names of modules, so that reading it imports neither TensorFlow nor any data.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from models.errors import MissingDataError, ModelsError, UnknownNameError

if TYPE_CHECKING:
    from models.tasks.folder_settings import FolderSettings
    from models.tasks.task import Task


class TaskEntry(NamedTuple):
    """A task in the list.

    Attributes:
        loader: "module.function" within this package; the function takes nothing and gives the
            :class:`~models.tasks.task.Task`.
        source: where the data comes from, in a few words.
        purpose: what is asked for, in a line.
        distributions: the installed packages that the data is read with; their versions tell it
            from other data.
        data_facts: "module.function" that tells what the data depends on, ready for JSON, where it
            lies in a folder of the user's; else "".
        described: whether a recipe's table [data] says how the data is read; loader and data_facts
            take these :class:`~models.tasks.folder_settings.FolderSettings`.
    """

    loader: str
    source: str
    purpose: str
    distributions: tuple[str, ...] = ()
    data_facts: str = ""
    described: bool = False


TASKS: dict[str, TaskEntry] = {
    "basic-motions": TaskEntry(
        "basic_motions.load",
        "UEA archive 2018",
        "Basic motions: standing, running, walking or badminton, from a smart watch",
        ("sktime",),
    ),
    "char-lm": TaskEntry(
        "char_lm.load",
        "Hutto and Gilbert 2014",
        "A character language model: the next character of reviews and editorials",
    ),
    "digit-strings-george": TaskEntry(
        "digit_strings.load_george",
        "Free Spoken Digit Dataset",
        "Speech to text: strings of one to seven digits, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digit_strings.data_facts",
    ),
    "digit-strings-jackson": TaskEntry(
        "digit_strings.load_jackson",
        "Free Spoken Digit Dataset",
        "Speech to text: strings of one to seven digits, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digit_strings.data_facts",
    ),
    "digit-strings-lucas": TaskEntry(
        "digit_strings.load_lucas",
        "Free Spoken Digit Dataset",
        "Speech to text: strings of one to seven digits, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digit_strings.data_facts",
    ),
    "digit-strings-nicolas": TaskEntry(
        "digit_strings.load_nicolas",
        "Free Spoken Digit Dataset",
        "Speech to text: strings of one to seven digits, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digit_strings.data_facts",
    ),
    "digit-strings-theo": TaskEntry(
        "digit_strings.load_theo",
        "Free Spoken Digit Dataset",
        "Speech to text: strings of one to seven digits, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digit_strings.data_facts",
    ),
    "digit-strings-yweweler": TaskEntry(
        "digit_strings.load_yweweler",
        "Free Spoken Digit Dataset",
        "Speech to text: strings of one to seven digits, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digit_strings.data_facts",
    ),
    "digits-george": TaskEntry(
        "digits.load_george",
        "Free Spoken Digit Dataset",
        "Spoken digits: which of ten, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digits.data_facts",
    ),
    "digits-jackson": TaskEntry(
        "digits.load_jackson",
        "Free Spoken Digit Dataset",
        "Spoken digits: which of ten, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digits.data_facts",
    ),
    "digits-lucas": TaskEntry(
        "digits.load_lucas",
        "Free Spoken Digit Dataset",
        "Spoken digits: which of ten, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digits.data_facts",
    ),
    "digits-nicolas": TaskEntry(
        "digits.load_nicolas",
        "Free Spoken Digit Dataset",
        "Spoken digits: which of ten, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digits.data_facts",
    ),
    "digits-theo": TaskEntry(
        "digits.load_theo",
        "Free Spoken Digit Dataset",
        "Spoken digits: which of ten, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digits.data_facts",
    ),
    "digits-yweweler": TaskEntry(
        "digits.load_yweweler",
        "Free Spoken Digit Dataset",
        "Spoken digits: which of ten, of people whom training does not hear",
        ("pymicro-features", "scipy"),
        "digits.data_facts",
    ),
    "engine-fault": TaskEntry(
        "engine_fault.load",
        "FordA, IEEE WCCI 2008",
        "Engine noise: whether a subsystem of a car shows a certain fault",
    ),
    "engine-fault-noisy": TaskEntry(
        "engine_fault.load_noisy",
        "FordB, IEEE WCCI 2008",
        "Engine noise: the same, trained without noise of the surroundings and tested with it",
    ),
    "folder": TaskEntry(
        "folder.load",
        "your recordings",
        "Your own recordings: classes of them or of their rows, or values to predict, in CSV, NPZ, "
        "Parquet or WAV files",
        data_facts="folder.data_facts",
        described=True,
    ),
    "gestures": TaskEntry(
        "gestures.load",
        "UCR archive 2018",
        "Gestures: which of ten, from a remote control's acceleration along one axis",
    ),
    "glucose": TaskEntry(
        "glucose.load",
        "bokeh_sampledata",
        "Blood glucose half an hour ahead, from a continuous glucose monitor's own readings",
        ("bokeh_sampledata",),
    ),
    "heartbeats": TaskEntry(
        "heartbeats.load",
        "UCR archive 2018",
        "Heartbeats: which of five kinds one is, from an electrocardiogram",
    ),
    "japanese-vowels": TaskEntry(
        "japanese_vowels.load",
        "Kudo et al. 1999",
        "Japanese Vowels: which of nine speakers says /ae/, from 12 LPC cepstra a frame",
        ("sktime",),
    ),
    "keywords": TaskEntry(
        "keywords.load",
        "Warden 2018",
        "Spoken keywords: which of ten words, another word or silence, from log-mel frames of one "
        "second",
        ("pymicro-features",),
        "keywords.data_facts",
    ),
    "keywords-synthetic": TaskEntry(
        "keywords.load_synthetic",
        "flite and espeak-ng",
        "Spoken keywords, said by speech synthesizers instead of people",
        ("pymicro-features",),
        "keywords.synthetic_data_facts",
    ),
    "language-id": TaskEntry(
        "language_id.load",
        "Django's catalogs",
        "Language identification: which of 23 languages a text is in, character by character",
        ("Django", "polib", "scikit-learn"),
    ),
    "sentiment": TaskEntry(
        "sentiment.load",
        "Hutto and Gilbert 2014",
        "Sentiment: is a sentence of a review, tweet or editorial positive or negative, word by "
        "word",
        ("scikit-learn",),
    ),
    "speech-synthesis": TaskEntry(
        "speech_synthesis.load",
        "Free Spoken Digit Dataset",
        "Speech synthesis: from the letters of ten words to log-mel energies of one voice",
        ("librosa", "scipy"),
        "speech_synthesis.data_facts",
    ),
    "stock-ranges": TaskEntry(
        "stock_ranges.load",
        "Quandl WIKI prices",
        "Stock prices: how far apart the next trading day's highest and lowest price are",
        ("bokeh_sampledata",),
    ),
    "stocks": TaskEntry(
        "stocks.load",
        "Quandl WIKI prices",
        "Stock prices: the next trading day's return, from the last days' prices and volumes",
        ("bokeh_sampledata",),
    ),
    "translation": TaskEntry(
        "translation.load",
        "catalogs of nine programs",
        "Translation from English to French, piece by piece of words: a sequence to a sequence",
        ("Django", "polib"),
    ),
    "turbofan": TaskEntry(
        "turbofan.load",
        "NASA C-MAPSS",
        "Failures ahead: how many flights an engine still has, from one pressure in it",
    ),
    "watch-exercises": TaskEntry(
        "watch_exercises.load",
        "Burns et al. 2018",
        "Shoulder exercises: which of seven, from a smart watch's accelerometer and gyroscope",
        ("seglearn",),
    ),
    "watch-exercises-4s": TaskEntry(
        "watch_exercises.load_4s",
        "Burns et al. 2018",
        "Shoulder exercises, from four seconds of signal in overlapping windows",
        ("seglearn",),
    ),
}


def load_task(name: str, data: FolderSettings | None = None) -> Task:
    """Load a task by its name in TASKS.

    Args:
        data: how to read it, where it is described by a recipe.

    Raises:
        UnknownNameError: there is no such task.
        MissingDataError: its data, or the package that brings it, is not there.
        ModelsError: the task is described and there is no description, or the other way round; or
            the data is damaged.
    """
    task: Task = _function(task_entry(name).loader)(*_description(name, data))
    return task


def data_facts(name: str, data: FolderSettings | None = None) -> dict[str, Any]:
    """Tell a task's data from other data of the same name, ready for JSON; empty where the data
    comes inside a package, whose version tells it.

    Args, Raises: as :func:`load_task`.
    """
    place = task_entry(name).data_facts
    facts: dict[str, Any] = _function(place)(*_description(name, data)) if place else {}
    return facts


def task_entry(name: str) -> TaskEntry:
    """Look a task up by its name in TASKS; UnknownNameError where there is none."""
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    return TASKS[name]


def check_description(name: str, described: bool) -> None:
    """Raise for a task that should be described and is not (MissingDataError), or that is and
    should not be (ModelsError)."""
    if task_entry(name).described and not described:
        raise MissingDataError(
            f"the task '{name}' needs a table [data] in a recipe, which says where the recordings "
            "are and how they are read; 'edgestep data FOLDER' writes one"
        )
    if described and not task_entry(name).described:
        raise ModelsError(f"the task '{name}' brings its data; leave out [data]")


def _description(name: str, data: FolderSettings | None) -> tuple[FolderSettings, ...]:
    check_description(name, data is not None)
    return () if data is None else (data,)


def _function(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(".")
    function: Callable[..., Any] = getattr(importlib.import_module(f"models.tasks.{module}"), name)
    return function
