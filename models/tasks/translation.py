"""Translation from English to French, one piece of a word after another: a sequence to a sequence.

One recurrent network reads "source TAB target LF" as a language model does and is asked for its
next piece from the TAB on: up to there its state encodes, after it decodes, and one step contract
serves for both. The pieces are learned from the training texts of both languages together, so that
a name is made of the same pieces in both and can be copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.front_ends.text import Tokenizer, describe_pieces, normalize
from models.metrics import Metric, bits_per_step
from models.tasks.hash_split import split_by_name
from models.tasks.interface_messages import (
    DJANGO_CITATION,
    MORE_CITATION,
    django_messages,
    more_messages,
    plain,
)
from models.tasks.keystrokes import KEYSTROKE_PERIOD_S, KEYSTROKE_SOURCE
from models.tasks.ngram_model import NgramModel
from models.tasks.sequence_set import SequenceSet
from models.tasks.shared_texts import split_unshared
from models.tasks.task import Task
from models.tasks.word_pieces import learn_pieces

LANGUAGE = "fr"
SEPARATOR, END = "\t", "\n"
LONGEST_SOURCE, LONGEST_TARGET = 40, 50
# Rarer characters of the training data share the id of unknown ones.
LEAST_COUNT = 3
# Of two characters and more.
PIECES = 1500


def load() -> Task:
    """Read pairs of messages; those that are equal but for case, marks and white space are on one
    side of the split.

    Raises:
        MissingDataError: a package is not installed, or not cached and cannot be fetched.
    """
    (train, validation, test), shared = unshared_pairs()
    pieces = learn_pieces((text for pair in train for text in pair), PIECES, LEAST_COUNT)
    front_end = describe_pieces(pieces, separator=SEPARATOR, end=END)
    tokenizer = Tokenizer(front_end)
    return Task(
        name="translation",
        train=_sequences(train, tokenizer),
        validation=_sequences(validation, tokenizer),
        test=_sequences(test, tokenizer),
        labels=tokenizer.names(),
        channels=("piece of a word",),
        units="token id",
        frame_period_s=KEYSTROKE_PERIOD_S,
        frame_period_source=KEYSTROKE_SOURCE,
        group_name="",
        source=f"{DJANGO_CITATION}; {MORE_CITATION}",
        vocabulary=tokenizer.vocabulary,
        front_end=front_end,
        metric=Metric(
            "bits per piece", "bits", False, "of the translation's next piece of a word",
            bits_per_step,
        ),
        baselines=_baselines,
        remarks=(shared,),
    )  # fmt: skip


def pairs() -> tuple[list[tuple[str, str]], ...]:
    """Give (English, French) for training, validation and test, as :func:`unshared_pairs`."""
    return unshared_pairs()[0]


def unshared_pairs() -> tuple[tuple[list[tuple[str, str]], ...], str]:
    """Give (English, French) for training, validation and test, and how many were left out because
    their English or French stands in the test or validation data."""
    translations = {**more_messages(LANGUAGE), **django_messages(LANGUAGE)}
    found = []
    for english, french in sorted(translations.items()):
        source, target = normalize(plain(english)), normalize(plain(french))
        if 0 < len(source) <= LONGEST_SOURCE and 0 < len(target) <= LONGEST_TARGET:
            found.append((source, target))
    names = ["".join(filter(str.isalnum, source.lower())) for source, _ in found]
    sides, shared = split_unshared(found, split_by_name(names))
    return tuple([found[i] for i in side] for side in sides), shared


def _sequences(texts: list[tuple[str, str]], tokenizer: Tokenizer) -> SequenceSet:
    sequences, wanted = [], []
    for source, target in texts:
        prompt = tokenizer.encode(source + SEPARATOR, verbatim=True)
        answer = tokenizer.encode(target + END, verbatim=True)
        sequences.append(np.concatenate([prompt, answer[:-1]])[:, np.newaxis])
        wanted.append(np.concatenate([np.full(len(prompt) - 1, -1), answer]).astype(np.int64))
    nothing = np.zeros(len(texts), np.int64)
    return SequenceSet(sequences, nothing, nothing, step_labels=wanted)


def _baselines(task: Task) -> dict[str, float]:
    """Language models of French, which do not look at the English text."""
    training, test = _answers(task.train), _answers(task.test)
    return {
        name: NgramModel(training, order, task.vocabulary).bits(test)
        for name, order in {"unigrams": 1, "Kneser-Ney 5-grams": 5}.items()
    }


def _answers(data: SequenceSet) -> list[NDArray[Any]]:
    return [labels[labels >= 0] for labels in data.step_labels or []]
