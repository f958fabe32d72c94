"""The step contract: what a step model promises, as JSON in the model file itself.

The promise is a signature ``step(x, state...) -> (y, state...)``, perhaps with further named inputs
and outputs. A state's input and output have the same name, shape, dtype, scale and zero point, so
that the loop can hand the bytes on. For states that are not updated at every step, see
:mod:`device_runner.model.phases`; for models that answer for their last frames,
:mod:`device_runner.model.window`.

A frame as bytes is the bytes of all inputs one after another, in the contract's order. The bytes of
a step's outputs are likewise.

Format 3 added ``window``; a contract of format 2 is read as one without. Format 4 added ``rows``;
earlier ones are read as one row, and one row is written as format 3, which earlier runners read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from device_runner import strict_json
from device_runner.errors import BadModelError
from device_runner.model.contract_checks import CONTRACT_FILE as CONTRACT_FILE
from device_runner.model.contract_checks import check_fields
from device_runner.model.names import PHASE_NAME
from device_runner.model.phases import phase_bytes, phase_signatures
from device_runner.model.tensor_spec import StateSpec, TensorSpec, spec_from_json
from device_runner.model.window import Window, window_from_json

FORMAT_VERSION = 4
# The formats before it, and the fields that each lacks.
EARLIER_FORMATS = {3: ("rows",), 2: ("rows", "window")}
# The newest one without rows.
ONE_ROW_FORMAT = 3


@dataclass(frozen=True)
class Tolerance:
    """How far a runtime's outputs may be from the float model's on the golden sequences.

    Args:
        rms: root mean square of the errors, in units of the first output. The errors of further
            outputs are scaled by how much smaller or larger their golden values' spread is than
            the first output's.
        argmax_agreement: share, from 0 to 1, of the steps at which the largest value of the first
            output is the same one as the float model's. Ties of the float model do not count.
    """

    rms: float
    max_abs: float
    argmax_agreement: float


@dataclass(frozen=True)
class Contract:
    """Everything a runner must know about a step model.

    Args:
        inputs: the first is called "x", others have the model's own names.
        outputs: the first is called "y", others have the model's own names.
        states: in the order in which a saved state holds them.
        task: name of the task that the model was trained for.
        cell: name of its recurrent cell.
        units: units of each recurrent layer.
        scheme: how its numbers are stored, such as "int8".
        frame_period_s: time between two inputs in seconds, which is the deadline of a step.
        frame_period_source: where the frame period comes from.
        channels: a name for each value of x.
        input_units: what the values of x are measured in.
        output_meaning: "logits", "values", or "transcript" (logits of labels that come one after
            another, see device_runner.transcription); what was imported may give "probabilities".
        normalization: "mean" and "deviation" per channel of x, for the record; the step itself
            normalizes.
        metrics: what was measured, such as the accuracy, by name.
        parameters: number of trained weights.
        tolerance: how far a runtime may be from the float model.
        model_sha256: hash of the flatbuffer alone.
        recipe_hash: hash of the recipe that made it, or "".
        versions: versions of the packages that made it, by name.
        front_end: how raw input (text, sound) becomes the frames of x, as JSON; None if x is the
            raw input.
        window: for which frames the model answers, and how; None if it answers each frame for all
            frames since the reset.
        first_phase: the step of the cycle that a sequence begins with, if there are several phases.
        rows: of every input, output and state: independent streams that one call steps
            (:mod:`device_runner.model.rows`).
        format_version: version of these fields' format.

    Example:
        >>> contract = Contract(
        ...     inputs=(TensorSpec("x", (1, 2), "float32"),),
        ...     outputs=(TensorSpec("y", (1, 3), "float32"),),
        ...     states=(
        ...         StateSpec("h", (1, 4), "float32"),
        ...         StateSpec("slow", (1, 4), "float32", period=2),
        ...     ),
        ...     task="gestures", cell="gru", units=(4,), scheme="float32", frame_period_s=0.02,
        ...     frame_period_source="50 Hz sensor", channels=("left", "right"), input_units="m/s^2",
        ...     output_meaning="logits", normalization={}, metrics={"accuracy": 0.9},
        ...     parameters=300, tolerance=Tolerance(1e-4, 1e-3, 1.0), model_sha256="",
        ... )
        >>> contract.phases
        ('step', 'step_1')
        >>> Contract.from_json(contract.to_json()) == contract
        True
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
    window: Window | None = None
    first_phase: int = 0
    rows: int = 1
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
    def answers(self) -> tuple[TensorSpec, ...]:
        """The outputs as one answer has them: a single row if the model has lanes."""
        if self.window is None or not self.window.lanes:
            return self.outputs
        return tuple(replace(spec, shape=(1, *spec.shape[1:])) for spec in self.outputs)

    def of_rows(self, rows: int) -> Contract:
        """Return the contract of the same step with another number of rows; the hash stays."""
        if rows == self.rows:
            return self
        return replace(
            self,
            rows=rows,
            inputs=tuple(spec.of_rows(self.rows, rows) for spec in self.inputs),
            outputs=tuple(spec.of_rows(self.rows, rows) for spec in self.outputs),
            states=tuple(state.of_rows(self.rows, rows) for state in self.states),
        )

    @property
    def phases(self) -> tuple[str, ...]:
        """The signature of each step of a cycle.

        That of step t is phases[(first_phase + t) % len(phases)]."""
        return phase_signatures({state.name: state.period for state in self.states})

    def initial_state(self) -> dict[str, bytes]:
        """Return the state that a sequence starts from, as stored, by state name.

        With several phases it also holds the number of the next one, under PHASE_NAME; with a
        window, that of the next frame.
        """
        counts = self.window is not None or len(self.phases) > 1
        phase = {PHASE_NAME: phase_bytes(self.first_phase)} if counts else {}
        return {**{state.name: state.initial_bytes() for state in self.states}, **phase}

    def to_json(self) -> str:
        """Return the text of ``contract.json``.

        Metrics that are not finite become null; the metric "not_finite" says what they were.

        Raises:
            BadModelError: another number is not finite.
        """
        metrics, replaced = strict_json.finite(self.metrics)
        facts = asdict(self)
        if self.rows == 1:
            del facts["rows"]
            facts["format_version"] = ONE_ROW_FORMAT
        facts["metrics"] = {**metrics, "not_finite": replaced} if replaced else metrics
        rest, wrong = strict_json.finite(facts)
        if wrong:
            raise BadModelError(
                f"the contract cannot hold what is not a finite number: {', '.join(wrong)}; clean "
                "the data, or train the model again"
            )
        return json.dumps(rest, separators=(",", ":"), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Parse and validate ``contract.json``.

        Raises:
            BadModelError: a field is wrong; the message names it.
        """
        raw = _checked_object(text)
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
                    "window": window_from_json(raw.get("window")),
                    "format_version": FORMAT_VERSION,
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
        """Check that the fields make a contract.

        Raises:
            BadModelError: a field does not fit the others.
            TypeError, ValueError, OverflowError: as NumPy raises them for values of a wrong type.
        """
        check_fields(self)


def _checked_object(text: str) -> dict[str, Any]:
    """Parse the fields in ``contract.json`` and check its format version and their names."""
    try:
        raw = strict_json.loads(text)
    except ValueError as error:
        raise BadModelError(
            f"{CONTRACT_FILE} is not JSON ({error}); export the model again"
        ) from error
    if not isinstance(raw, dict):
        raise BadModelError(f"{CONTRACT_FILE} holds no object; export the model again")
    version = raw.get("format_version")
    lacking = EARLIER_FORMATS.get(version, ()) if isinstance(version, int) else ()
    if newer := [name for name in lacking if name in raw]:
        raise BadModelError(
            f"{CONTRACT_FILE} has the unknown field '{newer[0]}'; export the model again"
        )
    if version != FORMAT_VERSION and not lacking:
        raise BadModelError(
            f"contract format {version!r} is not {FORMAT_VERSION}; "
            "use the edgestep version that made this file, or export it again"
        )
    known = {item.name for item in fields(Contract)}
    if unknown := sorted(set(raw) - known):
        raise BadModelError(
            f"{CONTRACT_FILE} has the unknown field {unknown[0]!r}; export the model again"
        )
    return raw
