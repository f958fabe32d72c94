"""Language identification: which of 23 languages a text is in, character by character."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.front_ends.text import Tokenizer, describe_characters
from models.tasks.hash_split import split_by_name
from models.tasks.interface_messages import DJANGO_CITATION, django_messages, plain
from models.tasks.keystrokes import KEYSTROKE_PERIOD_S, KEYSTROKE_SOURCE
from models.tasks.sequence_set import SequenceSet
from models.tasks.shared_texts import split_unshared
from models.tasks.task import Task
from models.tasks.text_baselines import majority_accuracy, ngram_naive_bayes_accuracy

# The official languages of the European Union that Django speaks: all but Maltese.
LANGUAGES = {
    "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "fi": "Finnish", "fr": "French",
    "ga": "Irish", "hr": "Croatian", "hu": "Hungarian", "it": "Italian", "lt": "Lithuanian",
    "lv": "Latvian", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "sk": "Slovak", "sl": "Slovenian", "sv": "Swedish",
}  # fmt: skip
LENGTH = 60
# Rarer characters of the training data share the id of unknown ones.
LEAST_COUNT = 10
# How often the training messages are put in a new order, so that others follow one another.
ORDERS = 6
SEED = 31


def load() -> Task:
    """Read Django's messages of each language, in random order, cut into texts of 60 characters
    that begin at a word. The split is by the English message: no message is on two sides, in
    whatever language.

    Messages that a translation keeps in English are left out, and training messages that stand in
    the test data of any language, but for case and marks: two English messages may have one
    translation.

    Raises:
        MissingDataError: Django or polib is not installed.
    """
    by_language = {code: _texts(code) for code in LANGUAGES}
    keys = sorted({key for texts in by_language.values() for key in texts})
    sides = [{keys[i] for i in side} for side in split_by_name(keys)]
    by_language, shared = _without_shared(by_language, sides)
    front_end = describe_characters(
        (text for texts in by_language.values() for key, text in texts.items() if key in sides[0]),
        lowercase=True,
        least_count=LEAST_COUNT,
    )
    tokenizer = Tokenizer(front_end)
    train, validation, test = (
        _sequences(by_language, side, tokenizer, orders)
        for side, orders in zip(sides, (ORDERS, 1, 1), strict=True)
    )
    return Task(
        name="language-id",
        train=train,
        validation=validation,
        test=test,
        labels=tuple(LANGUAGES.values()),
        channels=("character",),
        units="token id",
        frame_period_s=KEYSTROKE_PERIOD_S,
        frame_period_source=KEYSTROKE_SOURCE,
        group_name="",
        source=DJANGO_CITATION,
        vocabulary=tokenizer.vocabulary,
        front_end=front_end,
        baselines=_baselines,
        remarks=(shared,),
    )


def _texts(language: str) -> dict[str, str]:
    """Messages of a language by the English ones."""
    if language == "en":
        return {key: plain(key) for key in django_messages("fr")}
    return {key: plain(text) for key, text in django_messages(language).items() if text != key}


def _without_shared(
    by_language: dict[str, dict[str, str]], sides: list[set[str]]
) -> tuple[dict[str, dict[str, str]], str]:
    """Take messages out of the training and validation sides that stand on a later side."""
    items = [(code, key) for code, texts in by_language.items() for key in texts]
    texts = [(by_language[code][key],) for code, key in items]
    places = [
        np.array([i for i, (_, key) in enumerate(items) if key in side], np.int64) for side in sides
    ]
    left, shared = split_unshared(texts, places)
    kept: dict[str, dict[str, str]] = {code: {} for code in by_language}
    for index in np.sort(np.concatenate(left)):
        code, key = items[index]
        kept[code][key] = by_language[code][key]
    return kept, shared


def _sequences(
    by_language: dict[str, dict[str, str]], side: set[str], tokenizer: Tokenizer, orders: int
) -> SequenceSet:
    generator = np.random.default_rng(SEED)
    sequences, labels = [], []
    for label, texts in enumerate(by_language.values()):
        own = sorted(key for key in texts if key in side)
        for _ in range(orders):
            chained = " ".join(texts[own[i]] for i in generator.permutation(len(own)))
            for text in _cut(tokenizer.encode(chained), tokenizer):
                sequences.append(text[:, np.newaxis])
                labels.append(label)
    return SequenceSet(sequences, np.array(labels, np.int64), np.zeros(len(labels), np.int64))


def _cut(ids: NDArray[Any], tokenizer: Tokenizer) -> list[NDArray[Any]]:
    """Texts of LENGTH characters, each from the beginning of a word."""
    starts = np.append(0, np.flatnonzero(ids == tokenizer.encode(" ", verbatim=True)[0]) + 1)
    texts, start = [], 0
    while start + LENGTH <= len(ids):
        texts.append(ids[start : start + LENGTH])
        after = np.searchsorted(starts, start + LENGTH)
        if after == len(starts):
            break
        start = int(starts[after])
    return texts


def _baselines(task: Task) -> dict[str, float]:
    return {
        "majority class": majority_accuracy(task),
        "naive Bayes on runs of 1 to 3 characters": ngram_naive_bayes_accuracy(task),
    }
