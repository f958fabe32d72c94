"""What a model scored on each test sequence: kept, so that two models can be compared pair by
pair."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metrics import (
    Metric,
    accuracy,
    best_path,
    bits_per_step,
    decisions,
    edits,
    explained_variance,
    mean_absolute_error,
    step_accuracy,
    word_error_rate,
)
from models.tasks.sequence_set import SequenceSet

Outputs = NDArray[Any]

# More classes than this are no picture.
MOST_CLASSES = 40


@dataclass(frozen=True)
class ItemScores:
    """A metric's value as a ratio of sums over the sequences: sum(gained) / sum(wanted).

    Attributes:
        gained: float64 [sequences]; of an accuracy, how many decisions were right.
        wanted: float64 [sequences]; of an accuracy, how many decisions there were.
        confusion: of an accuracy, how often each class was decided where each was wanted, int64
            [wanted, decided]; None of other metrics and of many classes.
    """

    gained: NDArray[np.float64]
    wanted: NDArray[np.float64]
    confusion: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.gained)

    @property
    def score(self) -> float:
        """The metric's value over all sequences."""
        return float(self.gained.sum() / self.wanted.sum())

    def to_json(self) -> dict[str, Any]:
        """Write it for JSON: one bit a sequence if each is right or wrong, else float32."""
        confusion = {} if self.confusion is None else {"confusion": self.confusion.tolist()}
        if np.isin(self.gained, (0, 1)).all() and (self.wanted == 1).all():
            packed = np.packbits(self.gained.astype(bool))
            return {"sequences": len(self), "right": _encoded(packed), **confusion}
        return {
            "sequences": len(self),
            **confusion,
            "gained": _encoded(self.gained.astype("<f4")),
            "wanted": _encoded(self.wanted.astype("<f4")),
        }

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> ItemScores:
        """Read what :meth:`to_json` wrote.

        Raises:
            KeyError, ValueError, TypeError: it is damaged.

        Example:
            >>> scores = ItemScores(np.array([1.0, 0.0, 1.0]), np.ones(3))
            >>> scores.to_json()
            {'sequences': 3, 'right': 'oA=='}
            >>> ItemScores.read(scores.to_json()).gained.tolist()
            [1.0, 0.0, 1.0]
        """
        count = int(raw["sequences"])
        if "right" in raw:
            packed = np.frombuffer(_decoded(raw["right"]), np.uint8)
            # NumPy fills missing bytes with zeros.
            if len(packed) != -(-count // 8):
                raise ValueError(f"the scores of {count} sequences are not all there")
            bits = np.unpackbits(packed, count=count)
            gained, wanted = bits.astype(np.float64), np.ones(count)
        else:
            gained, wanted = (
                np.frombuffer(_decoded(raw[name]), "<f4").astype(np.float64)
                for name in ("gained", "wanted")
            )
        if not len(gained) == len(wanted) == count:
            raise ValueError(f"the scores of {count} sequences are not all there")
        counts = None
        if "confusion" in raw:
            counts = np.array(raw["confusion"], np.int64)
            if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
                raise ValueError(f"decisions of classes have shape {counts.shape}")
        return cls(gained, wanted, counts)


def item_scores(metric: Metric, outputs: Outputs, data: SequenceSet) -> ItemScores | None:
    """Score each sequence on its own.

    Args:
        metric: what is judged by.
        outputs: [sequences, longest, outputs], as for ``Metric.compute``.

    Returns:
        Scores whose ratio is the metric's value; None for a metric that is no ratio of sums.
    """
    parts = metric.parts or _PARTS.get(metric.compute)
    if parts is None:
        return None
    gained, wanted = parts(outputs, data)
    counts = _confusion(metric, outputs, data)
    return ItemScores(np.asarray(gained, np.float64), np.asarray(wanted, np.float64), counts)


def _confusion(metric: Metric, outputs: Outputs, data: SequenceSet) -> NDArray[np.int64] | None:
    """Count decisions by the class that was wanted, int64 [wanted, decided]."""
    classes = outputs.shape[-1]
    if classes > MOST_CLASSES:
        return None
    if metric.compute is accuracy:
        wanted, decided = data.labels, decisions(outputs, data.lengths)
    elif metric.compute is step_accuracy:
        rows = [labels >= 0 for labels in data.step_labels or []]
        pairs = list(zip(outputs, data.step_labels or [], rows, strict=True))
        wanted = np.concatenate([labels[row] for _, labels, row in pairs])
        decided = np.concatenate([logits[: len(row)][row].argmax(-1) for logits, _, row in pairs])
    else:
        return None
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (wanted, decided), 1)
    return counts


_Parts = tuple[Any, Any]


def _decided(outputs: Outputs, data: SequenceSet) -> _Parts:
    right = decisions(outputs, data.lengths) == data.labels
    return right, np.ones(len(right))


def _step_sums(score: Callable[[Outputs, Outputs], Outputs]) -> Callable[..., _Parts]:
    """Make a function that sums ``score(logits, labels)`` over a sequence's wanted steps."""

    def parts(outputs: Outputs, data: SequenceSet) -> _Parts:
        gained, wanted = [], []
        for logits, labels in zip(outputs, data.step_labels or [], strict=True):
            where = np.flatnonzero(labels >= 0)
            gained.append(score(logits[where], labels[where]).sum() if len(where) else 0.0)
            wanted.append(len(where))
        return gained, wanted

    return parts


def _right_steps(logits: Outputs, labels: Outputs) -> Outputs:
    return np.asarray(logits.argmax(-1) == labels, np.float64)


def _bits(logits: Outputs, labels: Outputs) -> Outputs:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(-1, keepdims=True)
    surprise = np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(len(labels)), labels]
    return np.asarray(surprise / np.log(2))


def _errors(outputs: Outputs, data: SequenceSet) -> _Parts:
    pairs = zip(outputs, data.values or [], strict=True)
    sums = [(np.abs(given[: len(values)] - values).sum(), values.size) for given, values in pairs]
    return [error for error, _ in sums], [count for _, count in sums]


def _explained(outputs: Outputs, data: SequenceSet) -> _Parts:
    mean = np.concatenate(data.values or []).mean(0)
    gained, wanted = [], []
    for given, values in zip(outputs, data.values or [], strict=True):
        spread = ((values - mean) ** 2).sum()
        gained.append(spread - ((given[: len(values)] - values) ** 2).sum())
        wanted.append(spread)
    return gained, wanted


def _words(outputs: Outputs, data: SequenceSet) -> _Parts:
    heard = zip(outputs, data.lengths, data.transcripts or [], strict=True)
    sums = [
        (edits(best_path(logits[:length]), said.tolist()), len(said))
        for logits, length, said in heard
    ]
    return [changes for changes, _ in sums], [words for _, words in sums]


_PARTS: dict[Callable[..., float], Callable[[Outputs, SequenceSet], _Parts]] = {
    accuracy: _decided,
    step_accuracy: _step_sums(_right_steps),
    bits_per_step: _step_sums(_bits),
    explained_variance: _explained,
    mean_absolute_error: _errors,
    word_error_rate: _words,
}


def _encoded(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
