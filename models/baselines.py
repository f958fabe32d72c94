"""What a task is worth without a recurrent network."""

from __future__ import annotations

import numpy as np
import tf_keras as keras

from models.tasks.task import SequenceSet, Task

EPOCHS = 300


def majority_accuracy(task: Task) -> float:
    """Test accuracy of always answering the most frequent class of the training data."""
    answer = np.bincount(task.train.labels).argmax()
    return float(np.mean(task.test.labels == answer))


def linear_decisions(task: Task, seed: int = 1) -> np.ndarray:
    """Test decisions of a linear classifier on each channel's mean and standard deviation over
    the sequence (logistic regression, stopped on validation loss), int64 [sequences]."""
    keras.utils.set_random_seed(seed)
    training = _features(task.train)
    mean, deviation = training.mean(0), training.std(0) + 1e-9

    def normalized(data: SequenceSet) -> np.ndarray:
        return (_features(data) - mean) / deviation

    classifier = keras.Sequential([keras.layers.Dense(len(task.labels))])
    classifier.compile(
        keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    classifier.fit(
        normalized(task.train),
        task.train.labels,
        validation_data=(normalized(task.validation), task.validation.labels),
        epochs=EPOCHS,
        batch_size=256,
        verbose=0,
        callbacks=[keras.callbacks.EarlyStopping(patience=20, restore_best_weights=True)],
    )
    return classifier.predict(normalized(task.test), verbose=0).argmax(-1)


def _features(data: SequenceSet) -> np.ndarray:
    return np.stack([np.concatenate([s.mean(0), s.std(0)]) for s in data.sequences])
