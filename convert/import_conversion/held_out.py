"""Keep a part of the data from calibration, and measure a scheme's error on it.

Ranges fit the data that they come from, so the error there says too little. The scheme is chosen on
the calibration data too; the error that is printed comes from data that neither has seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.data import Sequences
from convert.evaluation import float_stream_of
from convert.schemes.scheme import FloatStep
from device_runner.model.names import OUTPUT_NAME
from device_runner.stream import Stream

# One of this many sequences is kept from calibration; of a single one, this share of its end.
EVERY, SHARE = 5, 0.2
# A single sequence is not cut below so many steps.
LEAST_STEPS = 20
# How many steps to compare at most: a few seconds.
STEPS = 5_000
LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class HeldOut:
    """Data that is kept from calibration.

    Attributes:
        sequences: the data; empty if there was too little to keep any.
        how: which part of the data it is, in words.
    """

    sequences: Sequences
    how: str = ""


def split(sequences: Sequences) -> tuple[Sequences, HeldOut]:
    """Split data into what calibrates and what is kept from it.

    Whole sequences are kept, as steps of one sequence are alike; of a single sequence, its end.
    """
    if len(sequences) > 1:
        kept = set(range(min(EVERY, len(sequences)) - 1, len(sequences), EVERY))
        rest = [one for place, one in enumerate(sequences) if place not in kept]
        held = [sequences[place] for place in sorted(kept)]
        return rest, HeldOut(held, f"{len(held)} of {len(sequences)} sequences")
    (only,) = sequences
    steps = max(map(len, only.values()))
    if steps < LEAST_STEPS:
        return sequences, HeldOut([])
    cut = steps - round(SHARE * steps)
    rest = [{name: values[:cut] for name, values in only.items()}]
    held = [{name: values[cut:] for name, values in only.items()}]
    return rest, HeldOut(held, f"the last {steps - cut:,} of {steps:,} steps")


@dataclass(frozen=True)
class StepError:
    """How far a step model's outputs are from the float step's.

    Attributes:
        steps: steps that were compared.
        rms, maximum: the errors, as shares of the spread of the float step's output, for the output
            with the largest.
        decisions: share of the steps whose decision changed; None if the first output is none.
    """

    steps: int
    rms: float
    maximum: float
    decisions: float | None

    @property
    def sentence(self) -> str:
        """Return the errors in words."""
        decisions = "" if self.decisions is None else f", decisions changed {self.decisions:.2%}"
        return f"rms {self.rms:.2%} and at most {self.maximum:.2%} of the spread{decisions}"

    def facts(self, held: HeldOut) -> dict[str, Any]:
        """Return the facts for a step model's metrics."""
        found = {"steps": self.steps, "of": held.how, "rms": round(self.rms, 6)}
        found["max_abs"] = round(self.maximum, 6)
        return found | ({} if self.decisions is None else {"decisions": round(self.decisions, 5)})


def held_out_sentence(metrics: Mapping[str, Any], scheme: str) -> str:
    """Say in one line what a step model's metrics hold of data kept from calibration."""
    found = metrics.get("held_out")
    if not found:
        return (
            "too little data to keep some of it from calibration: how far "
            f"{scheme} is from float32 on new data is not known"
        )
    error = StepError(found["steps"], found["rms"], found["max_abs"], found.get("decisions"))
    return (
        f"{scheme} against the float32 step, on data kept from calibration ({found['of']}): "
        f"{error.sentence}"
    )


def step_error(
    stream: Stream, step: FloatStep, sequences: Sequence[Mapping[str, Any]], decides: bool
) -> StepError:
    """Compare a step model with its float step over sequences, each from a reset.

    Args:
        stream: a stream of the step model.
        step: the float step.
        sequences: what :meth:`Stream.run` takes; they are cut off after STEPS steps.
        decides: whether the first output is a decision.
    """
    reference = float_stream_of(step, stream.model)
    given: dict[str, list[NDArray[Any]]] = {}
    wanted: dict[str, list[NDArray[Any]]] = {}
    left = STEPS
    for sequence in sequences:
        cut = {name: values[:left] for name, values in sequence.items()}
        if not left or not all(map(len, cut.values())):
            break
        left -= max(map(len, cut.values()))
        for outputs, one in ((given, stream), (wanted, reference)):
            one.reset()
            for name, values in one.run_by_name(cut).items():
                outputs.setdefault(name, []).append(values.reshape(len(values), -1))
    stream.reset()
    pairs = {name: _answered(given[name], wanted[name]) for name in wanted}
    shares = [_shares(*pair) for pair in pairs.values()]
    rms, maximum = max(shares, default=(0.0, 0.0))
    first = pairs.get(OUTPUT_NAME) or next(iter(pairs.values()))
    decisions = None
    if decides:
        decisions = float(np.mean(_decisions(first[0]) != _decisions(first[1])))
    return StepError(len(first[0]), rms, maximum, decisions)


def _answered(
    given: list[NDArray[Any]], wanted: list[NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Join what sequences gave, without the steps that have no answer."""
    own, other = np.concatenate(given), np.concatenate(wanted)
    rows = ~np.isnan(other).all(1)
    return own[rows], other[rows]


def _shares(given: NDArray[Any], wanted: NDArray[Any]) -> tuple[float, float]:
    """Return the rms and the largest difference, as shares of the spread of ``wanted``."""
    if not wanted.size:
        return 0.0, 0.0
    spread = max(float(np.ptp(wanted)), LEAST_SPREAD)
    difference = np.abs(given.astype(np.float64) - wanted)
    return float(np.sqrt(np.mean(difference**2))) / spread, float(difference.max()) / spread


def _decisions(outputs: NDArray[Any]) -> NDArray[Any]:
    """Return the index of the largest value, or whether a single probability is above a half."""
    return outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else np.argmax(outputs, -1)
