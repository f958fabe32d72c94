"""What a step's gates do, and how long its states remember, by stepping the model itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.float_model import FloatModel
from device_runner.model.contract import Contract
from device_runner.model.step_file import StepModel
from device_runner.stream import Stream
from pipeline.robustness.disturbances import Frames

# A gate is open above and closed below.
OPEN, CLOSED = 0.9, 0.1
# Steps before a state is pushed, and for which it is followed.
BEFORE, FOLLOWED = 100, 400
PUSHES = 4
MOST_UNITS = 32
SEED = 5


@dataclass(frozen=True)
class Gate:
    """What one LOGISTIC operator gives over a sequence.

    Attributes:
        name: of its tensor.
        values: [steps, units].
    """

    name: str
    values: NDArray[np.float32]

    @property
    def open_share(self) -> float:
        return float(np.mean(self.values > OPEN))

    @property
    def closed_share(self) -> float:
        return float(np.mean(self.values < CLOSED))


@dataclass(frozen=True)
class HalfLife:
    """How soon a push of a state is half forgotten.

    Attributes:
        state: its name.
        steps: for each push, steps until the difference of all states is half as large as at
            first; FOLLOWED if it never was.
    """

    state: str
    steps: NDArray[np.int64]

    @property
    def median(self) -> float:
        return float(np.median(self.steps))

    @property
    def longest_tenth(self) -> float:
        return float(np.percentile(self.steps, 90))


def why_no_memory(model: StepModel) -> str | None:
    """Say why gates and half-lives are not measured; None if they are."""
    if model.contract.scheme != "float32":
        return "a push is smaller than a step of integers; give the float32 file"
    if model.contract.window is not None:
        return "its states begin anew when a window ends"
    return None


def beginnings(contract: Contract) -> dict[str, NDArray[np.generic]]:
    """Return what each state begins a sequence with, by name, in the state's shape."""
    return {
        state.name: np.frombuffer(state.initial_bytes(), state.dtype).reshape(state.shape)
        for state in contract.states
    }


def gates(model: StepModel, frames: Frames) -> list[Gate]:
    """Step a float32 model through a sequence and watch what its gates give."""
    contract = model.contract
    stepped = FloatModel(
        model.flatbuffer,
        beginnings(contract),
        {state.name: state.period for state in contract.states},
        contract.first_phase,
        keep_tensors=True,
    )
    places = [op.outputs[0] for op in model.graph.operators if op.name == "LOGISTIC"]
    seen: dict[int, list[NDArray[np.float32]]] = {place: [] for place in places}
    states = dict(stepped.beginnings)
    for position, frame in enumerate(stepped.frames(frames)):
        stepped.step(frame, states)
        for place, values in seen.items():
            values.append(stepped.interpreter.get_tensor(place).ravel().copy())
        states |= stepped.due(position)
    return [
        Gate(model.graph.tensors[place].name, np.stack(values)) for place, values in seen.items()
    ]


def half_lives(model: StepModel, stream: Frames, backend: str) -> list[HalfLife]:
    """Push units of each state by a tenth of the state's deviation, and count the steps until the
    difference from the stream without the push is half as large.

    Args:
        stream: frames by input, at least BEFORE + FOLLOWED steps.
    """
    runner = Stream(model, backend)
    steps = min(len(values) for values in stream.values())
    starts = np.linspace(BEFORE, max(BEFORE, steps - FOLLOWED), PUSHES).astype(int)
    random = np.random.default_rng(SEED)
    names = [state.name for state in model.contract.states if state.dtype == "float32"]
    found: dict[str, list[int]] = {name: [] for name in names}
    deviations = _deviations(runner, stream)
    for start in sorted(set(starts.tolist())):
        runner.reset()
        runner.run_by_name({name: values[:start] for name, values in stream.items()})
        begin = runner.backend.read_state()
        after = {name: values[start : start + FOLLOWED] for name, values in stream.items()}
        plain = _followed(runner, begin, after)
        for name in found:
            values = np.frombuffer(begin[name], np.float32)
            units = random.permutation(len(values))[:MOST_UNITS]
            for unit in units:
                pushed = values.copy()
                pushed[unit] += 0.1 * (deviations[name] or 1.0)
                moved = _followed(runner, {**begin, name: pushed.tobytes()}, after)
                first = float(abs(pushed[unit] - values[unit]))
                sizes = np.linalg.norm(moved - plain, axis=1)
                halved = np.flatnonzero(sizes < 0.5 * first)
                found[name].append(int(halved[0]) + 1 if len(halved) else FOLLOWED)
    return [HalfLife(name, np.array(steps)) for name, steps in found.items()]


def _deviations(runner: Stream, stream: Frames) -> dict[str, float]:
    """Standard deviation of each state over the first steps of a stream."""
    runner.reset()
    states = runner.model.contract.states
    seen: dict[str, list[NDArray[np.float32]]] = {
        state.name: [] for state in states if state.dtype == "float32"
    }
    for step in range(min(BEFORE, len(next(iter(stream.values()))))):
        runner.run_by_name({name: values[step : step + 1] for name, values in stream.items()})
        for name, stored in runner.state_bytes().items():
            if name in seen:
                seen[name].append(np.frombuffer(stored, np.float32))
    return {name: float(np.std(np.stack(values))) for name, values in seen.items()}


def _followed(runner: Stream, beginning: dict[str, bytes], after: Frames) -> NDArray[np.float64]:
    """All states after each step, [steps, values]."""
    runner.backend.write_state(beginning)
    states = runner.model.contract.states
    names = [state.name for state in states if state.dtype == "float32"]
    rows = []
    for step in range(len(next(iter(after.values())))):
        runner.run_by_name({name: values[step : step + 1] for name, values in after.items()})
        now = runner.backend.read_state()
        rows.append(np.concatenate([np.frombuffer(now[name], np.float32) for name in names]))
    stacked: NDArray[np.float64] = np.stack(rows).astype(np.float64)
    return stacked
