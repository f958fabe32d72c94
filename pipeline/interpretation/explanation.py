"""Explain some sequences of a data set by a model: the maps, the gates, and how far they agree."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from calibration.rollout import long_streams
from convert.errors import UnsupportedLayerError
from device_runner.front_ends import tokenizer as read_tokenizer
from device_runner.model.step_file import StepModel
from device_runner.stream import Stream
from pipeline.errors import PipelineError
from pipeline.interpretation.gradient import gradient_times_input, why_no_gradient
from pipeline.interpretation.memory import (
    BEFORE,
    FOLLOWED,
    Gate,
    HalfLife,
    gates,
    half_lives,
    why_no_memory,
)
from pipeline.interpretation.occlusion import Decision, decision, occlusion
from pipeline.interpretation.patches import Patches
from pipeline.robustness.disturbances import Frames

SEED = 3


@dataclass(frozen=True)
class Explained:
    """One sequence and why the model decides so on it.

    Attributes:
        number: of the sequence in the data.
        frames: [steps, values], as the model takes them.
        decision: at the last step.
        label: of the decision, or "".
        patches: what the maps are cut into.
        occlusion, gradient: by patch; the gradient is None where the model has none.
        agreement: rank correlation of the two maps, in [-1, 1].
        gates: what they gave; empty where they are not watched.
        texts: of each patch of steps; empty where the input is no text.
    """

    number: int
    frames: NDArray[np.float64]
    decision: Decision
    label: str
    patches: Patches
    occlusion: NDArray[np.float64]
    gradient: NDArray[np.float64] | None = None
    agreement: float | None = None
    gates: list[Gate] = field(default_factory=list)
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """What was found of a model.

    Attributes:
        sequences: those that were explained.
        half_lives: of the states; empty where they are not measured.
        left_out: what is not here, and why, in lines.
        channels: names of a frame's values; empty where they have none.
    """

    file: str
    sequences: list[Explained]
    half_lives: list[HalfLife]
    left_out: list[str]
    channels: tuple[str, ...] = ()


def explain(model: StepModel, data: list[Frames], count: int, backend: str) -> Explanation:
    """Explain the first sequences of data that end in different decisions, then further ones.

    Raises:
        PipelineError: the model has several inputs.
    """
    contract = model.contract
    if len(contract.inputs) > 1:
        raise PipelineError(f"{model.path}: it has several inputs; one is explained only")
    left_out = []
    if no_gradient := why_no_gradient(model):
        left_out.append(f"no gradients: {no_gradient}")
    if no_memory := why_no_memory(model):
        left_out.append(f"no gates and half-lives: {no_memory}")
    stream = Stream(model, backend)
    name = contract.input.name
    nothing = _nothing(model, [one[name] for one in data])
    sequences = []
    for number in _different(model, stream, data, count):
        one = _explained(model, stream, data[number][name], nothing, number)
        if not no_gradient:
            try:
                one = _with_gradient(model, one, data[number][name], nothing)
            except UnsupportedLayerError as error:
                no_gradient = error.message
                left_out.append(f"no gradients: {no_gradient}")
        if not no_memory:
            one = replace(one, gates=gates(model, data[number]))
        sequences.append(one)
    lives = []
    if not no_memory:
        long = long_streams(data, BEFORE + 3 * FOLLOWED, SEED, streams=1)[0]
        lives = half_lives(model, long, backend)
    return Explanation(model.path.name, sequences, lives, left_out, tuple(contract.channels))


def _nothing(model: StepModel, sequences: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    """A frame that says nothing: the mean of the data, or id 0, which is padding by custom."""
    if model.contract.input.vocabulary is not None:
        return np.zeros_like(sequences[0][0])
    mean: NDArray[np.generic] = np.concatenate(sequences).mean(0).astype(np.float32)
    return mean


def _different(model: StepModel, stream: Stream, data: list[Frames], count: int) -> list[int]:
    """Numbers of sequences, those first whose decision is new."""
    name = model.contract.input.name
    seen: dict[int, int] = {}
    for number, one in enumerate(data):
        if len(one[name]):
            seen.setdefault(decision(model, stream, one[name]).index, number)
        if len(seen) >= count:
            break
    further = [number for number in range(len(data)) if number not in seen.values()]
    return [*seen.values(), *further][:count]


def _explained(
    model: StepModel,
    stream: Stream,
    sequence: NDArray[np.generic],
    nothing: NDArray[np.generic],
    number: int,
) -> Explained:
    frames = sequence.reshape(len(sequence), -1).astype(np.float64)
    decided = decision(model, stream, sequence)
    patches = Patches.of(*frames.shape)
    label = model.labels[decided.index] if decided.index < len(model.labels) else ""
    effects = occlusion(stream, sequence, nothing, decided, patches)
    texts = _texts(model, sequence, patches)
    return Explained(number, frames, decided, label, patches, effects, texts=texts)


def _texts(model: StepModel, ids: NDArray[np.generic], patches: Patches) -> tuple[str, ...]:
    """Read the text of each patch of steps."""
    front_end = model.contract.front_end or {}
    tokenizer = read_tokenizer(front_end)
    if tokenizer is None or model.contract.input.vocabulary != tokenizer.vocabulary:
        return ()
    between = " " if front_end.get("kind") == "words" else ""
    ends = zip(patches.steps, patches.steps[1:], strict=False)
    return tuple(tokenizer.decode(ids[begin:end].ravel()) + between for begin, end in ends)


def _with_gradient(
    model: StepModel,
    one: Explained,
    sequence: NDArray[np.generic],
    nothing: NDArray[np.generic],
) -> Explained:
    found = gradient_times_input(
        model, sequence.astype(np.float32), nothing.astype(np.float32), one.decision.index
    )
    summed = one.patches.sums(found.reshape(len(found), -1))
    agreement = float(spearmanr(summed.ravel(), one.occlusion.ravel()).statistic)
    return replace(one, gradient=summed, agreement=agreement)
