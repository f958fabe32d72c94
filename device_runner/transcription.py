"""Read a transcript out of a model's outputs, frame by frame, as they come.

A model of transcripts (connectionist temporal classification: A. Graves et al., "Connectionist
temporal classification", 2006) gives after each frame the logits of its labels, of which the first
is the blank: nothing new. A label that goes on for several frames is one label, unless a blank
stands between.

Two decoders do the same: :class:`GreedyDecoder` takes the likeliest label of each frame, and costs
nothing; :class:`PrefixBeamDecoder` sums over all ways to say the same, and costs some microseconds
to a hundred a frame.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from device_runner.errors import BadInputError
from device_runner.model.step_file import StepModel

#: ``Contract.output_meaning`` of such models.
TRANSCRIPT = "transcript"
BLANK = 0
BEAM_WIDTH = 8
# Labels that are less likely than this at a frame begin nothing new there.
LEAST_PROBABILITY = 1e-3


class Decoder(Protocol):
    """What both decoders do."""

    def step(self, logits: ArrayLike) -> list[int]:
        """Take the logits [labels] of one frame, and return the transcript so far."""

    def reset(self) -> None:
        """Begin a new transcript."""


class GreedyDecoder:
    """Takes the likeliest label of each frame.

    Example:
        >>> decoder = GreedyDecoder()
        >>> for logits in ([0, 5, 1], [0, 5, 1], [5, 0, 0], [0, 5, 1]):
        ...     found = decoder.step(logits)
        >>> found
        [1, 1]
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a new transcript."""
        self._found: list[int] = []
        self._last = BLANK

    def step(self, logits: ArrayLike) -> list[int]:
        """Take the logits [labels] of one frame, and return the transcript so far."""
        label = int(np.argmax(logits))
        if label not in (self._last, BLANK):
            self._found.append(label)
        self._last = label
        return list(self._found)


class PrefixBeamDecoder:
    """Keeps the likeliest transcripts and the probability of all ways to come to each.

    Source: A. Hannun et al., "First-pass large vocabulary continuous speech recognition using
    bi-directional recurrent DNNs" (2014), algorithm 1, without a language model.

    Args:
        width: transcripts that are kept after each frame.
    """

    def __init__(self, width: int = BEAM_WIDTH) -> None:
        self._width = width
        self.reset()

    def reset(self) -> None:
        """Begin a new transcript."""
        # By transcript: logarithms of the probability that it ends in a blank, and that it does
        # not.
        self._beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}

    def step(self, logits: ArrayLike) -> list[int]:
        """Take the logits [labels] of one frame, and return the likeliest transcript so far."""
        probabilities = _log_softmax(logits)
        likely = [
            int(label)
            for label in np.flatnonzero(probabilities > math.log(LEAST_PROBABILITY))
            if label != BLANK
        ]
        blank = float(probabilities[BLANK])
        ends: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [-math.inf, -math.inf])
        for prefix, (with_blank, without) in self._beam.items():
            kept = ends[prefix]
            kept[0] = _sum(kept[0], _sum(with_blank, without) + blank)
            if prefix:
                kept[1] = _sum(kept[1], without + float(probabilities[prefix[-1]]))
            for label in likely:
                # The same label again needs a blank before it.
                before = with_blank if prefix and prefix[-1] == label else _sum(with_blank, without)
                longer = ends[(*prefix, label)]
                longer[1] = _sum(longer[1], before + float(probabilities[label]))
        best = sorted(ends.items(), key=lambda item: -_sum(*item[1]))[: self._width]
        # Only differences count, and sums of many frames would fall below any float.
        largest = _sum(*best[0][1])
        self._beam = {prefix: (a - largest, b - largest) for prefix, (a, b) in best}
        return list(best[0][0])


def _sum(a: float, b: float) -> float:
    """Logarithm of the sum of two probabilities, of their logarithms."""
    low, high = (a, b) if a < b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _log_softmax(logits: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(logits, np.float64).ravel()
    shifted = values - values.max()
    probabilities: NDArray[np.float64] = shifted - math.log(np.exp(shifted).sum())
    return probabilities


def words_of(model: StepModel, found: list[int]) -> str:
    """Write a transcript with the model's labels."""
    return " ".join(model.labels[label] for label in found)


def check_transcribes(model: StepModel) -> None:
    """Find out whether a model gives transcripts.

    Raises:
        BadInputError: it does not.
    """
    if model.contract.output_meaning != TRANSCRIPT:
        raise BadInputError(
            f"{model.path} gives {model.contract.output_meaning}, not a transcript; read its "
            "outputs as they are"
        )
