"""Step graphs with a window, made by hand: an LSTM in lanes, and a GRU that reads both ways."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from convert.schemes import apply_scheme, load_scheme, parse_scheme
from convert.step.contract_fields import contract_fields
from device_runner.model.contract import Contract, Tolerance
from device_runner.model.flatbuffer import read_graph
from device_runner.model.golden import Golden
from device_runner.model.step_file import StepModel, load_step_model, pack
from device_runner.model.tensor_spec import StateSpec
from device_runner.model.window import Window
from tests.hand_made_steps import Made

INPUTS, UNITS, OUTPUTS = 3, 6, 4
LABELS = ("a", "b", "c", "d")
BEGINNING = np.linspace(-0.5, 0.5, UNITS, dtype=np.float32)
_random = np.random.default_rng(23)


def _matrix(rows: int, columns: int) -> tf.Tensor:
    return tf.constant(_random.normal(0, 0.6, (rows, columns)).astype(np.float32))


FROM_X, FROM_H, TO_Y = (
    _matrix(INPUTS, 4 * UNITS),
    _matrix(UNITS, 4 * UNITS),
    _matrix(UNITS, OUTPUTS),
)
FROM_BOTH = _matrix(2 * UNITS, OUTPUTS)


def _lstm(x, h, c):
    """One frame for all lanes: the input's product is computed once."""
    gates = tf.matmul(x, FROM_X) + tf.matmul(h, FROM_H)
    entry, keep, value, out = tf.split(gates, 4, -1)
    c = tf.sigmoid(keep) * c + tf.sigmoid(entry) * tf.tanh(value)
    h = tf.sigmoid(out) * tf.tanh(c)
    return {"y": tf.matmul(h, TO_Y), "h": h, "c": c}


def _both_ways(x, frames):
    """The whole window at once, from both ends."""
    frames = tf.concat([frames[:, 1:], x[:, None]], 1)
    steps = frames.shape[1]
    ends = []
    for order in (range(steps), reversed(range(steps))):
        h = tf.zeros((1, UNITS))
        for step in order:
            h = tf.tanh(
                tf.matmul(frames[:, step], FROM_X[:, :UNITS]) + tf.matmul(h, FROM_H[:, :UNITS])
            )
        ends.append(h)
    return {"y": tf.matmul(tf.concat(ends, -1), FROM_BOTH), "frames": frames}


@dataclass(frozen=True)
class Windowed:
    """A step with a window, and what it must answer."""

    window: Window
    step: Callable[..., dict[str, tf.Tensor]]
    shapes: dict[str, tuple[int, ...]]
    beginning: dict[str, np.ndarray]

    def made(self, lanes: int) -> Made:
        """The step as a hand-made one with these lanes."""
        states = {
            name: tf.TensorSpec((lanes, *shape), tf.float32) for name, shape in self.shapes.items()
        }
        return Made(self.step, {"x": tf.TensorSpec((1, INPUTS), tf.float32)}, states)

    def answers(self, x: np.ndarray) -> np.ndarray:
        """What the window before each frame gives alone; NaN at frames without an answer."""
        return self._alone(x, lambda frame: self.window.answers(frame))

    def given(self, x: np.ndarray) -> np.ndarray:
        """What a stream gives: the answers, and before the first what the frames so far give."""
        return self._alone(x, lambda frame: self.window.given_row(frame) is not None)

    def _alone(self, x: np.ndarray, wants: Callable[[int], bool]) -> np.ndarray:
        wanted = np.full((len(x), OUTPUTS), np.nan, np.float32)
        for frame in filter(wants, range(len(x))):
            states = {
                name: tf.constant(
                    self.beginning.get(name, np.zeros(shape, np.float32)).reshape(1, *shape)
                )
                for name, shape in self.shapes.items()
            }
            for row in x[max(0, frame - self.window.steps + 1) : frame + 1]:
                results = self.step(x=tf.constant(row[np.newaxis]), **states)
                states = {name: results[name] for name in states}
            wanted[frame] = results["y"].numpy()[0]
        return wanted


def windowed(steps: int, hop: int, in_lanes: bool = True) -> Windowed:
    """A step that answers for its last frames, in lanes or computed as a whole."""
    if in_lanes:
        window = Window(steps, hop, -(-steps // hop))
        return Windowed(window, _lstm, {"h": (UNITS,), "c": (UNITS,)}, {"h": BEGINNING})
    return Windowed(Window(steps, hop, 0), _both_ways, {"frames": (steps, INPUTS)}, {})


def frames(steps: int, seed: int = 5) -> np.ndarray:
    """Random inputs that float16 holds, [steps, inputs] float32."""
    x = np.random.default_rng(seed).normal(0, 1, (steps, INPUTS))
    return x.astype(np.float16).astype(np.float32)


def windowed_model(step: Windowed, folder: Path, scheme: str = "float32") -> StepModel:
    """Make a step model file of a step with a window in ``folder``, loaded."""
    window, lanes = step.window, max(step.window.lanes, 1)
    float_step = step.made(lanes).float_step()
    spec = parse_scheme(scheme)
    flatbuffer = apply_scheme(spec, float_step, float_step.calibrate([{"x": frames(300, 4)}]))
    lengths = (window.steps + window.hop + 4, max(1, window.steps - 1), 2 * window.steps + 3)
    x = frames(sum(lengths))
    parts = np.split(x, np.cumsum(lengths)[:-1])
    y = np.concatenate([step.answers(part) for part in parts])
    spread = float(np.nanmax(y) - np.nanmin(y))
    share = load_scheme(spec.base).tolerance
    fields = contract_fields(read_graph(flatbuffer), float_step)
    fields["states"] = tuple(
        _beginning(state, step.beginning.get(state.name)) for state in fields["states"]
    )
    contract = Contract(
        **fields,
        task="hand-made", cell="lstm", units=(UNITS,), scheme=scheme, frame_period_s=0.01,
        frame_period_source="none", channels=(), input_units="", output_meaning="values",
        normalization={}, metrics={}, parameters=0,
        tolerance=Tolerance(share.rms * spread, share.max_abs * spread, share.argmax_agreement),
        model_sha256=hashlib.sha256(flatbuffer).hexdigest(), window=window,
    )  # fmt: skip
    contract.validate()
    kind = "lanes" if window.lanes else "whole"
    name = f"window-{window.steps}-{window.hop}-{kind}-{spec.file_part}.tflite"
    path = folder / name
    path.write_bytes(pack(flatbuffer, contract, LABELS, Golden({"x": x}, {"y": y}, lengths)))
    return load_step_model(path)


def _beginning(state: StateSpec, row: np.ndarray | None) -> StateSpec:
    """Give a state its initial values, those of one row."""
    return state if row is None else replace(state, initial=tuple(state.quantize(row).tolist()))
