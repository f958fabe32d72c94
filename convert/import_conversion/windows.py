"""Measure how far a step that carries its state on is from a model trained on fixed windows.

Such a model begins every window with zero states; a step remembers what came before the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.data import Sequences
from convert.import_conversion.original import ByName, window_answers
from convert.import_conversion.proof import LEAST_RANGE, outputs_of
from convert.importers.imported import ImportedModel
from convert.step.step_graph import Kind
from convert.step.step_module import StepModule
from device_runner.stream import Stream

# How many windows to compare, how many steps they may have together, and how many steps to take
# with the state carried on: what takes a few seconds.
WINDOWS, WINDOW_STEPS, STREAM_STEPS = 256, 200_000, 50_000
# How many long sequences to step, each with several windows in it.
STREAMS = 32


@dataclass(frozen=True)
class WindowDifference:
    """How the step's outputs, with the state carried on, differ from the original's.

    Attributes:
        steps: length of the windows that the model was trained on.
        compared: windows that were compared; 0 if the data holds none with a past.
        rms, maximum: the differences, as shares of the spread of the original's outputs, for the
            output with the largest.
        decisions: share of the windows whose decision (the largest value of the first output)
            differs; None if the first output is not a decision.
        data: what the data was, in words.
    """

    steps: int
    compared: int
    rms: float
    maximum: float
    decisions: float | None
    data: str

    @property
    def phrase(self) -> str:
        """Say the difference in a few words."""
        if not self.compared:
            return (
                f"how far that differs is not known, as {self.data} holds no {self.steps} steps in "
                "a row with a past"
            )
        decisions = "" if self.decisions is None else f" (decisions: {100 * self.decisions:.2g}%)"
        return f"differs by {100 * self.rms:.2g}% of the spread{decisions} on {self.data}"

    def facts(self) -> dict[str, Any]:
        """Return the facts for a step model's metrics."""
        found: dict[str, Any] = {"steps": self.steps, "compared": self.compared}
        if self.compared:
            found |= {"rms": round(self.rms, 6), "max": round(self.maximum, 6)}
            found |= {} if self.decisions is None else {"decisions": round(self.decisions, 4)}
        return found


def window_difference(
    imported: ImportedModel,
    module: StepModule,
    stream: Stream,
    sequences: Sequences,
    data: str,
    decides: bool,
    steps: int,
) -> WindowDifference:
    """Measure the difference on a sample of windows.

    Sequences longer than a window are stepped one by one from a reset. If there are none, the
    sequences as long as a window are chained, like a stream of windows.

    Args:
        stream: a stream of the float step, with the state carried on.
        data: what ``sequences`` are, in words.
        decides: whether the first output is a decision.
        steps: length of the windows.
    """
    summaries = [name for name in module.outputs if module.output_kinds[name] is Kind.SUMMARY]
    names = summaries or list(module.outputs)
    streams = _streams(module, sequences, steps)
    count = min(WINDOWS, max(1, WINDOW_STEPS // steps)) // max(1, len(streams))
    windows: list[ByName] = []
    stepped: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for frames, ends in streams:
        # At least the first window and the last, which has the longest past.
        some = np.unique(np.linspace(0, len(ends) - 1, max(2, count)).astype(int))
        chosen = [ends[index] for index in some]
        windows += [
            {name: values[end - steps : end] for name, values in frames.items()} for end in chosen
        ]
        outputs = outputs_of(stream, {name: v[: chosen[-1]] for name, v in frames.items()})
        for name in names:
            stepped[name] += [outputs[name][end - 1] for end in chosen]
    if not windows:
        return WindowDifference(steps, 0, 0.0, 0.0, None, data)
    wanted = window_answers(imported, module, windows)
    shares = [_shares(np.array(stepped[name]), wanted[name]) for name in names]
    rms, maximum = max(shares)
    decisions = None
    first = module.outputs[0]
    if decides and first in names:
        pair = np.array(stepped[first]), wanted[first]
        decisions = float(np.mean(_decisions(pair[0]) != _decisions(pair[1])))
    return WindowDifference(steps, len(windows), rms, maximum, decisions, data)


def _streams(
    module: StepModule, sequences: Sequences, steps: int
) -> list[tuple[ByName, list[int]]]:
    """List the streams to step from a reset, each with the ends of its windows that have a past."""
    first = module.inputs[0].name
    longer = [sequence for sequence in sequences if len(sequence[first]) > steps]
    if longer:
        places = np.unique(np.linspace(0, len(longer) - 1, STREAMS).astype(int))
        room = max(2 * steps, STREAM_STEPS // len(places))
        cut = [{name: v[:room] for name, v in longer[index].items()} for index in places]
        return [(frames, list(range(steps + 1, len(frames[first]) + 1))) for frames in cut]
    whole = [sequence for sequence in sequences if len(sequence[first]) == steps]
    whole = whole[: min(WINDOWS, max(1, STREAM_STEPS // steps)) + 1]
    if len(whole) < 2:
        return []
    chained = {name: np.concatenate([one[name] for one in whole]) for name in whole[0]}
    return [(chained, [steps * number for number in range(2, len(whole) + 1)])]


def _shares(given: NDArray[Any], wanted: NDArray[Any]) -> tuple[float, float]:
    """Return the rms and the largest difference, as shares of the spread of ``wanted``."""
    spread = max(float(np.ptp(wanted)), LEAST_RANGE)
    difference = given.reshape(wanted.shape) - wanted
    return (
        float(np.sqrt(np.mean(np.square(difference)))) / spread,
        float(np.abs(difference).max()) / spread,
    )


def _decisions(outputs: NDArray[Any]) -> NDArray[Any]:
    """Return the index of the largest value, or whether a single probability is above a half."""
    return outputs[..., 0] > 0.5 if outputs.shape[-1] == 1 else np.argmax(outputs, -1)
