"""Find how large an unbounded state an 8-bit grid should hold.

An LSTM's cell state grows for as long as a gate lets it. A grid that covers the largest value of a
long roll-out is so coarse that most steps move the state by less than half a rounding step, and
what is lost comes back at every later step. Clipping the few largest values costs less, since the
network reads them through a tanh that has long saturated. How much less is found by trial: the
state alone is rounded and clipped as it is handed from step to step over the whole roll-out. The
magnitude is taken whose outputs are nearest to the float model's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.float_model import FloatModel, StreamInputs, steps_of

LEVELS = 256
# Margin over the largest value seen: other data goes a little beyond it.
MARGIN = 1.1
# Candidates, as shares of the largest value: halved every second time, down to a sixteenth.
SHARES = tuple(MARGIN * 2.0 ** (-half / 2) for half in range(9))
# With many such states only the beginning of each stream is used: a trial should take seconds.
MOST_CALLS = 500_000


def choose_magnitudes(
    model: FloatModel,
    streams: Sequence[StreamInputs],
    largest: Mapping[str, float],
    spreads: Mapping[str, float],
    step_done: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Choose the magnitude that an 8-bit grid of each state should cover.

    Args:
        model: the float model.
        streams: each is rolled out from the initial states, as far as MOST_CALLS allows.
        largest: largest magnitude in the float roll-out, by name, of each state to choose for.
        spreads: largest minus smallest value of each output, by name; errors are shares of it.
        step_done: called after each step.

    Returns:
        By state name, the candidate (SHARES of ``largest``) with the least mean squared error of
        the outputs, the largest among equals.
    """
    trials = [(name, share * largest[name]) for name in largest for share in SHARES]
    outputs = {
        model.outputs[name]["index"]: spread for name, spread in spreads.items() if spread > 0
    }
    errors = np.zeros(len(trials))
    calls = (1 + len(trials)) * sum(map(steps_of, streams))
    share = min(1.0, MOST_CALLS / calls)
    tried = _Trials(model, trials, outputs)
    for stream in streams:
        tried.begin()
        exact = dict(model.beginnings)
        frames = model.frames(stream)
        for position, frame in enumerate(frames[: math.ceil(share * len(frames))]):
            model.step(frame, exact)
            reference = {index: model.interpreter.get_tensor(index) for index in outputs}
            exact |= model.due(position)
            errors += tried.step(position, reference)
            step_done()
    best = errors.reshape(len(largest), len(SHARES)).argmin(1)
    return {name: SHARES[i] * largest[name] for name, i in zip(largest, best, strict=True)}


class _Trials:
    """The model stepped with one state rounded, for each trial; a row of every array is a trial.

    Args:
        model: the float model.
        trials: the state's name and its magnitude; those of a state follow each other.
        outputs: what errors of each output are shares of, by its tensor's index.
    """

    def __init__(
        self, model: FloatModel, trials: Sequence[tuple[str, float]], outputs: Mapping[int, float]
    ) -> None:
        self._model, self._outputs = model, outputs
        self._count = len(trials)
        self._held: dict[int, NDArray[Any]] = {}
        self._given = {
            index: np.empty((self._count, *model.interpreter.get_tensor(index).shape), np.float32)
            for index in outputs
        }
        self._rounding = []
        for name in dict.fromkeys(name for name, _ in trials):
            rows = [row for row, trial in enumerate(trials) if trial[0] == name]
            steps = np.array([trials[row][1] / (LEVELS // 2) for row in rows], np.float32)
            index = model.states[name][0]
            shape = (-1, *(1 for _ in model.beginnings[index].shape))
            self._rounding.append((index, slice(rows[0], rows[-1] + 1), steps.reshape(shape)))

    def begin(self) -> None:
        """Begin a stream."""
        self._held = {
            index: np.stack([value] * self._count)
            for index, value in self._model.beginnings.items()
        }

    def step(self, position: int, reference: Mapping[int, NDArray[Any]]) -> NDArray[Any]:
        """Step all trials with the frame that the model has just been stepped with.

        Returns:
            The mean squared error of the outputs, by trial.
        """
        set_tensor = self._model.interpreter.set_tensor
        get_tensor, invoke = self._model.interpreter.get_tensor, self._model.interpreter.invoke
        held, given = list(self._held.items()), list(self._given.items())
        due = [(self._held[taken], out) for taken, out in self._model.due_states(position)]
        for row in range(self._count):
            for index, values in held:
                set_tensor(index, values[row])
            invoke()
            for index, values in given:
                values[row] = get_tensor(index)
            for values, index in due:
                values[row] = get_tensor(index)
        for index, rows, steps in self._rounding:
            self._held[index][rows] = _round(self._held[index][rows], steps)
        errors = np.zeros(self._count)
        for index, values in given:
            spread = self._outputs[index]
            squares = (values / spread - reference[index] / spread) ** 2
            errors += squares.reshape(self._count, -1).mean(1)
        return errors


def _round(values: NDArray[Any], step: NDArray[Any]) -> NDArray[Any]:
    half = LEVELS // 2
    return np.asarray(np.clip(np.rint(values / step), -half, half - 1) * step, np.float32)
