"""Roll a float step model out over real sequences and watch every tensor.

The state is carried along as in use, over streams much longer than a training sequence. An LSTM's
cell state keeps growing long after the first few hundred steps, so a range learned from short
sequences would be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.float_model import FloatModel, StreamInputs, steps_of
from calibration.ranges import MomentCollector, RangeCollector, Ranges
from calibration.state_magnitudes import choose_magnitudes

# Values are added to the collectors in blocks of this many steps.
BLOCK_STEPS = 256


def roll_out(
    step_model: bytes,
    streams: Sequence[StreamInputs],
    progress: Callable[[int, int], None] | None = None,
    initial: Mapping[str, NDArray[Any]] | None = None,
    periods: Mapping[str, int] | None = None,
    bounded: Collection[str] = (),
    skipped: int = 0,
    first_phase: int = 0,
) -> Ranges:
    """Step a float32 step model through streams and collect the range of each tensor.

    It also collects the second moments of the factors of matrix products. Then it finds by trial
    how large each state without a bound should be in 8 bits (:mod:`calibration.state_magnitudes`).

    Args:
        step_model: a .tflite flatbuffer with the signature ``step(x, state...) -> (y, state...)``
            in float32, except token ids and counts; states are the names on both sides.
        streams: each [steps, inputs] float32 or [steps, 1] token ids; if there are several inputs,
            a dict of such arrays by name. The state is only reset between streams.
        progress: called now and then with (steps done, steps in all), over both passes.
        initial: values that states begin with, by name, in the state's shape; others begin with
            zeros.
        periods: steps from one update to the next, by state name; others have 1. The model computes
            all states at every step; only those that are due are handed on.
        bounded: names of states whose range the equations give; they need no trial.
        skipped: how many steps at the beginning of each stream are stepped but not collected.
        first_phase: the phase of the cycle that a stream begins with.

    Raises:
        CalibrationError: there is no data, it does not fit the model's inputs, or the model
            computes NaN or infinity.
    """
    total = sum(map(steps_of, streams))
    if total <= skipped * len(streams):
        raise CalibrationError("no calibration data; give at least one sequence")
    model = FloatModel(step_model, initial, periods, first_phase, keep_tensors=True)
    watch = _Watch(model)
    passes = 2 if set(model.states) - set(bounded) else 1
    done = 0

    def step_done() -> None:
        nonlocal done
        done += 1
        if progress and done % BLOCK_STEPS == 0:
            progress(done, passes * total)

    for stream in streams:
        _roll_out_one(model, stream, watch, step_done, skipped)
    ranges = watch.ranges(total, max(map(steps_of, streams)))
    if tried := _without_bound(ranges, bounded):
        spreads = watch.output_spreads(ranges)
        model = FloatModel(step_model, initial, periods, first_phase)
        ranges.magnitudes.update(choose_magnitudes(model, streams, tried, spreads, step_done))
    if progress:
        progress(passes * total, passes * total)
    return ranges


def _without_bound(ranges: Ranges, bounded: Collection[str]) -> dict[str, float]:
    """Return the largest magnitudes of the states whose range is found by trial, by name."""
    largest = {name: ranges.state_magnitude(name) for name in ranges.states if name not in bounded}
    return {name: value for name, value in largest.items() if value > 0}


class _Watch:
    """Collects what the float tensors of a model hold after each step.

    Attributes:
        names: of all tensors, by index.
    """

    def __init__(self, model: FloatModel) -> None:
        self.model = model
        details = model.interpreter.get_tensor_details()
        self.names = {item["index"]: item["name"] for item in details}
        self._roles = _roles(model)
        self._collectors = {index: RangeCollector() for index in self._roles}
        self._moments = {
            int(op["inputs"][0]): MomentCollector()
            for op in model.interpreter._get_ops_details()
            if op["op_name"] == "FULLY_CONNECTED" and int(op["inputs"][0]) in self._roles
        }
        self._block: dict[int, list[NDArray[Any]]] = {index: [] for index in self._roles}

    def look(self) -> None:
        """Record the values of the step that was just computed."""
        for index, values in self._block.items():
            values.append(self.model.interpreter.get_tensor(index))

    def add_block(self) -> None:
        """Add to the collectors what was recorded since the last block.

        Raises:
            CalibrationError: a value is NaN or infinite.
        """
        for index, values in self._block.items():
            if not values:
                continue
            stacked = np.stack(values)
            self._collectors[index].add(stacked)
            if index in self._moments:
                self._moments[index].add(stacked)
            values.clear()

    def output_spreads(self, ranges: Ranges) -> dict[str, float]:
        """Return the spread of each output that is no state, by name."""
        return {
            name: ranges.tensors[self.names[item["index"]]].spread
            for name, item in self.model.outputs.items()
            if name not in self.model.states
        }

    def ranges(self, steps: int, longest_stream: int) -> Ranges:
        """Return the ranges of all that was added."""
        return Ranges(
            steps=steps,
            longest_stream=longest_stream,
            states={
                name: (self.names[state_in], self.names[state_out])
                for name, (state_in, state_out) in self.model.states.items()
                if state_in in self._roles
            },
            tensors={
                self.names[index]: self._collectors[index].result(role)
                for index, role in self._roles.items()
            },
            moments={self.names[index]: found.result() for index, found in self._moments.items()},
        )


def _roll_out_one(
    model: FloatModel,
    stream: StreamInputs,
    watch: _Watch,
    step_done: Callable[[], None],
    skipped: int,
) -> None:
    """Step the model through one stream, from the initial states."""
    states = dict(model.beginnings)
    length = steps_of(stream)
    for position, frame in enumerate(model.frames(stream)):
        model.step(frame, states)
        if position >= skipped:
            watch.look()
        states |= model.due(position)
        if (position + 1) % BLOCK_STEPS == 0 or position + 1 == length:
            watch.add_block()
        step_done()


def _roles(model: FloatModel) -> dict[int, str]:
    """Return the role of every float tensor that the step computes or takes, by index."""
    details = {item["index"]: item for item in model.interpreter.get_tensor_details()}
    operators = model.interpreter._get_ops_details()
    roles = {int(index): "activation" for op in operators for index in op["outputs"]}
    for name, item in model.outputs.items():
        roles[item["index"]] = "state" if name in model.states else "output"
    for name, item in model.inputs.items():
        roles[item["index"]] = "state" if name in model.states else "input"
    # Token ids and counts have no range.
    roles = {index: role for index, role in roles.items() if details[index]["dtype"] == np.float32}
    used = [details[index]["name"] for index in roles]
    if len(set(used)) != len(used):
        raise CalibrationError("two tensors of the step model have one name; export it again")
    return roles


def long_streams(
    sequences: Sequence[StreamInputs], steps: int, seed: int, streams: int = 4
) -> list[Any]:
    """Chain real sequences, in random order and repeated as needed, into a few long streams.

    Args:
        sequences: each [steps, inputs], or a dict of such arrays by input.
        steps: number of steps in all streams together (each stream's last sequence is kept whole).
    """
    generator = np.random.default_rng(seed)
    chained = []
    for _ in range(streams):
        pieces: list[StreamInputs] = []
        length = 0
        while length < steps / streams:
            for index in generator.permutation(len(sequences)):
                pieces.append(sequences[index])
                length += steps_of(sequences[index])
                if length >= steps / streams:
                    break
        chained.append(_chained(pieces))
    return chained


def _chained(pieces: Sequence[StreamInputs]) -> StreamInputs:
    first = pieces[0]
    if isinstance(first, Mapping):
        return {
            name: np.concatenate([cast(Any, piece)[name] for piece in pieces]) for name in first
        }
    return np.asarray(np.concatenate(cast(Any, pieces)))
