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

    def read() -> list[NDArray[Any]]:
        return [model.interpreter.get_tensor(index) / spread for index, spread in outputs.items()]

    for stream in streams:
        exact = dict(model.beginnings)
        rounded = [dict(model.beginnings) for _ in trials]
        frames = model.frames(stream)
        for position, frame in enumerate(frames[: math.ceil(share * len(frames))]):
            model.step(frame, exact)
            reference = read()
            exact |= model.due(position)
            for number, (name, magnitude) in enumerate(trials):
                model.step(frame, rounded[number])
                errors[number] += sum(
                    np.mean((y - wanted) ** 2) for y, wanted in zip(read(), reference, strict=True)
                )
                rounded[number] |= model.due(position)
                state = model.states[name][0]
                rounded[number][state] = _round(rounded[number][state], magnitude)
            step_done()
    best = errors.reshape(len(largest), len(SHARES)).argmin(1)
    return {name: SHARES[i] * largest[name] for name, i in zip(largest, best, strict=True)}


def _round(values: NDArray[Any], magnitude: float) -> NDArray[Any]:
    half = LEVELS // 2
    step = magnitude / half
    return np.asarray(np.clip(np.rint(values / step), -half, half - 1) * step, np.float32)
