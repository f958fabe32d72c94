"""The step contract: what a step model promises, read from the model file itself.

A step model is a TFLite flatbuffer with a ZIP appended (the TFLite Metadata convention for
associated files; interpreters ignore it) that holds

- ``contract.json``: the fields of :class:`Contract`;
- ``labels.txt``: one class name per line;
- ``golden.npz``: real sequences with the float model's outputs, to verify a device with.

The promise: signature ``step(x, state...) -> (y, state...)``; a state is paired by its name, and
its in and out tensors have the same shape, dtype, scale and zero point, so that the loop hands
the bytes on. Everything here is checked before a runtime sees the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.errors import BadInputError, BadModelError
from device_runner.flatbuffer import Graph, Tensor, read_graph

FORMAT_VERSION = 1
STEP_SIGNATURE = "step"
INPUT_NAME = "x"
OUTPUT_NAME = "y"
CONTRACT_FILE = "contract.json"
LABELS_FILE = "labels.txt"
GOLDEN_FILE = "golden.npz"
# Larger members are no contract of ours; the limit keeps a hostile ZIP from filling the memory.
MEMBER_LIMIT_BYTES = 64 * 1024 * 1024
# Asked for here because NumPy warns of it once a runtime has set the CPU to flush subnormal
# numbers to zero, as tflite-runtime does on Arm when it is imported.
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class TensorSpec:
    """A tensor at the model's border. ``scale`` and ``zero_point`` are None for float tensors:
    real = scale * (stored - zero_point)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None

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
    """A state. ``initial`` is "zeros" or the flat list of initial values in the stored dtype."""

    initial: str | tuple[float, ...] = "zeros"

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

    ``rms`` and ``max_abs`` are in units of the output; ``argmax_agreement`` is the share of steps
    whose largest output is the float model's.
    """

    rms: float
    max_abs: float
    argmax_agreement: float


@dataclass(frozen=True)
class Contract:
    """Everything a runner must know about a step model.

    ``frame_period_s`` is the time between two inputs in seconds, which is the deadline of a step.
    ``normalization`` (mean and standard deviation per channel) is already inside the step: it
    documents what was fitted. ``model_sha256`` is the hash of the flatbuffer alone.
    """

    input: TensorSpec
    output: TensorSpec
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
    format_version: int = FORMAT_VERSION

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
                    "input": _spec(TensorSpec, raw["input"]),
                    "output": _spec(TensorSpec, raw["output"]),
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
            contract._validate()
        except (TypeError, ValueError, OverflowError) as error:
            raise BadModelError(
                f"{CONTRACT_FILE} is malformed: frame_period_s, tolerance or initial: {error}; "
                "export the model again"
            ) from error
        return contract

    def _validate(self) -> None:
        def require(condition: bool, what: str) -> None:
            if not condition:
                raise BadModelError(f"{CONTRACT_FILE}: {what}; export the model again")

        require(self.input.name == INPUT_NAME, f"the input must be called '{INPUT_NAME}'")
        require(self.output.name == OUTPUT_NAME, f"the output must be called '{OUTPUT_NAME}'")
        names = [state.name for state in self.states]
        require(len(set(names)) == len(names), "two states have the same name")
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


def _spec(kind: type, raw: dict[str, Any]) -> Any:
    spec = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()})
    if not all(isinstance(n, int) and n > 0 for n in spec.shape):
        raise ValueError(f"tensor '{spec.name}' has the shape {spec.shape}")
    if np.dtype(spec.dtype).kind not in "fiu":
        raise ValueError(f"tensor '{spec.name}' has the dtype {spec.dtype}")
    if np.dtype(spec.dtype).kind != "f" and (not spec.scale or spec.zero_point is None):
        raise ValueError(f"tensor '{spec.name}' is {spec.dtype} without scale and zero point")
    return spec


@dataclass(frozen=True)
class Golden:
    """Real sequences with the float model's outputs: ``x`` [steps, inputs] and ``y``
    [steps, outputs], both float32 in real units; ``lengths`` cuts them into sequences, and the
    state is reset before each."""

    x: np.ndarray
    y: np.ndarray
    lengths: tuple[int, ...]


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
        labels = tuple(_text(members, LABELS_FILE).splitlines())
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
    signature = graph.signature(STEP_SIGNATURE)
    if signature.subgraph != 0:
        raise BadModelError("the step signature is not the first subgraph; export it again")
    names = {state.name for state in contract.states}
    for side, tensors, border in (
        ("inputs", signature.inputs, INPUT_NAME),
        ("outputs", signature.outputs, OUTPUT_NAME),
    ):
        if set(tensors) != names | {border}:
            raise BadModelError(
                f"unpaired states: the step's {side} are {sorted(tensors)}, "
                f"the contract names {sorted(names | {border})}; export the model again"
            )
        if len(set(tensors.values())) != len(tensors):
            raise BadModelError(f"two {side} of the step are one tensor; export the model again")
    for index in (*signature.inputs.values(), *signature.outputs.values()):
        tensor = graph.tensors[index]
        if tensor.constant_bytes or not tensor.static_shape:
            raise BadModelError(
                f"tensor '{tensor.name}' at the step's border is constant or of dynamic shape; "
                "export the model again"
            )
    _check_tensor(contract.input, graph.tensors[signature.inputs[INPUT_NAME]], "input")
    _check_tensor(contract.output, graph.tensors[signature.outputs[OUTPUT_NAME]], "output")
    for state in contract.states:
        _check_tensor(state, graph.tensors[signature.inputs[state.name]], "state-in")
        _check_tensor(state, graph.tensors[signature.outputs[state.name]], "state-out")


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
            x, y = (arrays[name].astype(np.float32) for name in (INPUT_NAME, OUTPUT_NAME))
            lengths = tuple(int(n) for n in arrays["lengths"])
    except Exception as error:  # NumPy's readers raise a dozen types for damaged data
        reason = " ".join(str(error).split())
        raise BadModelError(
            f"{GOLDEN_FILE} cannot be read ({reason}); export the model again"
        ) from error
    if not lengths or min(lengths) < 1:
        raise BadModelError(f"{GOLDEN_FILE} has an empty sequence; export the model again")
    for name, array, spec in (("x", x, contract.input), ("y", y, contract.output)):
        if array.shape != (sum(lengths), spec.shape[-1]) or not np.isfinite(array).all():
            raise BadModelError(
                f"{GOLDEN_FILE}: {name} has shape {array.shape} or holds NaN; "
                f"expected ({sum(lengths)}, {spec.shape[-1]}); export the model again"
            )
    return Golden(x, y, lengths)


def check_values(x: np.ndarray, inputs: int, what: str = "input") -> np.ndarray:
    """A sequence of inputs as float32 [steps, inputs].

    Raises:
        BadInputError: wrong rank or width, not a number, NaN or infinite.
    """
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise BadInputError(f"{what} is no array of numbers ({error})") from error
    if array.dtype.kind not in "fiub":
        raise BadInputError(f"{what} has dtype {array.dtype}; numbers are needed")
    if array.ndim != 2 or array.shape[1] != inputs:
        raise BadInputError(
            f"{what} has shape {array.shape}; the model takes [steps, {inputs}] values"
        )
    bad = ~np.isfinite(array)
    if bad.any():
        step, channel = np.argwhere(bad)[0]
        raise BadInputError(
            f"{what} holds {array[step, channel]} at step {step}, channel {channel}; "
            "clean the data first"
        )
    if np.abs(array).max(initial=0) > LARGEST_FLOAT32:
        raise BadInputError(f"{what} holds values beyond float32; clean the data first")
    return array.astype(np.float32)
