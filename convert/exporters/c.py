"""A step model as C: the file as an array, the state loop, an example for TensorFlow Lite Micro.

The state loop is plain C99 against a small declared interface (addresses of the interpreter's
tensors and a call that computes), so that it is compiled and run without TensorFlow Lite Micro;
only the example that binds the two needs its headers. The memory for the interpreter is measured,
and the model's results are checked, with the Python interpreter of ``tflite-micro``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from convert.errors import NotExportableError
from convert.targets.check import check_graph
from convert.targets.profile import get_profile
from device_runner.atomic_write import write_atomically
from device_runner.errors import BadModelError, MissingRuntimeError, VerificationError
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.model.tensor_spec import StateSpec, TensorSpec

TEMPLATES = Path(__file__).parent / "c_templates"
C_TYPES = {
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t",
    "int64": "int64_t", "float32": "float",
}  # fmt: skip
BYTES_A_LINE = 16
MICRO_LIMIT_S = 600

# Names of TensorFlow Lite Micro's MicroMutableOpResolver that are not the operator's in camel case.
_RESOLVER_NAMES = {
    "ARG_MAX": "ArgMax", "AVERAGE_POOL_2D": "AveragePool2D", "BATCH_MATMUL": "BatchMatMul",
    "CONV_2D": "Conv2D", "CUMSUM": "CumSum", "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "MAX_POOL_2D": "MaxPool2D", "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}  # fmt: skip
_MEASURE = """
import json, sys
from device_runner.errors import DeviceRunnerError
from device_runner.stream import Stream
from device_runner.verify import verify
try:
    stream = Stream(sys.argv[1], "micro")
    found = verify(stream)
    answer = {"arena": stream.backend.arena_bytes, "version": stream.backend.version,
              "failure": found.failure, "rms": found.rms, "steps": found.steps}
except DeviceRunnerError as error:
    answer = {"error": error.message, "code": error.exit_code}
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class CExport:
    """What was written, the memory that the interpreter needs in bytes, and the root mean square
    error of tflite-micro's outputs on the golden sequences."""

    files: tuple[Path, ...]
    arena_bytes: int
    micro_version: str
    rms: float
    steps: int


def export_c(model: StepModel, folder: Path, prefix: str | None = None) -> CExport:
    """Write a step model as C.

    Args:
        model: a step model that TensorFlow Lite Micro takes (int8, int16x8 or float32).
        folder: where PREFIX_model.c, PREFIX_step.h, PREFIX_step.c and PREFIX_tflm.cc are written.
        prefix: what all names begin with; default: the model's file name.

    Raises:
        TargetMismatchError: an operator or dtype is not in TensorFlow Lite Micro.
        MissingRuntimeError: ``tflite-micro`` is not installed.
        VerificationError: it computes something else than the float model.
        NotExportableError: the prefix is no name in C, or a dtype has no C type.
    """
    prefix = prefix or _c_name(model.path.stem)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", prefix):
        raise NotExportableError(f"'{prefix}' is no name in C; choose another with --prefix")
    report = check_graph(model.graph, model.flatbuffer, get_profile("micro"), None, str(model.path))
    if not report.fits:
        raise report.error()
    measured = _measure(model)
    texts = {
        f"{prefix}_model.c": _array(prefix, model.flatbuffer),
        **_Source(model, prefix, measured).texts(),
    }
    files = []
    for name, text in texts.items():
        path = folder / name
        write_atomically(path, text.encode())
        files.append(path)
    return CExport(
        tuple(files), measured["arena"], measured["version"], measured["rms"], measured["steps"]
    )


def _measure(model: StepModel) -> dict[str, Any]:
    """Arena and error on tflite-micro, in a process of its own: it is another TFLite runtime."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, str(model.path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MICRO_LIMIT_S,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise BadModelError(
            f"{model.path}: tflite-micro crashed on it or gave no answer; export the model again"
        ) from error
    if "error" in answer:
        missing = answer["code"] == MissingRuntimeError.exit_code
        raise (MissingRuntimeError if missing else BadModelError)(answer["error"])
    if answer["failure"]:
        raise VerificationError(
            f"{model.path}: {answer['failure']} on tflite-micro {answer['version']}; "
            "export it with another scheme"
        )
    return answer


def _array(prefix: str, data: bytes) -> str:
    rows = (
        "  " + ", ".join(f"0x{byte:02x}" for byte in data[start : start + BYTES_A_LINE])
        for start in range(0, len(data), BYTES_A_LINE)
    )
    body = ",\n".join(rows)
    return (
        "/* Written by 'edgestep export-c'. */\n"
        f'#include "{prefix}_step.h"\n\n'
        "#if defined(__GNUC__) || defined(__clang__)\n__attribute__((aligned(16)))\n#endif\n"
        f"const unsigned char {prefix}_model[] = {{\n{body}\n}};\n"
        f"const size_t {prefix}_model_bytes = sizeof({prefix}_model);\n"
    )


class _Source:
    """The texts of the state loop and of the example, put into their templates."""

    def __init__(self, model: StepModel, prefix: str, measured: dict[str, Any]) -> None:
        self.prefix, self.model, self.measured = prefix, model, measured
        contract = model.contract
        self.inputs = {spec: _c_name(spec.name) for spec in contract.inputs}
        self.outputs = {spec: _c_name(spec.name) for spec in contract.outputs}
        self.states = {spec: _c_name(spec.name) for spec in contract.states}
        names = [*self.inputs.values(), *self.outputs.values(), *self.states.values()]
        if len(set(names)) < len(names):
            raise NotExportableError(f"{model.path}: two tensors have the same name in C: {names}")
        for spec in (*self.inputs, *self.outputs, *self.states):
            if spec.dtype not in C_TYPES:
                raise NotExportableError(f"'{spec.name}' is {spec.dtype}, which C does not have")

    def texts(self) -> dict[str, str]:
        """By file name."""
        prefix, contract, graph = self.prefix, self.model.contract, self.model.graph
        signature = graph.signature(STEP_SIGNATURE)
        numbers = {
            f"{self._macro(name)}_IN": graph.inputs.index(signature.inputs[spec.name])
            for spec, name in (*self.inputs.items(), *self.states.items())
        } | {
            f"{self._macro(name)}_OUT": graph.outputs.index(signature.outputs[spec.name])
            for spec, name in (*self.outputs.items(), *self.states.items())
        }
        ins = [f"const {_real_type(spec)} *{name}" for spec, name in self.inputs.items()]
        outs = [f"{_real_type(spec)} *{name}" for spec, name in self.outputs.items()]
        buffers = [
            f"  static {_real_type(spec)} {name}[{self._macro(name)}_SIZE];"
            for spec, name in (*self.inputs.items(), *self.outputs.items())
        ]
        operators = sorted({operator.name for operator in graph.operators})
        values = {
            "prefix": prefix,
            "PREFIX": prefix.upper(),
            "model": _comment(self.model.path.name),
            "sha256": contract.model_sha256,
            "description": _comment(
                f"{contract.cell} {'-'.join(map(str, contract.units))}, {contract.scheme}, "
                f"task {contract.task}"
            ),
            "arena_bytes": self.measured["arena"],
            "micro_version": self.measured["version"],
            "frame_period_us": round(contract.frame_period_s * 1e6),
            "sizes": "\n".join(
                f"#define {self._macro(name)}_SIZE {_count(spec)}"
                for spec, name in (
                    *self.inputs.items(),
                    *self.outputs.items(),
                    *self.states.items(),
                )
            ),
            "label_count": max(1, len(self.model.labels)),
            "labels": ",\n".join(f"  {_c_string(label)}" for label in self.model.labels or ("",)),
            "tensor_numbers": ",\n".join(
                [f"  {name} = {number}" for name, number in numbers.items()]
                + [
                    f"  {prefix.upper()}_INPUT_TENSORS = {len(graph.inputs)}",
                    f"  {prefix.upper()}_OUTPUT_TENSORS = {len(graph.outputs)}",
                ]
            ),
            "state_fields": "\n".join(
                f"  {C_TYPES[spec.dtype]} {name}[{self._macro(name)}_SIZE];"
                for spec, name in self.states.items()
            )
            or "  char none;",
            "parameters": ", ".join((*ins, *outs)),
            "initial_values": "".join(self._initial(*state) for state in self.states.items()),
            "conversions": "".join(
                [self._quantize(*one) for one in self.inputs.items()]
                + [self._dequantize(*one) for one in self.outputs.items()]
            ),
            "reset": "\n".join(self._reset(*state) for state in self.states.items())
            or "  (void)state;",
            "write": "\n".join(
                [
                    f"  write_{name}({name}, runtime->inputs[{self._macro(name)}_IN]);"
                    for name in self.inputs.values()
                ]
                + [
                    f"  memcpy(runtime->inputs[{self._macro(name)}_IN], state->{name}, "
                    f"sizeof(state->{name}));"
                    for name in self.states.values()
                ]
            ),
            "read": "\n".join(
                [
                    f"  read_{name}(runtime->outputs[{self._macro(name)}_OUT], {name});"
                    for name in self.outputs.values()
                ]
                + [
                    f"  memcpy(state->{name}, runtime->outputs[{self._macro(name)}_OUT], "
                    f"sizeof(state->{name}));"
                    for name in self.states.values()
                ]
            ),
            "operator_count": len(operators),
            "operators": "\n".join(
                f"  if (resolver.Add{_resolver_name(name)}() != kTfLiteOk) return 1;"
                for name in operators
            ),
            "buffers": "\n".join(buffers),
            "reader_parameters": ", ".join(one.removeprefix("const ") for one in ins),
            "user_parameters": ", ".join(f"const {one}" for one in outs),
            "reader_arguments": ", ".join(self.inputs.values()),
            "user_arguments": ", ".join(self.outputs.values()),
            "step_arguments": ", ".join((*self.inputs.values(), *self.outputs.values())),
        }
        files = {"step.h": "_step.h", "step.c": "_step.c", "tflm.cc": "_tflm.cc"}
        return {
            prefix + ending: Template((TEMPLATES / name).read_text(encoding="utf-8")).substitute(
                values
            )
            for name, ending in files.items()
        }

    def _macro(self, name: str) -> str:
        return f"{self.prefix}_{name}".upper()

    def _initial(self, spec: StateSpec, name: str) -> str:
        if isinstance(spec.initial, str):
            return ""
        values = np.frombuffer(spec.initial_bytes(), spec.dtype)
        literals = ", ".join(_literal(value) for value in values.tolist())
        return (
            f"static const {C_TYPES[spec.dtype]} initial_{name}[{self._macro(name)}_SIZE] = "
            f"{{{literals}}};\n"
        )

    def _reset(self, spec: StateSpec, name: str) -> str:
        if not isinstance(spec.initial, str):
            return f"  memcpy(state->{name}, initial_{name}, sizeof(state->{name}));"
        zero = _literal(float(0)) if spec.dtype == "float32" else str(spec.zero_point or 0)
        return f"  for (int i = 0; i < {self._macro(name)}_SIZE; ++i) state->{name}[i] = {zero};"

    def _quantize(self, spec: TensorSpec, name: str) -> str:
        """A C function from real values to the stored ones, as :meth:`TensorSpec.quantize`."""
        kind, size = C_TYPES[spec.dtype], f"{self._macro(name)}_SIZE"
        head = f"static void write_{name}(const {_real_type(spec)} *from, void *to) {{\n"
        if spec.scale is None or spec.zero_point is None:
            return f"{head}  memcpy(to, from, {size} * sizeof({kind}));\n}}\n\n"
        lowest, highest = (
            _literal(float(limit)) for limit in (np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max)
        )
        return (
            f"{head}  {kind} *stored = ({kind} *)to;\n"
            f"  for (int i = 0; i < {size}; ++i) {{\n"
            f"    float value = rintf(from[i] / {_literal(spec.scale)}) + "
            f"{_literal(float(spec.zero_point))};\n"
            f"    if (!(value > {lowest})) value = {lowest}; /* NaN too */\n"
            f"    if (value > {highest}) value = {highest};\n"
            f"    stored[i] = ({kind})value;\n  }}\n}}\n\n"
        )

    def _dequantize(self, spec: TensorSpec, name: str) -> str:
        """A C function from stored values to real ones, as :meth:`TensorSpec.dequantize`."""
        kind, size = C_TYPES[spec.dtype], f"{self._macro(name)}_SIZE"
        head = f"static void read_{name}(const void *from, {_real_type(spec)} *to) {{\n"
        if spec.scale is None or spec.zero_point is None:
            return f"{head}  memcpy(to, from, {size} * sizeof({kind}));\n}}\n\n"
        return (
            f"{head}  const {kind} *stored = (const {kind} *)from;\n"
            f"  for (int i = 0; i < {size}; ++i) {{\n"
            f"    to[i] = ((float)stored[i] - {_literal(float(spec.zero_point))}) * "
            f"{_literal(spec.scale)};\n  }}\n}}\n\n"
        )


def _real_type(spec: TensorSpec) -> str:
    """The C type of a tensor's values in real units."""
    return "float" if spec.scale is not None else C_TYPES[spec.dtype]


def _count(spec: TensorSpec) -> int:
    return int(np.prod(spec.shape))


def _literal(value: float) -> str:
    """A number in C; nine digits tell a float32 from every other one."""
    if isinstance(value, int):
        return str(value)
    text = f"{float(np.float32(value)):.9g}"
    return f"{text}f" if any(c in text for c in ".e") else f"{text}.0f"


def _c_name(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return f"_{name}" if name[:1].isdigit() else name


def _c_string(text: str) -> str:
    """A string in C, of UTF-8 bytes."""
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
