"""A character language model: the next character of reviews and editorials."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.front_ends.text import Tokenizer, describe_characters, normalize
from models.metrics import Metric, bits_per_step
from models.tasks.hash_split import split_by_name
from models.tasks.keystrokes import KEYSTROKE_PERIOD_S, KEYSTROKE_SOURCE
from models.tasks.ngram_model import NgramModel
from models.tasks.rated_snippets import CITATION, families, rated_snippets
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task

SOURCES = ("movie reviews", "editorials")
# Characters a sequence has; the state begins anew with each.
LENGTH = 128
# Rarer characters of the training data share the id of unknown ones.
LEAST_COUNT = 20
# Test texts used: 128 x 1000 characters fix the figure to well below 0.01 bits.
TEST_SEQUENCES = 1000
NGRAMS = {"unigrams": 1, "Kneser-Ney trigrams": 3, "Kneser-Ney 5-grams": 5}


def load() -> Task:
    """Read snippets of movie reviews and editorials in their order, one a line, cut into sequences
    of 128 characters, each with its next one as the label. What comes from one document, and
    near-duplicates, are on one side of the split.

    Raises:
        MissingDataError: the data is not cached and cannot be fetched.
    """
    everything = rated_snippets()
    names = families(everything)
    chosen = [i for i, one in enumerate(everything) if one.source in SOURCES]
    lines = [normalize(everything[i].text) + "\n" for i in chosen]
    sides = split_by_name([names[i] for i in chosen])
    front_end = describe_characters((lines[i] for i in sides[0]), least_count=LEAST_COUNT, end="\n")
    tokenizer = Tokenizer(front_end)
    train, validation, test = (_sequences([lines[i] for i in side], tokenizer) for side in sides)
    return Task(
        name="char-lm",
        train=train,
        validation=validation.select(_spread(len(validation), TEST_SEQUENCES // 2)),
        test=test.select(_spread(len(test), TEST_SEQUENCES)),
        labels=tokenizer.names(),
        channels=("character",),
        units="token id",
        frame_period_s=KEYSTROKE_PERIOD_S,
        frame_period_source=KEYSTROKE_SOURCE,
        group_name="",
        source=CITATION,
        vocabulary=tokenizer.vocabulary,
        front_end=front_end,
        metric=Metric(
            "bits per character", "bits", False, "of the next character, at every step",
            bits_per_step,
        ),
        baselines=_baselines,
    )  # fmt: skip


def _sequences(lines: list[str], tokenizer: Tokenizer) -> SequenceSet:
    """Sequences that overlap by one character: the last label of one begins the next."""
    ids = tokenizer.encode("".join(lines), verbatim=True)
    pieces = [ids[start : start + LENGTH + 1] for start in range(0, len(ids) - LENGTH, LENGTH)]
    nothing = np.zeros(len(pieces), np.int64)
    return SequenceSet(
        [piece[:-1, np.newaxis] for piece in pieces],
        nothing,
        nothing,
        step_labels=[piece[1:].astype(np.int64) for piece in pieces],
    )


def _spread(count: int, wanted: int) -> NDArray[Any]:
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))


def _baselines(task: Task) -> dict[str, float]:
    """Kneser-Ney models; as the network, they see nothing from before a sequence, and are not
    asked for its first character."""
    training, test = _texts(task.train), _texts(task.test)
    return {
        name: NgramModel(training, order, task.vocabulary).bits(test, skipped=1)
        for name, order in NGRAMS.items()
    }


def _texts(data: SequenceSet) -> list[NDArray[Any]]:
    pairs = zip(data.sequences, data.step_labels or [], strict=True)
    return [np.append(sequence[0], labels) for sequence, labels in pairs]
