"""What a task on token ids is worth without a network: classifiers on counts of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task


def majority_accuracy(task: Task) -> float:
    """Compute the test accuracy of always answering the most frequent class of the training
    data."""
    answer = np.bincount(task.train.labels).argmax()
    return float(np.mean(task.test.labels == answer))


def bag_of_words_accuracy(task: Task) -> float:
    """Compute the test accuracy of logistic regression on the counts of each token, regularized as
    is best on the validation data."""
    from sklearn.linear_model import LogisticRegression

    return _best_accuracy(
        task,
        1,
        [LogisticRegression(C=strength, max_iter=1000) for strength in (0.03, 0.1, 0.3, 1, 3)],
    )


def ngram_naive_bayes_accuracy(task: Task, longest: int = 3) -> float:
    """Compute the test accuracy of multinomial naive Bayes on the counts of runs of 1 to
    ``longest`` tokens, smoothed as is best on the validation data."""
    from sklearn.naive_bayes import MultinomialNB

    return _best_accuracy(
        task, longest, [MultinomialNB(alpha=alpha) for alpha in (0.01, 0.1, 0.3, 1)]
    )


def _best_accuracy(task: Task, longest: int, classifiers: list[Any]) -> float:
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(
        analyzer=lambda sequence: _runs(sequence[:, 0].tolist(), longest), dtype=np.float64
    )
    training = counter.fit_transform(task.train.sequences)

    def accuracy(classifier: object, data: SequenceSet) -> float:
        counts = counter.transform(data.sequences)
        return float(np.mean(classifier.predict(counts) == data.labels))  # type: ignore[attr-defined]

    for classifier in classifiers:
        classifier.fit(training, task.train.labels)
    best = max(classifiers, key=lambda classifier: accuracy(classifier, task.validation))
    return accuracy(best, task.test)


def _runs(tokens: list[int], longest: int) -> list[tuple[int, ...]]:
    return [
        tuple(tokens[start : start + size])
        for size in range(1, longest + 1)
        for start in range(len(tokens) - size + 1)
    ]
