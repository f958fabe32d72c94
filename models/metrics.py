"""What a network is judged by on a task's data: metrics with their unit and direction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tasks.sequence_set import SequenceSet, TargetKind

PERCENT = "%"


@dataclass(frozen=True)
class MetricDescription:
    """How to read a metric's values.

    Attributes:
        name: "accuracy", "mean absolute error".
        unit: "%", "mg/dL" or "" for a bare number. Where it is "%" the values are shares (0.97),
            and only their text is in percent.
        higher_is_better: the direction.
        meaning: at which steps and of what it is taken, for people.
    """

    name: str
    unit: str
    higher_is_better: bool
    meaning: str = ""

    @property
    def key(self) -> str:
        """What its value is called in a contract: "mean_absolute_error"."""
        return self.name.replace(" ", "_")

    @property
    def is_share(self) -> bool:
        return self.unit == PERCENT

    def shown(self, value: float) -> float:
        """Give the value in its unit: a share in percent, another one as it is."""
        return 100 * value if self.is_share else value

    def text(self, value: float) -> str:
        """Write the value with its unit: "97.3%", "17.82 mg/dL"."""
        if self.is_share:
            return f"{value:.1%}"
        return f"{value:.4g} {self.unit}".rstrip()

    def rounded(self, value: float) -> float:
        """Round the value to four decimals or four digits, whichever is more.

        A share has six decimals: printed in percent with one, it would be rounded twice, and 355
        of 370 be 96.0 %, not 95.9.
        """
        if not math.isfinite(value) or value == 0:
            return float(value)
        if self.is_share:
            return round(float(value), 6)
        return round(float(value), max(4, 3 - math.floor(math.log10(abs(value)))))

    def lost(self, value: float, reference: float) -> float:
        """Tell by how much ``value`` is worse than ``reference``, in the metric's own numbers;
        below 0 where it is better."""
        return reference - value if self.higher_is_better else value - reference

    def facts(self) -> dict[str, Any]:
        """Write it as JSON; ``MetricDescription(**facts)`` reads it back."""
        names = ("name", "unit", "higher_is_better", "meaning")
        return {name: value for name, value in asdict(self).items() if name in names}


@dataclass(frozen=True)
class Metric(MetricDescription):
    """A metric and how it is computed.

    Attributes:
        compute: (outputs [sequences, longest, outputs], data) -> its value. The outputs are
            logits or values after every step; after a sequence's end they mean nothing.
        parts: the same -> two sums for each sequence, whose totals' ratio is the value. None for a
            metric of this module, whose sums are known, or one that is no ratio of sums.
    """

    compute: Callable[[NDArray[Any], SequenceSet], float] = lambda outputs, data: math.nan
    parts: Callable[[NDArray[Any], SequenceSet], tuple[Any, Any]] | None = None


def decisions(outputs: NDArray[Any], lengths: NDArray[Any]) -> NDArray[Any]:
    """Find the class decided on after the last step of each sequence: outputs [sequences, steps,
    classes] and lengths [sequences] -> class indices [sequences]."""
    return np.asarray(outputs[np.arange(len(lengths)), lengths - 1].argmax(-1))


def accuracy(outputs: NDArray[Any], data: SequenceSet) -> float:
    """Compute the share of sequences whose label has the highest output after the last step."""
    return float(np.mean(decisions(outputs, data.lengths) == data.labels))


def step_accuracy(outputs: NDArray[Any], data: SequenceSet) -> float:
    """Compute the share of the steps where a label is wanted at which that label has the highest
    output."""
    logits, wanted = _wanted_steps(outputs, data)
    return float(np.mean(logits.argmax(-1) == wanted))


def bits_per_step(outputs: NDArray[Any], data: SequenceSet) -> float:
    """Compute the mean cross entropy of the steps where a label is wanted, in bits."""
    logits, wanted = _wanted_steps(outputs, data)
    logits = logits.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    surprise = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(wanted)), wanted]
    return float(surprise.mean() / math.log(2))


def explained_variance(outputs: NDArray[Any], data: SequenceSet) -> float:
    """Compute 1 - mean squared error / variance, over all steps and values together."""
    given, wanted = step_values(outputs, data)
    return float(1 - np.mean((given - wanted) ** 2) / np.mean((wanted - wanted.mean(0)) ** 2))


def mean_absolute_error(outputs: NDArray[Any], data: SequenceSet) -> float:
    """Over all steps and values together, in the values' own unit."""
    given, wanted = step_values(outputs, data)
    return float(np.mean(np.abs(given - wanted)))


def word_error_rate(outputs: NDArray[Any], data: SequenceSet) -> float:
    """Compute how many words must be changed, left out or added to come from what was heard to what
    was said, as a share of the words that were said. What was heard is the likeliest class of each
    step, once where it goes on, without the blank (class 0)."""
    changes = words = 0
    for logits, length, said in zip(outputs, data.lengths, data.transcripts or [], strict=True):
        changes += edits(best_path(logits[:length]), said.tolist())
        words += len(said)
    return changes / words


def best_path(logits: NDArray[Any]) -> list[int]:
    """Read a transcript from logits [steps, classes]: the likeliest class of each step, once where
    it goes on, without the blank (class 0)."""
    likeliest = logits.argmax(-1)
    begins = np.concatenate([[True], likeliest[1:] != likeliest[:-1]])
    return [int(label) for label in likeliest[begins] if label]


def edits(heard: list[int], said: list[int]) -> int:
    """Count the least changes, omissions and additions from one list to the other (V. Levenshtein,
    1966)."""
    row = list(range(len(said) + 1))
    for number, one in enumerate(heard, 1):
        above, row[0] = row[0], number
        for place, other in enumerate(said, 1):
            above, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, above + (one != other)),
            )
    return row[-1]


def step_values(outputs: NDArray[Any], data: SequenceSet) -> tuple[NDArray[Any], NDArray[Any]]:
    """Collect given and wanted values of all steps of all sequences, [steps, outputs] each."""
    pairs = zip(outputs, data.lengths, strict=True)
    given = np.concatenate([one[:length] for one, length in pairs])
    return given, np.concatenate(data.values or [])


def _wanted_steps(outputs: NDArray[Any], data: SequenceSet) -> tuple[NDArray[Any], NDArray[Any]]:
    """Outputs [n, classes] and class indices [n] of the steps where a label is wanted."""
    wanted = data.targets
    where = wanted >= 0
    return outputs[:, : wanted.shape[1]][where], wanted[where]


ACCURACY = Metric("accuracy", PERCENT, True, "after the last step of each sequence", accuracy)
STEP_ACCURACY = Metric(
    "accuracy", PERCENT, True, "at every step where a label is wanted", step_accuracy
)
EXPLAINED_VARIANCE = Metric(
    "explained variance", PERCENT, True, "of the values at every step", explained_variance
)

WORD_ERROR_RATE = Metric(
    "word error rate", PERCENT, False, "of the transcript at the end", word_error_rate
)


def usual_metric(data: SequenceSet) -> Metric:
    """Choose what data of this kind is judged by where a task says nothing else: the accuracy after
    the last step, that of the steps where a label is wanted, the explained variance of values, or
    the word error rate."""
    return {
        TargetKind.LABEL: ACCURACY,
        TargetKind.STEP_LABELS: STEP_ACCURACY,
        TargetKind.VALUES: EXPLAINED_VARIANCE,
        TargetKind.TRANSCRIPT: WORD_ERROR_RATE,
    }[data.kind]


def described(facts: dict[str, Any]) -> MetricDescription:
    """Read the metric that the ``metrics`` of a contract are about; contracts that do not say are
    of the accuracy or the explained variance."""
    if facts.get("metric"):
        return MetricDescription(**facts["metric"])
    known = EXPLAINED_VARIANCE if "explained_variance" in facts else ACCURACY
    return MetricDescription(**known.facts())
