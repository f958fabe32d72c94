"""The step contract: what a step model promises, read from the model file itself.

A step model is a TFLite flatbuffer with a ZIP appended (the TFLite Metadata convention for
associated files; interpreters ignore it) that holds

- ``contract.json``: the fields of :class:`Contract`;
- ``labels.txt``: one class name per line;
- ``golden.npz``: real sequences with the float model's outputs, to verify a device with.

The promise: signature ``step(x, state...) -> (y, state...)``, perhaps with further inputs and
outputs under names of their own; a state is paired by its name, and its in and out tensors have
the same shape, dtype, scale and zero point, so that the loop hands the bytes on. Everything here
is checked before a runtime sees the file.

Where states have a ``period`` (a hierarchical recurrence), ``step`` updates all of them and is
called at the steps that every period divides; for the other steps of a cycle there are signatures
``step_N`` on the same weights, which take the states that they need and give those that are due.

A frame as bytes is all inputs' bytes one after another in the contract's order; what a step gives
as bytes is all outputs' likewise.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.errors import BadInputError, BadModelError
from device_runner.model.flatbuffer import Graph, Tensor, read_graph

FORMAT_VERSION = 2
STEP_SIGNATURE = "step"
INPUT_NAME = "x"
OUTPUT_NAME = "y"
CONTRACT_FILE = "contract.json"
LABELS_FILE = "labels.txt"
GOLDEN_FILE = "golden.npz"
# The array of a golden file that is no input or output.
GOLDEN_LENGTHS = "lengths"
# np.savez takes "file" for its own argument.
# Among a stream's states the place in the cycle of its next step, where there are several phases.
PHASE_NAME = "phase"
RESERVED_NAMES = (GOLDEN_LENGTHS, "file", PHASE_NAME)
# Integers that hold ids, positions or counts, not quantized real values.
PLAIN_INTEGERS = ("int32", "int64")
# Operators behind which a token's id is the same number.
PASSING_IDS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "STRIDED_SLICE", "SLICE", "CAST")
TOKEN_DTYPE, TOKEN_SHAPE = "int32", (1, 1)
# Larger members are no contract of ours; the limit keeps a hostile ZIP from filling the memory.
MEMBER_LIMIT_BYTES = 64 * 1024 * 1024
# In which all periods of a hierarchical recurrence end together.
LONGEST_CYCLE = 256
# What all tensors of a step take; the memory of a small device is far below.
TENSOR_LIMIT_BYTES = 1024 * 1024 * 1024
# Asked for here because NumPy warns of it once a runtime has set the CPU to flush subnormal
# numbers to zero, as tflite-runtime does on Arm when it is imported.
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class TensorSpec:
    """A tensor at the model's border. ``scale`` and ``zero_point`` are None for float tensors:
    real = scale * (stored - zero_point).

    With ``vocabulary`` it is an input of token ids in [0, vocabulary): int32 of shape [1, 1],
    without a scale, in every scheme."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None
    vocabulary: int | None = None

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one step's values: the tensor's without the batch of 1 in front."""
        return self.shape[1:] if len(self.shape) > 1 and self.shape[0] == 1 else self.shape

    @property
    def byte_count(self) -> int:
        """Size of the tensor's data in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """Real values to the tensor's stored dtype, rounded to nearest and saturated."""
        if self.scale is None or self.zero_point is None:
            return np.asarray(values, self.dtype)
        limits = np.iinfo(self.dtype)
        stored = np.rint(np.asarray(values) / np.float32(self.scale)) + self.zero_point
        return np.clip(stored, limits.min, limits.max).astype(self.dtype)

    def dequantize(self, stored: np.ndarray) -> np.ndarray:
        """Stored values to real float32 values."""
        if self.scale is None or self.zero_point is None:
            return stored.astype(np.float32)
        return (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)


@dataclass(frozen=True)
class StateSpec(TensorSpec):
    """A state, of any static shape. ``initial`` is "zeros" or the flat list of initial values in
    the stored dtype. An int32 or int64 state may be without a scale: a position or a count. It is
    updated at the steps 0, ``period``, 2 * ``period``... of a sequence."""

    initial: str | tuple[float, ...] = "zeros"
    period: int = 1

    def initial_bytes(self) -> bytes:
        """The state at the start of a sequence, as the bytes to write into its input tensor."""
        if isinstance(self.initial, str):
            values = np.full(self.shape, self.zero_point or 0, self.dtype)
        else:
            values = np.array(self.initial, self.dtype).reshape(self.shape)
        return values.tobytes()


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
                    "inputs": tuple(_spec(TensorSpec, spec) for spec in raw["inputs"]),
                    "outputs": tuple(_spec(TensorSpec, spec) for spec in raw["outputs"]),
                    "states": tuple(_spec(StateSpec, state) for state in raw["states"]),
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
                spec.vocabulary is not None or not _is_plain_integer(spec),
                f"input '{spec.name}' is {spec.dtype} without scale, but has no vocabulary",
            )
        for spec in (*self.outputs, *self.states):
            require(spec.vocabulary is None, f"'{spec.name}' has a vocabulary but is no input")
        for spec in self.outputs:
            require(not _is_plain_integer(spec), f"output '{spec.name}' has no scale")
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


def phase_bytes(phase: int) -> bytes:
    """A step's number within the cycle as a state's bytes."""
    return phase.to_bytes(4, "little")


def phase_signatures(periods: Mapping[str, int]) -> tuple[str, ...]:
    """The signature of each step of a cycle, from the states' periods: "step" where all states
    are updated, otherwise "step_N" with the first step N at which the same states are."""
    cycle = math.lcm(1, *periods.values())
    first: dict[frozenset[str], str] = {frozenset(periods): STEP_SIGNATURE}
    names = []
    for phase in range(cycle):
        due = frozenset(name for name, period in periods.items() if phase % period == 0)
        names.append(first.setdefault(due, f"{STEP_SIGNATURE}_{phase}"))
    return tuple(names)


def _spec(kind: type, raw: dict[str, Any]) -> Any:
    spec = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()})
    if not all(isinstance(n, int) and n > 0 for n in spec.shape):
        raise ValueError(f"tensor '{spec.name}' has the shape {spec.shape}")
    if np.dtype(spec.dtype).kind not in "fiu":
        raise ValueError(f"tensor '{spec.name}' has the dtype {spec.dtype}")
    if spec.vocabulary is not None:
        known = isinstance(spec.vocabulary, int) and spec.vocabulary > 0
        if not known or (spec.dtype, spec.shape, spec.scale) != (TOKEN_DTYPE, TOKEN_SHAPE, None):
            raise ValueError(
                f"tensor '{spec.name}' has a vocabulary of {spec.vocabulary}; token ids are "
                f"{TOKEN_DTYPE} of shape {TOKEN_SHAPE} without scale, of a vocabulary of 1 or more"
            )
    unscaled = not spec.scale or spec.zero_point is None
    if np.dtype(spec.dtype).kind != "f" and unscaled and not _is_plain_integer(spec):
        raise ValueError(f"tensor '{spec.name}' is {spec.dtype} without scale and zero point")
    return spec


def _is_plain_integer(spec: TensorSpec) -> bool:
    return spec.scale is None and spec.zero_point is None and spec.dtype in PLAIN_INTEGERS


@dataclass(frozen=True)
class Golden:
    """Real sequences with the float model's outputs, by name in the contract's order: each
    [steps, *frame shape], float32 in real units, or int32 [steps, 1] token ids. ``lengths`` cuts
    them into sequences, and the state is reset before each."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    lengths: tuple[int, ...]

    @property
    def x(self) -> np.ndarray:
        """The first input, [steps, inputs]."""
        return self.inputs[INPUT_NAME]

    @property
    def y(self) -> np.ndarray:
        """The first output, [steps, outputs]."""
        return self.outputs[OUTPUT_NAME]

    @property
    def steps(self) -> int:
        """Number of steps in all sequences."""
        return sum(self.lengths)

    def sequences(self) -> list[dict[str, np.ndarray]]:
        """The inputs of each sequence by name."""
        ends = np.cumsum(self.lengths)
        return [
            {name: values[end - length : end] for name, values in self.inputs.items()}
            for length, end in zip(self.lengths, ends, strict=True)
        ]


@dataclass(frozen=True)
class StepModel:
    """A step model file, checked: ``flatbuffer`` is what a runtime loads."""

    path: Path
    flatbuffer: bytes
    file_bytes: int
    graph: Graph
    contract: Contract
    labels: tuple[str, ...]
    golden: Golden

    @property
    def sha256(self) -> str:
        """Hash of the flatbuffer, by which results name the model."""
        return self.contract.model_sha256

    def require_one_phase(self, reader: str) -> None:
        """Raise BadModelError for a reader that knows the signature "step" alone."""
        if len(self.contract.phases) > 1:
            raise BadModelError(
                f"{self.path} has a signature for each phase of its slow recurrence, which "
                f"{reader} cannot choose from; step it with litert, tflite-runtime, tensorflow "
                "or reference, or train it with periods of 1"
            )

    @functools.cached_property
    def phase_graphs(self) -> dict[str, Graph]:
        """The graph of each signature that steps, by its name."""
        return phase_graphs(self.flatbuffer, self.graph, self.contract)


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a model file; BadModelError where it cannot be read or is empty."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise BadModelError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise BadModelError(f"{path} is a folder; name a .tflite file in it") from None
    except OSError as error:
        raise BadModelError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    if not data:
        raise BadModelError(f"{path} is empty; export or copy it again")
    return data


def load_step_model(path: str | Path) -> StepModel:
    """Read a step model file and hold it against its contract.

    Raises:
        BadModelError: the file is missing, damaged, has no contract, or the contract does not
            fit the tensors; the message begins with the path.
    """
    data = read_bytes(path)
    try:
        read_graph(data)
        flatbuffer, members = split_package(data)
        graph = read_graph(flatbuffer)
        contract = Contract.from_json(_text(members, CONTRACT_FILE))
        digest = hashlib.sha256(flatbuffer).hexdigest()
        if digest != contract.model_sha256:
            raise BadModelError(
                "the model's bytes are not those that the contract was made for "
                "(SHA-256 differs); export or copy it again"
            )
        check_contract(graph, contract)
        check_phases(phase_graphs(flatbuffer, graph, contract), contract)
        # Not splitlines(): a label may hold what that takes for the end of a line.
        labels = tuple(_text(members, LABELS_FILE).removesuffix("\n").split("\n"))
        if len(labels) != contract.output.shape[-1]:
            raise BadModelError(
                f"{len(labels)} labels for {contract.output.shape[-1]} outputs; "
                "export the model again"
            )
        golden = _golden(members, contract)
    except BadModelError as error:
        raise BadModelError(f"{path}: {error.message}") from error
    return StepModel(Path(path), flatbuffer, len(data), graph, contract, labels, golden)


def split_package(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Cut a step model file into the flatbuffer and the members of the appended ZIP."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            start = min((info.header_offset for info in infos), default=len(data))
            members = {}
            for info in infos:
                if info.filename not in (CONTRACT_FILE, LABELS_FILE, GOLDEN_FILE):
                    continue
                if info.file_size > MEMBER_LIMIT_BYTES:
                    raise BadModelError(
                        f"the contract's {info.filename} would unpack to {info.file_size} bytes; "
                        "this is no step model; make step models with 'edgestep run'"
                    )
                with archive.open(info) as member:
                    # Never more than declared, whatever the compressed data says.
                    members[info.filename] = member.read(info.file_size)
    except BadModelError:
        raise
    except (
        zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError
    ) as error:  # fmt: skip
        raise BadModelError(
            f"no step contract in the file ({error}); "
            "make step models with 'edgestep run', and copy them whole"
        ) from error
    except Exception as error:  # zlib.error has no public base class
        if type(error).__module__ != "zlib":
            raise
        raise BadModelError(f"the step contract is damaged ({error}); copy it again") from error
    return data[:start], members


def check_contract(graph: Graph, contract: Contract) -> None:
    """Assert that the tensors keep the contract's promise.

    Raises:
        BadModelError: a name, shape, dtype, scale or zero point differs, or a state is unpaired.
    """
    _check_size(graph)
    signature = graph.signature(STEP_SIGNATURE)
    if signature.subgraph != 0:
        raise BadModelError("the step signature is not the first subgraph; export it again")
    states = {state.name for state in contract.states}
    for side, tensors, border in (
        ("inputs", signature.inputs, contract.inputs),
        ("outputs", signature.outputs, contract.outputs),
    ):
        names = states | {spec.name for spec in border}
        if set(tensors) != names:
            raise BadModelError(
                f"unpaired states: the step's {side} are {sorted(tensors)}, "
                f"the contract names {sorted(names)}; export the model again"
            )
        if len(set(tensors.values())) != len(tensors):
            raise BadModelError(f"two {side} of the step are one tensor; export the model again")
    for index in (*signature.inputs.values(), *signature.outputs.values()):
        _check_border(graph.tensors[index])
    for spec in contract.inputs:
        _check_tensor(spec, graph.tensors[signature.inputs[spec.name]], "input")
        if spec.vocabulary is not None:
            _check_tables(graph, signature.inputs[spec.name], spec)
    for spec in contract.outputs:
        _check_tensor(spec, graph.tensors[signature.outputs[spec.name]], "output")
    for state in contract.states:
        _check_tensor(state, graph.tensors[signature.inputs[state.name]], "state-in")
        _check_tensor(state, graph.tensors[signature.outputs[state.name]], "state-out")


def phase_graphs(flatbuffer: bytes, graph: Graph, contract: Contract) -> dict[str, Graph]:
    """The graph of each of the contract's phases by its signature; ``graph`` is that of "step".

    Raises:
        BadModelError: a signature is missing, or a graph is damaged.
    """
    others = {
        name: read_graph(flatbuffer, graph.signature(name).subgraph)
        for name in dict.fromkeys(contract.phases)
        if name != STEP_SIGNATURE
    }
    return {STEP_SIGNATURE: graph, **others}


def check_phases(graphs: Mapping[str, Graph], contract: Contract) -> None:
    """Assert that each phase takes and gives what the contract says, in the same tensors as "step".

    Raises:
        BadModelError: an input, output or due state is missing, or one differs.
    """
    inputs = {spec.name: spec for spec in (*contract.inputs, *contract.states)}
    phases = contract.phases
    for name, graph in graphs.items():
        _check_size(graph)
        signature = graph.signature(name)
        phase = phases.index(name)
        due = [state for state in contract.states if phase % state.period == 0]
        given = {spec.name: spec for spec in (*contract.outputs, *due)}
        if not set(signature.inputs) <= set(inputs) or set(signature.outputs) != set(given):
            raise BadModelError(
                f"signature '{name}' takes {sorted(signature.inputs)} and gives "
                f"{sorted(signature.outputs)}, not what the contract says; export the model again"
            )
        for side, indices, specs in (
            ("input", signature.inputs, inputs),
            ("output", signature.outputs, given),
        ):
            if len(set(indices.values())) != len(indices):
                raise BadModelError(f"two {side}s of '{name}' are one tensor; export it again")
            for key, index in indices.items():
                _check_border(graph.tensors[index])
                _check_tensor(specs[key], graph.tensors[index], f"{name}'s {side}")


def _check_tables(graph: Graph, index: int, spec: TensorSpec) -> None:
    """Every table that a token's id chooses from must have a row for each id: a runtime fails, or
    reads beyond the table, in the middle of a stream."""
    ids = {index}
    for operator in graph.operators:
        if operator.name in PASSING_IDS and operator.inputs[0] in ids:
            ids.update(operator.outputs)
        if operator.name == "GATHER" and operator.inputs[1] in ids:
            table = graph.tensors[operator.inputs[0]].shape
            axis = int(operator.options.get("axis", 0))
            if not -len(table) <= axis < len(table) or table[axis] < (spec.vocabulary or 0):
                raise BadModelError(
                    f"input '{spec.name}' has a vocabulary of {spec.vocabulary}, its table is of "
                    f"shape {table}; export the model again"
                )


def _check_size(graph: Graph) -> None:
    needed = sum(max(0, tensor.byte_count or 0) for tensor in graph.tensors)
    if needed > TENSOR_LIMIT_BYTES:
        raise BadModelError(
            f"its tensors take {needed:,} bytes, a step model's {TENSOR_LIMIT_BYTES:,} at most; "
            "export or copy it again"
        )


def _check_border(tensor: Tensor) -> None:
    if tensor.constant_bytes or not tensor.static_shape:
        raise BadModelError(
            f"tensor '{tensor.name}' at the step's border is constant or of dynamic shape; "
            "export the model again"
        )


def _check_tensor(spec: TensorSpec, tensor: Tensor, role: str) -> None:
    found: dict[str, Any] = {
        "shape": tensor.shape,
        "dtype": tensor.dtype,
        "scale": tensor.scales[0] if tensor.scales else None,
        "zero point": tensor.zero_points[0] if tensor.zero_points else None,
    }
    promised: dict[str, Any] = {
        "shape": spec.shape,
        "dtype": spec.dtype,
        "scale": spec.scale,
        "zero point": spec.zero_point,
    }
    for what, value in found.items():
        if value != promised[what]:
            raise BadModelError(
                f"{role} '{spec.name}' has {what} {value}, the contract says {promised[what]}; "
                "export the model again"
            )


def _text(members: dict[str, bytes], name: str) -> str:
    if name not in members:
        raise BadModelError(f"no {name} in the file; make step models with 'edgestep run'")
    try:
        return members[name].decode()
    except UnicodeDecodeError as error:
        raise BadModelError(f"{name} is not text ({error}); export the model again") from error


def _golden(members: dict[str, bytes], contract: Contract) -> Golden:
    if GOLDEN_FILE not in members:
        raise BadModelError(f"no {GOLDEN_FILE} in the file; export the model again")
    try:
        with np.load(io.BytesIO(members[GOLDEN_FILE]), allow_pickle=False) as arrays:
            inputs, outputs = (
                {spec.name: _golden_values(arrays[spec.name], spec) for spec in specs}
                for specs in (contract.inputs, contract.outputs)
            )
            lengths = tuple(int(n) for n in arrays[GOLDEN_LENGTHS])
    except Exception as error:  # NumPy's readers raise a dozen types for damaged data
        reason = " ".join(str(error).split())
        raise BadModelError(
            f"{GOLDEN_FILE} cannot be read ({reason}); export the model again"
        ) from error
    if not lengths or min(lengths) < 1:
        raise BadModelError(f"{GOLDEN_FILE} has an empty sequence; export the model again")
    for spec in (*contract.inputs, *contract.outputs):
        array = {**inputs, **outputs}[spec.name]
        expected = (sum(lengths), *spec.frame_shape)
        if array.shape != expected or not np.isfinite(array).all():
            raise BadModelError(
                f"{GOLDEN_FILE}: {spec.name} has shape {array.shape} or holds NaN; "
                f"expected {expected}; export the model again"
            )
        if spec.vocabulary is not None and not _in_vocabulary(array, spec.vocabulary):
            raise BadModelError(
                f"{GOLDEN_FILE}: {spec.name} holds ids outside of the vocabulary of "
                f"{spec.vocabulary}; export the model again"
            )
    return Golden(inputs, outputs, lengths)


def _golden_values(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    return array.astype(np.float32 if spec.vocabulary is None else TOKEN_DTYPE)


def _in_vocabulary(ids: np.ndarray, vocabulary: int) -> bool:
    return not ids.size or bool(ids.min() >= 0 and ids.max() < vocabulary)


def check_values(x: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """A sequence of an input's frames: float32 [steps, *frame shape] in real units, or, of token
    ids, int32 [steps, 1].

    Raises:
        BadInputError: wrong rank or width, not a number, NaN or infinite, or no id of the
            vocabulary.
    """
    what = "input" if spec.name == INPUT_NAME else f"input '{spec.name}'"
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise BadInputError(f"{what} is no array of numbers ({error})") from error
    kinds, content = ("iu", "token ids (integers)") if spec.vocabulary else ("fiub", "numbers")
    if array.dtype.kind not in kinds:
        raise BadInputError(f"{what} has dtype {array.dtype}; {content} are needed")
    if array.ndim != 1 + len(spec.frame_shape) or array.shape[1:] != spec.frame_shape:
        expected = ", ".join(["steps", *map(str, spec.frame_shape)])
        raise BadInputError(
            f"{what} has shape {array.shape}; the model takes [{expected}] "
            f"{'token ids' if spec.vocabulary else 'values'}"
        )
    if spec.vocabulary is not None:
        wrong = (array < 0) | (array >= spec.vocabulary)
        if wrong.any():
            step = int(np.argwhere(wrong)[0][0])
            raise outside_vocabulary(array[step, 0], spec, f" at step {step}")
        return array.astype(TOKEN_DTYPE)
    bad = ~np.isfinite(array)
    if bad.any():
        step, *channel = (int(position) for position in np.argwhere(bad)[0])
        place = channel[0] if len(channel) == 1 else tuple(channel)
        raise BadInputError(
            f"{what} holds {array[(step, *channel)]} at step {step}, channel {place}; "
            "clean the data first"
        )
    if np.abs(array).max(initial=0) > LARGEST_FLOAT32:
        raise BadInputError(f"{what} holds values beyond float32; clean the data first")
    return array.astype(np.float32)


def outside_vocabulary(token: Any, spec: TensorSpec, where: str = "") -> BadInputError:
    """The error for a token id that is not in an input's vocabulary."""
    return BadInputError(
        f"input '{spec.name}' holds the token id {token}{where}; the vocabulary's ids are 0 to "
        f"{(spec.vocabulary or 0) - 1}, encode the text as for training"
    )


def check_inputs(x: Any, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Sequences of all inputs by name, checked as :func:`check_values`.

    Args:
        x: what :meth:`device_runner.stream.Stream.run` takes: an array where there is one input;
            otherwise arrays by name, or a tuple of them in the contract's order.

    Raises:
        BadInputError: an input is missing, unknown, wrong, or not as long as the others.
    """
    values = {
        spec.name: check_values(value, spec)
        for spec, value in zip(specs, by_input(x, specs), strict=True)
    }
    lengths = {name: len(array) for name, array in values.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"'{name}' {length}" for name, length in lengths.items())
        raise BadInputError(f"the inputs have not equally many steps: {told}")
    return values


def by_input(x: Any, specs: Sequence[TensorSpec]) -> Sequence[Any]:
    """What belongs to each input, in the contract's order, of what a user gave for all.

    Raises:
        BadInputError: there are several inputs and ``x`` is neither a dict nor a tuple of them, or
            one is missing or unknown.
    """
    names = [spec.name for spec in specs]
    if isinstance(x, Mapping):
        if set(x) != set(names):
            raise BadInputError(
                f"inputs {', '.join(map(str, x)) or 'none'} given; the model takes "
                f"{', '.join(names)}"
            )
        return [x[name] for name in names]
    if len(specs) == 1:
        return [x]
    if not isinstance(x, tuple | list) or len(x) != len(specs):
        raise BadInputError(
            f"the model has the inputs {', '.join(names)}; give a dict by name or a tuple of "
            f"{len(names)}"
        )
    return x


def stored_frames(values: Mapping[str, np.ndarray], specs: Sequence[TensorSpec]) -> list[bytes]:
    """Each step's frame as bytes, of checked sequences of all inputs."""
    columns = [spec.quantize(values[spec.name]) for spec in specs]
    if len(columns) == 1:
        return [frame.tobytes() for frame in columns[0]]
    return [b"".join(frame.tobytes() for frame in frames) for frames in zip(*columns, strict=True)]
