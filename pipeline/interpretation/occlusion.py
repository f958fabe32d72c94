"""Occlusion: how much an output changes when a patch of the input says nothing.

Source: M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks" (2014),
section 4.2, here over time and channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runner.model.step_file import StepModel
from device_runner.stream import Stream
from pipeline.interpretation.patches import Patches


@dataclass(frozen=True)
class Decision:
    """The output that is explained: the first output's largest value at the last step, or the first
    value where outputs are values.

    Attributes:
        index: which value of the output.
        value: the value.
    """

    index: int
    value: float


def decision(model: StepModel, stream: Stream, sequence: NDArray[np.generic]) -> Decision:
    """Step through a sequence and return what is decided at its end."""
    last = last_output(stream, sequence)
    index = 0 if model.contract.output_meaning == "values" else int(last.argmax())
    return Decision(index, float(last[index]))


def last_output(stream: Stream, sequence: NDArray[np.generic]) -> NDArray[np.float64]:
    """First output after the last step of a sequence; a window's last answer."""
    stream.reset()
    first = stream.model.contract.input.name
    given = next(iter(stream.run_by_name({first: sequence}).values()))
    rows = given.reshape(len(given), -1).astype(np.float64)
    told = rows[~np.isnan(rows).any(1)]
    return told[-1] if len(told) else np.zeros(rows.shape[1])


def occlusion(
    stream: Stream,
    sequence: NDArray[np.generic],
    nothing: NDArray[np.generic],
    explained: Decision,
    patches: Patches,
) -> NDArray[np.float64]:
    """Measure each patch's effect on a decision.

    Args:
        stream: a stream of the model.
        sequence: [steps, ...] in real units, or token ids.
        nothing: one frame that says nothing: the mean of the data, or the id for padding.
        explained: the decision.
        patches: of the sequence, its frames flattened.

    Returns:
        By patch, how much the decided output falls without it; below 0 where the patch speaks
        against the decision.
    """
    flat = sequence.reshape(len(sequence), -1)
    empty = nothing.reshape(-1)
    effects = np.zeros(patches.shape)
    for row, (begin, end) in enumerate(zip(patches.steps, patches.steps[1:], strict=False)):
        for column, (low, high) in enumerate(zip(patches.values, patches.values[1:], strict=False)):
            covered = flat.copy()
            covered[begin:end, low:high] = empty[low:high]
            given = last_output(stream, covered.reshape(sequence.shape))
            effects[row, column] = explained.value - given[explained.index]
    return effects
