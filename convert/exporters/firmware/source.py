"""The C of a step model that needs no runtime: a header, a source, a test of itself."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np

from convert.errors import NotExportableError
from convert.exporters.c_source import C_TYPES, c_environment, c_literal, c_name
from convert.exporters.firmware.operators import ALWAYS, LINE, OperatorWriter
from convert.exporters.firmware.plan import Plan, portable_plan
from device_runner.model.frames import stored_frames
from device_runner.model.step_file import StepModel
from device_runner.model.tensor_spec import TensorSpec
from device_runner.stream import Stream

# What int may not hold on a 32-bit machine.
_MOST = 2**31 - 1
_TEST_STEPS = 16
_COUNTER_BYTES = 4


@dataclass(frozen=True)
class CValue:
    """An input, output or state of a step, as the templates see it.

    Attributes:
        name: in the contract.
        type: C type of what is stored.
        first: where its values begin among those of its side, and ``first_byte`` where its bytes.
        count: number of values, of one answer.
        bytes: their size as stored.
        offsets: where it lies in a stream's block, by phase; None where a phase does not read it.
        scale, zero_point: literals of its grid; ``scale`` is None if there is none.
        vocabulary: the number of token ids; 0 if it takes none.
        initial: a state's first values, as an array in C; None if they are all ``fill`` bytes.
        fill: that byte.
    """

    name: str
    type: str
    first: int
    first_byte: int
    count: int
    bytes: int
    offsets: tuple[int | None, ...]
    scale: str | None
    zero_point: int
    vocabulary: int
    initial: str | None = None
    fill: int = 0


@dataclass(frozen=True)
class FirmwareSource:
    """The C texts of a model.

    Attributes:
        name: what all names in C begin with, "edgestep_" and the model's.
        header, source, self_test: the texts.
        kernels: names of the headers of native/src that they include.
        state_bytes, block_bytes, constant_bytes: sizes of a saved state, of a stream's values, and
            of all constants.
    """

    name: str
    header: str
    source: str
    self_test: str
    kernels: tuple[str, ...]
    state_bytes: int
    block_bytes: int
    constant_bytes: int


def firmware_source(model: StepModel, prefix: str | None = None) -> FirmwareSource:
    """Write the C of a step model.

    Args:
        model: a step model that libedgestep steps.
        prefix: what follows "edgestep_" in all names; by default the model's file name.

    Raises:
        NotExportableError: the prefix is not a valid C name; libedgestep does not know something in
            the model; it is too large, or takes or gives values that no float holds.
        MissingRuntimeError: libedgestep is not compiled.
    """
    model.require_one_row("a microcontroller")
    prefix = prefix or c_name(model.path.stem).strip("_").lower()
    if not re.fullmatch(r"[A-Za-z0-9_]+", prefix):
        raise NotExportableError(f"'{prefix}' is not a valid C name; choose another with --prefix")
    name = f"edgestep_{prefix}"
    writer = OperatorWriter()
    with portable_plan(model) as plan:
        values = _values(model, plan, writer, name)
    environment = firmware_environment()
    return FirmwareSource(
        name=name,
        header=environment.get_template("model.h.jinja").render(values),
        source=environment.get_template("model.c.jinja").render(values),
        self_test=environment.get_template("self_test.c.jinja").render(
            {**values, **_test_values(model)}
        ),
        kernels=tuple(values["kernels"]),
        state_bytes=values["state_bytes"],
        block_bytes=plan.block_bytes,
        constant_bytes=writer.flash,
    )


def firmware_environment() -> jinja2.Environment:
    """Return the templates of firmware."""
    return c_environment("convert.exporters.firmware", "templates")


def _values(model: StepModel, plan: Plan, writer: OperatorWriter, name: str) -> dict[str, Any]:
    contract = model.contract
    window = contract.window
    lanes = max(window.lanes, 1) if window else 1
    phases = [writer.phase(plan, number) for number in range(len(plan.phases))]
    inputs = _c_values(model, plan, "inputs", contract.inputs)
    outputs = _c_values(model, plan, "outputs", contract.outputs, lanes)
    for value, spec in zip([*inputs, *outputs], [*contract.inputs, *contract.outputs], strict=True):
        if spec.scale is None and spec.dtype not in ("float32", "int32"):
            raise NotExportableError(f"'{spec.name}' is {spec.dtype}, which no float holds")
        if spec.scale is None and spec.dtype == "int32" and not value.vocabulary:
            raise NotExportableError(f"'{spec.name}' is int32 without being a token's number")
    states = _states(model, plan, writer)
    counts = plan.cycle > 1 or window is not None
    kernels = [*ALWAYS, *sorted(writer.headers), *(["window.h"] if window else [])]
    sizes = (plan.block_bytes, writer.flash, sum(state.bytes for state in states))
    if max(sizes) > _MOST:
        raise NotExportableError(f"{model.path}: the model is too large for a 32-bit machine")
    return {
        "name": name,
        "NAME": name.upper(),
        "model": one_comment(model.path.name),
        "sha256": contract.model_sha256,
        "description": one_comment(
            f"{contract.cell} {'-'.join(map(str, contract.units))}, {contract.scheme}, "
            f"task {contract.task}"
        ),
        "frame_period_us": round(contract.frame_period_s * 1e6),
        "labels": model.labels or ("",),
        "block_bytes": max(plan.block_bytes, 1),
        "constant_bytes": writer.flash,
        "constants": writer.constants,
        "kernels": kernels,
        "included": [one for one in kernels if one not in ("products_dsp.h", "elementwise.h")],
        "phases": phases,
        "phase_of": plan.phase_of,
        "cycle": plan.cycle,
        "first_frame": plan.first_phase,
        "window": window,
        "lanes": lanes,
        "counts": counts,
        "inputs": inputs,
        "outputs": outputs,
        "states": states,
        "input_values": sum(value.count for value in inputs),
        "input_bytes": sum(value.bytes for value in inputs),
        "output_values": sum(value.count for value in outputs),
        "output_bytes": sum(value.bytes for value in outputs),
        "state_bytes": sum(state.bytes for state in states) + counts * _COUNTER_BYTES,
    }


def _c_values(
    model: StepModel, plan: Plan, side: str, specs: Sequence[TensorSpec], lanes: int = 1
) -> list[CValue]:
    found = []
    first = first_byte = 0
    for number, spec in enumerate(specs):
        if spec.dtype not in C_TYPES:
            raise NotExportableError(f"'{spec.name}' is {spec.dtype}, which C does not have")
        places = [phase[side][number] for phase in plan.phases]
        count, size = math.prod(spec.shape) // lanes, spec.byte_count // lanes
        found.append(
            CValue(
                name=one_comment(spec.name),
                type=C_TYPES[spec.dtype],
                first=first,
                first_byte=first_byte,
                count=count,
                bytes=size,
                offsets=tuple(None if place is None else place["offset"] for place in places),
                scale=None if spec.scale is None else c_literal(float(spec.scale)),
                zero_point=spec.zero_point or 0,
                vocabulary=spec.vocabulary or 0,
            )
        )
        first, first_byte = first + count, first_byte + size
    return found


def _states(model: StepModel, plan: Plan, writer: OperatorWriter) -> list[CValue]:
    values = _c_values(model, plan, "states", model.contract.states)
    found = []
    for value, spec, initial in zip(values, model.contract.states, plan.initial, strict=True):
        alike = len(set(initial)) == 1
        array = None if alike else writer.array(np.frombuffer(initial, spec.dtype))
        fields = {**vars(value), "initial": array, "fill": initial[0] if alike else 0}
        found.append(CValue(**fields))
    return found


def _test_values(model: StepModel) -> dict[str, Any]:
    """Step the first golden frames with libedgestep, for the firmware to compare with."""
    window = model.contract.window
    count = _TEST_STEPS if window is None else max(_TEST_STEPS, window.steps + window.hop)
    frames = stored_frames(model.golden.inputs, model.contract.inputs)[:count]
    step = Stream(model, "native").step_bytes
    answers = [step(frame) for frame in frames]
    return {
        "frames": [byte_rows(frame) for frame in frames],
        "answered": [int(bool(answer)) for answer in answers],
        "answers": [byte_rows(answer) for answer in answers if answer],
    }


def byte_rows(data: bytes) -> str:
    """Write bytes as numbers in C, in lines."""
    return textwrap.fill(", ".join(map(str, data)), LINE, subsequent_indent="   ")


def one_comment(text: str) -> str:
    """Make a text that can stand in a comment of C, in one line."""
    return re.sub(r"[^\x20-\x7e]", "?", text).replace("*/", "* /")
