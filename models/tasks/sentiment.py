"""Sentiment: is a sentence of a review, tweet or editorial positive or negative, word by word."""

from __future__ import annotations

import numpy as np

from device_runner.front_ends.text import Tokenizer, describe_words
from models.tasks.hash_split import split_by_name
from models.tasks.rated_snippets import CITATION, families, rated_snippets
from models.tasks.sequence_set import SequenceSet
from models.tasks.shared_texts import split_unshared
from models.tasks.task import Task
from models.tasks.text_baselines import bag_of_words_accuracy, majority_accuracy

# Mean ratings nearer to neutral (0 on -4 to 4) are left out: there the raters do not agree on a
# side.
LEAST_RATING = 1.0
# Rarer words of the training data share the id of unknown ones.
LEAST_COUNT = 3
# 99 % of the snippets are shorter; the others are cut.
LONGEST = 48


def load() -> Task:
    """Read snippets that twenty people rated one point or more from neutral; their documents, and
    near-duplicates, are on one side of the split.

    Texts that stand in the test data too, but for case and marks, are not trained with.

    Raises:
        MissingDataError: the data is not cached and cannot be fetched.
    """
    everything = rated_snippets()
    names = families(everything)
    chosen = [i for i, one in enumerate(everything) if abs(one.rating) >= LEAST_RATING]
    snippets = [everything[i] for i in chosen]
    sides = split_by_name([names[i] for i in chosen])
    (training, validation, test), shared = split_unshared([(one.text,) for one in snippets], sides)
    front_end = describe_words((snippets[i].text for i in training), least_count=LEAST_COUNT)
    tokenizer = Tokenizer(front_end)
    encoded = [tokenizer.encode(one.text)[:LONGEST, np.newaxis] for one in snippets]
    labels = np.array([one.rating > 0 for one in snippets], np.int64)
    filled = np.array([len(sequence) > 0 for sequence in encoded])
    data = SequenceSet(encoded, labels, np.zeros(len(labels), np.int64))
    return Task(
        name="sentiment",
        train=data.select(training[filled[training]]),
        validation=data.select(validation[filled[validation]]),
        test=data.select(test[filled[test]]),
        labels=("negative", "positive"),
        channels=("word",),
        units="token id",
        frame_period_s=60 / 238,
        frame_period_source="238 words a minute, the mean rate of silent reading of English "
        "(Brysbaert 2019, Journal of Memory and Language 109)",
        group_name="",
        source=CITATION,
        vocabulary=tokenizer.vocabulary,
        front_end=front_end,
        baselines=_baselines,
        remarks=(shared,),
    )


def _baselines(task: Task) -> dict[str, float]:
    return {
        "majority class": majority_accuracy(task),
        "logistic regression on the bag of words": bag_of_words_accuracy(task),
    }
