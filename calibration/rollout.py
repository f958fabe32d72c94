"""Rolls a float step model over real sequences and watches every tensor.

The state is carried along as in use, over streams much longer than a training sequence: an LSTM's
cell state keeps growing long after the first few hundred steps, and a range learned from short
sequences would be another network's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import numpy as np

from calibration.errors import CalibrationError
from calibration.float_model import FloatModel, Frames, steps_of
from calibration.ranges import MomentCollector, RangeCollector, Ranges
from calibration.state_magnitudes import choose_magnitudes

# Values are added to the collectors in blocks of this many steps.
BLOCK_STEPS = 256


def roll_out(
    step_model: bytes,
    streams: Sequence[Frames],
    progress: Callable[[int, int], None] | None = None,
    initial: Mapping[str, np.ndarray] | None = None,
    periods: Mapping[str, int] | None = None,
    bounded: Collection[str] = (),
) -> Ranges:
    """Step a float32 step model through streams and collect the range of each tensor, and the
    second moments of what is multiplied with a matrix; then find by trial how large each state
    without a bound should be in 8 bits (:mod:`calibration.state_magnitudes`).

    Args:
        step_model: a .tflite flatbuffer with the signature ``step(x, state...) -> (y, state...)``
            in float32, but for token ids and counts; states are the names on both sides.
        streams: each [steps, inputs] float32 or [steps, 1] token ids; where there are several
            inputs a dict of such arrays by name. The state is reset between streams only.
        progress: called now and then with (steps done, steps in all), of both passes.
        initial: values that states begin with, by name, in the state's shape; else zeros.
        periods: steps from one update to the next, by state name; else each step is one. The model
            computes all at every step; only what is due is handed on.
        bounded: names of states whose range the equations give, and that need no trial.

    Raises:
        CalibrationError: there is no data, it does not fit the model's inputs, or the model
            computes NaN or infinity.
    """
    total = sum(map(steps_of, streams))
    if not total:
        raise CalibrationError("no calibration data; give at least one sequence")
    model = FloatModel(step_model, initial, periods, keep_tensors=True)
    interpreter = model.interpreter
    roles = _roles(model)
    collectors = {index: RangeCollector() for index in roles}
    moments = {
        int(op["inputs"][0]): MomentCollector()
        for op in interpreter._get_ops_details()
        if op["op_name"] == "FULLY_CONNECTED" and int(op["inputs"][0]) in roles
    }
    passes = 2 if set(model.states) - set(bounded) else 1
    done = 0

    def step_done() -> None:
        nonlocal done
        done += 1
        if progress and done % BLOCK_STEPS == 0:
            progress(done, passes * total)

    for stream in streams:
        states = dict(model.beginnings)
        block: dict[int, list[np.ndarray]] = {index: [] for index in roles}
        length = steps_of(stream)
        for position, frame in enumerate(model.frames(stream)):
            model.step(frame, states)
            for index, values in block.items():
                values.append(interpreter.get_tensor(index))
            states |= model.due(position)
            if (position + 1) % BLOCK_STEPS == 0 or position + 1 == length:
                for index, values in block.items():
                    stacked = np.stack(values)
                    collectors[index].add(stacked)
                    if index in moments:
                        moments[index].add(stacked)
                    values.clear()
            step_done()
    names = {item["index"]: item["name"] for item in interpreter.get_tensor_details()}
    ranges = Ranges(
        steps=total,
        longest_stream=max(map(steps_of, streams)),
        states={
            name: (names[state_in], names[state_out])
            for name, (state_in, state_out) in model.states.items()
            if state_in in roles
        },
        tensors={names[index]: collectors[index].result(role) for index, role in roles.items()},
        moments={names[index]: moment.result() for index, moment in moments.items()},
    )
    largest = {name: ranges.state_magnitude(name) for name in ranges.states if name not in bounded}
    if tried := {name: value for name, value in largest.items() if value > 0}:
        spreads = {
            name: ranges.tensors[names[item["index"]]].spread
            for name, item in model.outputs.items()
            if name not in model.states
        }
        model = FloatModel(step_model, initial, periods)
        ranges.magnitudes.update(choose_magnitudes(model, streams, tried, spreads, step_done))
    if progress:
        progress(passes * total, passes * total)
    return ranges


def _roles(model: FloatModel) -> dict[int, str]:
    """Index of every float tensor that the step computes or takes -> its role."""
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


def long_streams(sequences: Sequence[Frames], steps: int, seed: int, streams: int = 4) -> list[Any]:
    """Chain real sequences, in random order and as often as needed, into a few long streams.

    Args:
        sequences: each [steps, inputs], or a dict of such arrays by input.
        steps: steps in all streams together (the last sequence of each is kept whole).
    """
    generator = np.random.default_rng(seed)
    chained = []
    for _ in range(streams):
        pieces: list[Frames] = []
        length = 0
        while length < steps / streams:
            for index in generator.permutation(len(sequences)):
                pieces.append(sequences[index])
                length += steps_of(sequences[index])
                if length >= steps / streams:
                    break
        chained.append(_chained(pieces))
    return chained


def _chained(pieces: Sequence[Frames]) -> Frames:
    first = pieces[0]
    if isinstance(first, Mapping):
        return {
            name: np.concatenate([cast(Any, piece)[name] for piece in pieces]) for name in first
        }
    return np.concatenate(cast(Any, pieces))
