"""Step models through disturbed data and judge what comes out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runner.model.step_file import StepModel
from device_runner.stream import Stream
from models.metrics import Metric
from models.tasks.sequence_set import SequenceSet
from pipeline.robustness.bit_flips import flip_states, with_flipped_weights
from pipeline.robustness.disturbances import (
    DISTURBANCES,
    Acts,
    Delivery,
    Disturbance,
    Frames,
    deliver,
)

# What no disturbance is called in results.
UNDISTURBED = "none"


@dataclass(frozen=True)
class Labelled:
    """Data with what is wanted of it.

    Attributes:
        frames: each sequence by the model's inputs.
        wanted: labels or values; its sequences have as many steps as ``frames``.
        metric: what answers are judged by.
        source: where they come from, for people.
    """

    frames: list[Frames]
    wanted: SequenceSet
    metric: Metric
    source: str

    def deviations(self) -> dict[str, NDArray[np.float64]]:
        """Standard deviation of each value of each float input, by name, flattened [channels]."""
        return {
            name: np.concatenate([one[name].reshape(len(one[name]), -1) for one in self.frames])
            .astype(np.float64)
            .std(0)
            for name, values in self.frames[0].items()
            if np.issubdtype(values.dtype, np.floating)
        }


@dataclass(frozen=True)
class Trial:
    """One disturbance of one severity with one seed.

    Attributes:
        disturbance: a name in DISTURBANCES, or UNDISTURBED.
        severity: as the disturbance says; 0 for UNDISTURBED.
        seed: of the random numbers. The same one gives every model the same disturbed data.
    """

    disturbance: str
    severity: float
    seed: int


def trials(data: Labelled, seeds: int) -> Iterator[Trial]:
    """List the trials that fit the data: token ids have no noise."""
    yield Trial(UNDISTURBED, 0.0, 0)
    for name, disturbance in DISTURBANCES.items():
        if disturbance.acts is Acts.VALUES and not data.deviations():
            continue
        for severity in disturbance.severities:
            for seed in range(1 if _is_fixed(disturbance) else seeds):
                yield Trial(name, severity, seed)


def _is_fixed(disturbance: Disturbance) -> bool:
    """Whether it has no random numbers: a sensor's rate."""
    return disturbance.meaning == "of the rate"


def score(model: StepModel, data: Labelled, trial: Trial, backend: str) -> float:
    """Compute the metric of a model on disturbed data.

    An answer that is not finite says nothing: it counts as zeros.
    """
    random = np.random.default_rng([zlib.crc32(trial.disturbance.encode()), trial.seed])
    disturbance = DISTURBANCES.get(trial.disturbance)
    if disturbance and disturbance.acts is Acts.WEIGHTS:
        model = with_flipped_weights(model, trial.severity, random)
    flips = trial.severity if disturbance and disturbance.acts is Acts.STATE else 0.0
    stream = Stream(model, backend)
    deviations = data.deviations()
    rows = []
    for sequence in data.frames:
        frames, delivery = _arriving(sequence, disturbance, trial.severity, deviations, random)
        stream.reset()
        given = _answers(stream, frames, flips, random)
        told = delivery.newest >= 0
        # A flipped bit can give 1e38; sums of such values must stay finite.
        row = np.zeros((int(data.wanted.lengths.max()), given.shape[-1]), np.float64)
        row[: len(told)][told] = given[delivery.newest[told]]
        rows.append(row)
    return data.metric.compute(np.stack(rows), data.wanted)


def _arriving(
    sequence: Frames,
    disturbance: Disturbance | None,
    severity: float,
    deviations: dict[str, NDArray[np.float64]],
    random: np.random.Generator,
) -> tuple[Frames, Delivery]:
    """What of a sequence reaches the model, and when."""
    count = len(next(iter(sequence.values())))
    if disturbance and disturbance.time:
        delivery = disturbance.time(count, severity, random)
        return deliver(sequence, delivery), delivery
    arriving = dict(sequence)
    if disturbance and disturbance.values:
        for name, deviation in deviations.items():
            values = sequence[name]
            flat = values.reshape(count, -1).astype(np.float64)
            flat = disturbance.values(flat, severity, deviation, random)
            arriving[name] = flat.reshape(values.shape).astype(values.dtype)
    return arriving, Delivery(np.arange(count, dtype=np.float64), np.arange(count))


def _answers(
    stream: Stream, sequence: Frames, flips: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """First output after every step [steps, outputs], the last answer where a window gives none;
    zeros where it is not finite."""
    given = _run(stream, sequence, flips, random)
    if stream.model.contract.window is not None:
        answered = ~np.isnan(given).all(-1)
        newest = np.maximum.accumulate(np.where(answered, np.arange(len(given)), 0))
        given = given[newest]
    return np.where(np.isfinite(given), given, 0)


def _run(
    stream: Stream, sequence: Frames, flips: float, random: np.random.Generator
) -> NDArray[np.float32]:
    given: NDArray[np.float32]
    if not flips:
        given = next(iter(stream.run_by_name(sequence).values()))
        return given
    rows = []
    for step in range(len(next(iter(sequence.values())))):
        one = {name: values[step : step + 1] for name, values in sequence.items()}
        rows.append(next(iter(stream.run_by_name(one).values())))
        backend = stream.backend
        backend.write_state({**backend.read_state(), **_flipped(stream, flips, random)})
    return np.concatenate(rows)


def _flipped(stream: Stream, flips: float, random: np.random.Generator) -> dict[str, bytes]:
    """The model's own states with flipped bits; what the runner itself counts is left alone."""
    names = [state.name for state in stream.model.contract.states]
    states = stream.state_bytes()
    return flip_states({name: states[name] for name in names}, flips, random)
