"""Japanese Vowels: which of nine speakers says /ae/, from 12 LPC cepstra a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.errors import MissingDataError
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task, split_by_label

CHANNELS = 12
SPEAKERS = 9
VALIDATION_SHARE = 0.2
# The utterances of a speaker lie in the order in which they were recorded; so many in a row are a
# group, which cross-validation keeps together.
GROUP_UTTERANCES = 6
# Which training sequences are held out for validation is part of the task, not of a run.
SPLIT_SEED = 20


def load() -> Task:
    """Read the data set from the sktime package: 270 training and 370 test sequences of 7 to 29
    frames.

    Raises:
        MissingDataError: sktime is not installed.
    """
    training = _sequences("train")
    kept, held_out = split_by_label(training.labels, VALIDATION_SHARE, SPLIT_SEED)
    return Task(
        name="japanese-vowels",
        train=training.select(kept),
        validation=training.select(held_out),
        test=_sequences("test"),
        labels=tuple(f"speaker {number}" for number in range(1, SPEAKERS + 1)),
        channels=tuple(f"LPC cepstrum {number}" for number in range(1, CHANNELS + 1)),
        units="cepstral coefficient",
        frame_period_s=6.4e-3,
        frame_period_source="frame shift of 6.4 ms at 10 kHz, as the UCI description states",
        group_name="",
        source="Kudo, Toyama and Shimbo (1999), UCI repository, CC BY 4.0; read from sktime",
        # The data set holds ready-made frames; front_ends.lpc_cepstrum computes such frames.
        front_end={"kind": "lpc-cepstrum"},
    )


def _sequences(split: str) -> SequenceSet:
    try:
        from sktime.datasets import load_japanese_vowels
    except ImportError as error:
        raise MissingDataError(
            f"the task japanese-vowels needs sktime ({error}); "
            "install it with 'pip install edgestep[workstation]'"
        ) from error
    frames, labels = load_japanese_vowels(split=split, return_type="pd-multiindex")
    sequences = [group.to_numpy(np.float32) for _, group in frames.groupby(level=0, sort=True)]
    classes = np.asarray(labels).astype(np.int64) - 1
    return SequenceSet(sequences, classes, _groups(classes))


def _groups(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number each utterance's place in its speaker's order, GROUP_UTTERANCES to a number."""
    groups = np.zeros(len(classes), np.int64)
    for speaker in range(SPEAKERS):
        own = np.flatnonzero(classes == speaker)
        groups[own] = np.arange(len(own)) // GROUP_UTTERANCES
    return groups
