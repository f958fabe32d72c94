"""The step contract: what a step model promises, as JSON in the model file itself.

The promise: signature ``step(x, state...) -> (y, state...)``, perhaps with further inputs and
outputs under names of their own; a state is paired by its name, and its in and out tensors have
the same shape, dtype, scale and zero point, so that the loop hands the bytes on. For states that
are not updated at every step see :mod:`device_runner.model.phases`.

A frame as bytes is all inputs' bytes one after another in the contract's order; what a step gives
as bytes is all outputs' likewise.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from device_runner.errors import BadModelError
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME, PHASE_NAME, RESERVED_NAMES
from device_runner.model.phases import LONGEST_CYCLE, phase_bytes, phase_signatures
from device_runner.model.tensor_spec import StateSpec, TensorSpec, is_plain_integer, spec_from_json

FORMAT_VERSION = 2
CONTRACT_FILE = "contract.json"


@dataclass(frozen=True)
class Tolerance:
    """How far a runtime's outputs may be from the float model's on the golden sequences.

    ``rms`` and ``max_abs`` are in units of the first output; ``argmax_agreement`` is the share of
    steps whose largest value of the first output is the float model's, of those where that is no
    tie. Errors of further outputs
    are scaled by how much smaller or larger than the first output's their golden values' spread is.
    """

    rms: float
    max_abs: float
    argmax_agreement: float


@dataclass(frozen=True)
class Contract:
    """Everything a runner must know about a step model.

    The first of ``inputs`` is called "x", the first of ``outputs`` "y"; further ones have the
    model's own names. ``front_end`` describes, as JSON, how raw input (text, sound) becomes the
    frames of x, where it does.
    ``frame_period_s`` is the time between two inputs in seconds, which is the deadline of a step.
    ``normalization`` (mean and standard deviation per channel) is already inside the step: it
    documents what was fitted. ``model_sha256`` is the hash of the flatbuffer alone.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StateSpec, ...]
    task: str
    cell: str
    units: tuple[int, ...]
    scheme: str
    frame_period_s: float
    frame_period_source: str
    channels: tuple[str, ...]
    input_units: str
    output_meaning: str
    normalization: dict[str, list[float]]
    metrics: dict[str, Any]
    parameters: int
    tolerance: Tolerance
    model_sha256: str
    recipe_hash: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    front_end: dict[str, Any] | None = None
    format_version: int = FORMAT_VERSION

    @property
    def input(self) -> TensorSpec:
        """The first input, "x"."""
        return self.inputs[0]

    @property
    def output(self) -> TensorSpec:
        """The first output, "y"."""
        return self.outputs[0]

    @property
    def phases(self) -> tuple[str, ...]:
        """The signature of each step of a cycle: of step t it is phases[t % len(phases)]."""
        return phase_signatures({state.name: state.period for state in self.states})

    def initial_state(self) -> dict[str, bytes]:
        """What a sequence starts from, as stored, by state name; with several phases also the
        number of the next one, under PHASE_NAME."""
        phase = {PHASE_NAME: phase_bytes(0)} if len(self.phases) > 1 else {}
        return {**{state.name: state.initial_bytes() for state in self.states}, **phase}

    def to_json(self) -> str:
        """The text of ``contract.json``."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Parse and validate ``contract.json``; BadModelError names the field that is wrong."""
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadModelError(
                f"{CONTRACT_FILE} is not JSON ({error}); export the model again"
            ) from error
        if not isinstance(raw, dict):
            raise BadModelError(f"{CONTRACT_FILE} holds no object; export the model again")
        if raw.get("format_version") != FORMAT_VERSION:
            raise BadModelError(
                f"contract format {raw.get('format_version')!r} is not {FORMAT_VERSION}; "
                "use the edgestep version that made this file, or export it again"
            )
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(raw) - known):
            raise BadModelError(
                f"{CONTRACT_FILE} has the unknown field {unknown[0]!r}; export the model again"
            )
        try:
            contract = cls(
                **{
                    **raw,
                    "inputs": tuple(spec_from_json(TensorSpec, spec) for spec in raw["inputs"]),
                    "outputs": tuple(spec_from_json(TensorSpec, spec) for spec in raw["outputs"]),
                    "states": tuple(spec_from_json(StateSpec, state) for state in raw["states"]),
                    "units": tuple(raw["units"]),
                    "channels": tuple(raw["channels"]),
                    "tolerance": Tolerance(**raw["tolerance"]),
                }
            )
        except KeyError as error:
            raise BadModelError(
                f"{CONTRACT_FILE} lacks the field {error}; export the model again"
            ) from error
        except (TypeError, ValueError, AttributeError) as error:
            raise BadModelError(
                f"{CONTRACT_FILE} is malformed: {error}; export the model again"
            ) from error
        try:
            contract.validate()
        except (TypeError, ValueError, OverflowError) as error:
            raise BadModelError(
                f"{CONTRACT_FILE} is malformed: frame_period_s, tolerance or initial: {error}; "
                "export the model again"
            ) from error
        return contract

    def validate(self) -> None:
        """Raise BadModelError, or what NumPy raises for values of a wrong type, unless the fields
        make a contract."""

        def require(condition: bool, what: str) -> None:
            if not condition:
                raise BadModelError(f"{CONTRACT_FILE}: {what}; export the model again")

        for side, specs, first in (
            ("input", self.inputs, INPUT_NAME),
            ("output", self.outputs, OUTPUT_NAME),
        ):
            require(len(specs) > 0, f"there is no {side}")
            require(specs[0].name == first, f"the first {side} must be called '{first}'")
        names = [spec.name for spec in (*self.inputs, *self.outputs, *self.states)]
        for name in names:
            require(isinstance(name, str) and name.isprintable(), f"{name!r} is no name")
        twice = next((name for name in names if names.count(name) > 1), None)
        require(twice is None, f"two inputs, outputs or states are called '{twice}'")
        for name in RESERVED_NAMES:
            require(name not in names, f"no input, output or state may be called '{name}'")
        for spec in self.inputs:
            require(
                spec.vocabulary is not None or not is_plain_integer(spec),
                f"input '{spec.name}' is {spec.dtype} without scale, but has no vocabulary",
            )
        for spec in (*self.outputs, *self.states):
            require(spec.vocabulary is None, f"'{spec.name}' has a vocabulary but is no input")
        for spec in self.outputs:
            require(not is_plain_integer(spec), f"output '{spec.name}' has no scale")
        for state in self.states:
            require(
                isinstance(state.period, int) and state.period > 0,
                f"state '{state.name}' has the period {state.period!r}",
            )
        require(
            math.lcm(1, *(state.period for state in self.states)) <= LONGEST_CYCLE,
            f"the states' periods make a cycle of more than {LONGEST_CYCLE} steps",
        )
        for spec in (*self.inputs, *self.outputs):
            require(len(spec.shape) > 0, f"'{spec.name}' is a single number without an axis")
        require(
            self.front_end is None or isinstance(self.front_end, dict),
            "front_end must be an object or null",
        )
        period = self.frame_period_s
        require(
            isinstance(period, (int, float)) and math.isfinite(period) and period > 0,
            "frame_period_s must be a positive number of seconds",
        )
        limits = asdict(self.tolerance).values()
        require(
            all(isinstance(value, (int, float)) and math.isfinite(value) for value in limits),
            "tolerance must hold finite numbers",
        )
        require(isinstance(self.metrics, dict), "metrics must be an object")
        for text in (self.task, self.cell, self.scheme, *self.channels):
            require(isinstance(text, str) and text.isprintable(), f"{text!r} is no name")
        require(isinstance(self.parameters, int), "parameters must be a whole number")
        for state in self.states:
            if not isinstance(state.initial, str):
                require(
                    len(state.initial) == math.prod(state.shape),
                    f"state '{state.name}' has {len(state.initial)} initial values "
                    f"for shape {state.shape}",
                )
                values = np.array(state.initial, np.float64)
                require(
                    bool(np.isfinite(values).all())
                    and (
                        np.dtype(state.dtype).kind == "f"
                        or np.array_equal(values, values.astype(state.dtype))
                    ),
                    f"initial values of state '{state.name}' do not fit {state.dtype}",
                )
            else:
                require(
                    state.initial == "zeros",
                    f"state '{state.name}' starts from the unknown '{state.initial}'",
                )
