"""Step graphs made by hand: several inputs and outputs, token ids, states of other shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from convert.schemes import apply_scheme, load_scheme, parse_scheme
from convert.schemes.scheme import FloatStep
from convert.step.contract_fields import contract_fields
from convert.step.step_module import to_float_graph
from device_runner.model.contract import Contract, Tolerance
from device_runner.model.flatbuffer import read_graph
from device_runner.model.golden import Golden
from device_runner.model.graph_checks import check_contract
from device_runner.model.step_file import StepModel, load_step_model, pack

VOCABULARY = 20
LABELS = ("a", "b", "c", "d")
LENGTHS = (16, 32)
_random = np.random.default_rng(11)


def _matrix(rows: int, columns: int, size: float = 0.6) -> tf.Tensor:
    return tf.constant(_random.normal(0, size, (rows, columns)).astype(np.float32))


FROM_X, FROM_CONTEXT, FROM_H = _matrix(6, 8), _matrix(3, 8), _matrix(8, 8, 0.4)
TO_Y, TO_ENERGY, TO_MATRIX = _matrix(8, 4), _matrix(8, 2), _matrix(6, 16, 0.8)
TABLE, FROM_MATRIX = _matrix(VOCABULARY, 6), _matrix(4, 1)


def _two(x, context, h):
    h = tf.tanh(tf.matmul(x, FROM_X) + tf.matmul(context, FROM_CONTEXT) + tf.matmul(h, FROM_H))
    return {"y": tf.matmul(h, TO_Y), "energy": tf.tanh(tf.matmul(h, TO_ENERGY)), "h": h}


def _tokens(x, h):
    row = tf.gather(TABLE, tf.reshape(x, (1,)))
    h = tf.tanh(tf.matmul(row, FROM_X) + tf.matmul(h, FROM_H))
    return {"y": tf.matmul(h, TO_Y), "h": h}


def _mixed(x, level, h):
    row = tf.gather(TABLE, tf.reshape(x, (1,)))
    inputs = tf.matmul(row, FROM_X) + tf.matmul(level, FROM_CONTEXT)
    h = tf.tanh(inputs + tf.matmul(h, FROM_H))
    return {"y": tf.matmul(h, TO_Y), "h": h}


def _matrix_state(x, m):
    m = tf.tanh(m * 0.7 + tf.reshape(tf.matmul(x, TO_MATRIX), (1, 4, 4)))
    return {"y": tf.reduce_sum(m, -1), "m": m}


def _counting(x, h, n):
    h = tf.tanh(tf.matmul(x, FROM_X) + tf.matmul(h, FROM_H))
    return {"y": tf.matmul(h, TO_Y), "h": h, "n": n + 1}


def _image(x, h):
    h = tf.tanh(x * 0.8 + h * 0.5)
    return {"y": tf.reduce_sum(h, -1), "h": h}


@dataclass(frozen=True)
class Made:
    """A step function; the shapes and dtypes of its arguments by name, inputs first; what its
    states begin with."""

    step: Callable[..., dict[str, tf.Tensor]]
    inputs: dict[str, tf.TensorSpec]
    states: dict[str, tf.TensorSpec]
    initial: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def vocabularies(self) -> dict[str, int]:
        return {name: VOCABULARY for name, spec in self.inputs.items() if spec.dtype == tf.int32}

    def frames(self, steps: int = sum(LENGTHS), seed: int = 3) -> dict[str, np.ndarray]:
        """Random inputs by name, float32 and representable in float16, or int32 token ids."""
        rng = np.random.default_rng(seed)
        return {
            name: rng.integers(0, VOCABULARY, (steps, 1)).astype(np.int32)
            if spec.dtype == tf.int32
            else rng.normal(0, 1, (steps, *spec.shape[1:])).astype(np.float16).astype(np.float32)
            for name, spec in self.inputs.items()
        }

    def outputs(self, frames: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute the function's outputs in TensorFlow, step by step, by name."""
        states = {
            name: tf.constant(self.initial.get(name, np.zeros(spec.shape)), spec.dtype)
            for name, spec in self.states.items()
        }
        found: dict[str, list[np.ndarray]] = {}
        for position in range(len(next(iter(frames.values())))):
            given = {name: values[position : position + 1] for name, values in frames.items()}
            results = self.step(**{name: tf.constant(v) for name, v in given.items()}, **states)
            states = {name: results.pop(name) for name in states}
            for name, value in results.items():
                found.setdefault(name, []).append(value.numpy()[0])
        return {name: np.stack(values) for name, values in found.items()}

    def float_step(self) -> FloatStep:
        """Return the float32 step graph."""
        module = tf.Module()
        module.step = tf.function(
            self.step,
            input_signature=[
                tf.TensorSpec(spec.shape, spec.dtype, name=name)
                for name, spec in {**self.inputs, **self.states}.items()
            ],
        )
        bounds = {name: 1.0 for name in self.states if name != "n"}
        return FloatStep(
            to_float_graph(module), bounds, initial=self.initial, vocabularies=self.vocabularies
        )


def _floats(*shape: int) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32)


TOKEN = tf.TensorSpec((1, 1), tf.int32)
HALVES = np.linspace(-0.5, 0.5, 16, dtype=np.float32).reshape(1, 4, 4)
MADE = {
    "two": Made(_two, {"x": _floats(1, 6), "context": _floats(1, 3)}, {"h": _floats(1, 8)}),
    "tokens": Made(
        _tokens, {"x": TOKEN}, {"h": _floats(1, 8)}, {"h": np.full((1, 8), 0.25, np.float32)}
    ),
    "mixed": Made(_mixed, {"x": TOKEN, "level": _floats(1, 3)}, {"h": _floats(1, 8)}),
    "matrix": Made(_matrix_state, {"x": _floats(1, 6)}, {"m": _floats(1, 4, 4)}, {"m": HALVES}),
    "counting": Made(
        _counting, {"x": _floats(1, 6)},
        {"h": _floats(1, 8), "n": tf.TensorSpec((1,), tf.int32)}, {"n": np.array([7], np.int32)},
    ),
    "image": Made(_image, {"x": _floats(1, 4, 3)}, {"h": _floats(1, 4, 3)}),
}  # fmt: skip


def step_model(
    name: str,
    folder: Path,
    scheme: str = "float32",
    step: FloatStep | None = None,
    **changes: Any,
) -> StepModel:
    """Make a step model file in ``folder``, loaded, of the step graph or another form of it;
    ``changes`` to its contract."""
    made = MADE[name]
    step = step or made.float_step()
    spec = parse_scheme(scheme)
    ranges = step.calibrate([made.frames(300, 4)])
    flatbuffer = apply_scheme(spec, step, ranges)
    graph = read_graph(flatbuffer)
    golden = Golden(made.frames(), {}, LENGTHS)
    parts = [made.outputs(sequence) for sequence in golden.sequences()]
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    spread = float(np.ptp(outputs["y"]))
    share = load_scheme(spec.base).tolerance
    contract = Contract(
        **contract_fields(graph, step),
        task="hand-made", cell="hand-made", units=(8,), scheme=scheme, frame_period_s=0.01,
        frame_period_source="none", channels=(), input_units="", output_meaning="values",
        normalization={}, metrics={}, parameters=0,
        tolerance=Tolerance(share.rms * spread, share.max_abs * spread, share.argmax_agreement),
        model_sha256=hashlib.sha256(flatbuffer).hexdigest(),
    )  # fmt: skip
    contract = replace(contract, **changes)
    contract.validate()
    check_contract(graph, contract)
    labels = tuple(LABELS[: contract.output.shape[-1]])
    path = folder / f"{name}-{spec.file_part}.tflite"
    path.write_bytes(pack(flatbuffer, contract, labels, replace(golden, outputs=outputs)))
    return load_step_model(path)
