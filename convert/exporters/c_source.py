"""Fill the C templates beside this file with a step model.

All C code is in ``c_templates``. This module translates a model into C's terms: names, types,
literals and tensor numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
import numpy as np

from convert.errors import NotExportableError
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.model.stored_frames import stored_frames
from device_runner.model.tensor_spec import StateSpec, TensorSpec

#: The C type of each dtype that a tensor may have.
C_TYPES = {
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t",
    "int64": "int64_t", "float32": "float",
}  # fmt: skip
BYTES_A_LINE = 16

# Names of TensorFlow Lite Micro's MicroMutableOpResolver that are not the operators' names
# in camel case.
_RESOLVER_NAMES = {
    "ARG_MAX": "ArgMax", "AVERAGE_POOL_2D": "AveragePool2D", "BATCH_MATMUL": "BatchMatMul",
    "CONV_2D": "Conv2D", "CUMSUM": "CumSum", "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "MAX_POOL_2D": "MaxPool2D", "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}  # fmt: skip
# What each template's file is called, after the prefix.
_FILES = ("model.c", "step.h", "step.c", "tflm.cc")


@dataclass(frozen=True)
class CGrid:
    """How a tensor of quantized values is stored, as literals of C: the stored value is
    real / scale + zero point, between the lowest and the highest."""

    scale: str
    zero_point: str
    lowest: str
    highest: str


@dataclass(frozen=True)
class CTensor:
    """A tensor of the step as the templates see it.

    Attributes:
        name: in C.
        macro: prefix of its macros' names.
        type: C type of the stored values.
        real_type: C type of the values in real units.
        size: number of values; of an output, those of one answer.
        row: number of values in one lane of a model with a window; otherwise all.
        grid: None where the values are stored as they are.
        number_in, number_out: the tensor's position among the graph's inputs and outputs; None
            if it is not on that side.
        initial: a state's initial values, as literals; empty if all are zero. With lanes, those
            of one.
        zero: the literal that stores zero.
    """

    name: str
    macro: str
    type: str
    real_type: str
    size: int
    row: int
    grid: CGrid | None
    number_in: int | None
    number_out: int | None
    initial: tuple[str, ...]
    zero: str


def c_texts(model: StepModel, prefix: str, arena: int, version: str) -> dict[str, str]:
    """Return the C texts by file name.

    Args:
        model: a step model.
        prefix: prefix of all C names.
        arena: memory that the interpreter needs, in bytes.
        version: the version of tflite-micro that ``arena`` was measured with.

    Raises:
        NotExportableError: two tensors have the same name in C, or C has no type for one.
    """
    contract, graph = model.contract, model.graph
    tensors = _tensors(model, prefix)
    inputs, outputs, states = (
        [tensors[spec.name] for spec in specs]
        for specs in (contract.inputs, contract.answers, contract.states)
    )
    values = {
        "prefix": prefix,
        "PREFIX": prefix.upper(),
        "model": _comment(model.path.name),
        "sha256": contract.model_sha256,
        "description": _comment(
            f"{contract.cell} {'-'.join(map(str, contract.units))}, {contract.scheme}, "
            f"task {contract.task}"
        ),
        "arena_bytes": arena,
        "micro_version": version,
        "frame_period_us": round(contract.frame_period_s * 1e6),
        "window": contract.window,
        "stored": {
            tensors[state].name: tensors[name] for state, name in stored_frames(model).items()
        },
        "labels": model.labels or ("",),
        "inputs": inputs,
        "outputs": outputs,
        "states": states,
        "tensors": [*inputs, *outputs, *states],
        "input_tensors": len(graph.inputs),
        "output_tensors": len(graph.outputs),
        "operators": [_resolver_name(name) for name in sorted({op.name for op in graph.operators})],
        "frame_parameters": ", ".join([_const_parameters(inputs), _parameters(outputs)]),
        "reader_parameters": _parameters(inputs),
        "user_parameters": _const_parameters(outputs),
        "rows": _hexadecimal_rows(model.flatbuffer),
    }
    environment = c_environment("convert.exporters", "c_templates")
    return {
        f"{prefix}_{name}": environment.get_template(f"{name}.jinja").render(values)
        for name in _FILES
    }


def c_environment(package: str, folder: str) -> jinja2.Environment:
    """Return the templates of C in a folder of a package; ``c_string`` is a filter of theirs."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, folder),
        autoescape=False,  # noqa: S701  # C, not HTML: strings are escaped by c_string
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["c_string"] = c_string
    return environment


def _tensors(model: StepModel, prefix: str) -> dict[str, CTensor]:
    """Return the C tensors by their names in the contract."""
    contract, graph = model.contract, model.graph
    signature = graph.signature(STEP_SIGNATURE)
    lanes = max(contract.window.lanes, 1) if contract.window else 1
    found = {}
    for spec in (*contract.inputs, *contract.answers, *contract.states):
        if spec.dtype not in C_TYPES:
            raise NotExportableError(f"'{spec.name}' is {spec.dtype}, which C does not have")
        name = c_name(spec.name)
        first, second = signature.inputs.get(spec.name), signature.outputs.get(spec.name)
        found[spec.name] = CTensor(
            name=name,
            macro=f"{prefix}_{name}".upper(),
            type=C_TYPES[spec.dtype],
            real_type=C_TYPES[spec.dtype] if spec.scale is None else "float",
            size=math.prod(spec.shape),
            row=math.prod(spec.shape) // (lanes if isinstance(spec, StateSpec) else 1),
            grid=_grid(spec),
            number_in=None if first is None else graph.inputs.index(first),
            number_out=None if second is None else graph.outputs.index(second),
            initial=_initial(spec, lanes),
            zero=c_literal(0.0) if spec.dtype == "float32" else str(spec.zero_point or 0),
        )
    names = [tensor.name for tensor in found.values()]
    if len(set(names)) < len(names):
        raise NotExportableError(f"{model.path}: two tensors have the same name in C: {names}")
    return found


def _grid(spec: TensorSpec) -> CGrid | None:
    if spec.scale is None or spec.zero_point is None:
        return None
    limits = np.iinfo(spec.dtype)
    numbers = (spec.scale, spec.zero_point, limits.min, limits.max)
    return CGrid(*(c_literal(float(number)) for number in numbers))


def _initial(spec: TensorSpec, lanes: int) -> tuple[str, ...]:
    if not isinstance(spec, StateSpec) or isinstance(spec.initial, str):
        return ()
    values = np.frombuffer(spec.initial_row(lanes), spec.dtype)
    return tuple(c_literal(value) for value in values.tolist())


def _parameters(tensors: Sequence[CTensor]) -> str:
    return ", ".join(f"{tensor.real_type} *{tensor.name}" for tensor in tensors)


def _const_parameters(tensors: Sequence[CTensor]) -> str:
    return ", ".join(f"const {tensor.real_type} *{tensor.name}" for tensor in tensors)


def _hexadecimal_rows(data: bytes) -> list[str]:
    return [
        ", ".join(f"0x{byte:02x}" for byte in data[start : start + BYTES_A_LINE])
        for start in range(0, len(data), BYTES_A_LINE)
    ]


def c_literal(value: float) -> str:
    """Write a number in C; nine digits tell every float32 apart."""
    if isinstance(value, int):
        return str(value)
    text = f"{float(np.float32(value)):.9g}"
    return f"{text}f" if any(c in text for c in ".e") else f"{text}.0f"


def c_name(text: str) -> str:
    """Turn a text into a C name."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return f"_{name}" if name[:1].isdigit() else name


def c_string(text: str) -> str:
    """Write a text as a C string literal of UTF-8 bytes."""
    plain = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{"".join(plain)}"'


def _comment(text: str) -> str:
    return text.replace("*/", "* /")


def _resolver_name(operator: str) -> str:
    return _RESOLVER_NAMES.get(operator) or "".join(
        part.capitalize() for part in operator.split("_")
    )
