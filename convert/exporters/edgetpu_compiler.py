"""Run ``edgetpu_compiler`` and read its output into the table that ``edgestep check`` prints.

The compiler is a program for x86-64 Debian from Coral's package source. It takes a TFLite file,
writes NAME_edgetpu.tflite and NAME_edgetpu.log beside it. For each kind of operator it lists how
many map onto the Edge TPU and why the others do not (format of its versions 2 to 16).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convert.errors import ConvertError
from convert.exporters.edgetpu import restore_contract
from convert.targets.check import check_graph
from convert.targets.profile import get_profile
from convert.targets.report import AFTER, MAPS, REFUSED, OperatorFinding, TargetReport
from device_runner.errors import MissingRuntimeError
from device_runner.model.step_file import StepModel

COMPILER = "edgetpu_compiler"
# The compiler itself gives up after 180 s.
COMPILER_LIMIT_S = 600
MAPPED = "Mapped to Edge TPU"
# The reason given for an operator that would map if the one before it did.
BEHIND = ("More than one subgraph is not supported",)

_VERSION = re.compile(r"Edge TPU Compiler version (\S+)")
_ROW = re.compile(r"^(?P<name>[A-Z][A-Z0-9_]*|custom\S*) +(?P<count>\d+) +(?P<status>\S.*?)\s*$")
_FAILURES = re.compile(r"(invalid|error|failed|abort|not quantized|unsupported)", re.IGNORECASE)


@dataclass(frozen=True)
class CompilerRow:
    """How many operators of a kind have a status, in the compiler's own words."""

    name: str
    count: int
    status: str


def compile_for_edgetpu(
    model: StepModel, output: Path, min_runtime: int | None = None
) -> tuple[StepModel, TargetReport]:
    """Compile a step model and write it with its contract.

    Args:
        model: a fully int8 step model.
        output: the file to write.
        min_runtime: the oldest Edge TPU runtime that must load the result; None for the compiler's
            default.

    Returns:
        The compiled step model, and what the compiler mapped.

    Raises:
        MissingRuntimeError: the compiler is not on PATH; the message has the commands to run.
        ConvertError: the compiler refuses the model or does not answer.
        BadModelError, ContractViolationError: as convert.exporters.edgetpu.restore_contract.
    """
    model.require_one_phase("the Edge TPU")
    model.require_one_row("the Edge TPU")
    program = shutil.which(COMPILER)
    if program is None:
        first, second = manual_commands(model.path)
        raise MissingRuntimeError(
            f"{COMPILER} is not on PATH (x86-64 Debian, see docs/coral.md); where it is, run "
            f"'{first}' and then '{second}'"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Without the contract behind it: the compiler reads flatbuffers.
        bare = folder / "model.tflite"
        bare.write_bytes(model.flatbuffer)
        command = [program, "-s", "-o", str(folder)]
        if min_runtime is not None:
            command += ["-m", str(min_runtime)]
        log = _run([*command, str(bare)], model.path)
        log_file = folder / "model_edgetpu.log"
        rows = parse_log(log) or parse_log(
            log_file.read_text(errors="replace") if log_file.exists() else ""
        )
        compiled = folder / "model_edgetpu.tflite"
        if not compiled.exists():
            raise ConvertError(f"{model.path}: {COMPILER} wrote no file ({_reason(log)})")
        restored = restore_contract(compiled, model, output)
    return restored, compiled_report(model, rows, _version(log))


def manual_commands(path: Path) -> tuple[str, str]:
    """Return the commands that compile a step model by hand and restore its contract."""
    compiled = path.with_name(f"{path.stem}_edgetpu.tflite")
    return (
        f"{COMPILER} -s -o {path.parent} {path}",
        f"edgestep restore-contract {compiled} {path}",
    )


def parse_log(text: str) -> list[CompilerRow]:
    """Parse the rows "OPERATOR COUNT STATUS" of the compiler's output or log file."""
    found = (_ROW.match(line) for line in text.splitlines())
    return [
        CompilerRow(match["name"].upper(), int(match["count"]), match["status"])
        for match in found
        if match
    ]


def compiled_report(model: StepModel, rows: Sequence[CompilerRow], version: str) -> TargetReport:
    """Turn the compiler's rows into a report like that of ``edgestep check``.

    The compiler only counts by kind. It takes the graph up to the first operator that does not
    map. So where it took some of a kind, they are the first ones in the graph's order.
    """
    profile = get_profile("edgetpu")
    static = check_graph(model.graph, model.flatbuffer, profile, None, str(model.path))
    left = {row.name: [] for row in rows}  # type: dict[str, list[str]]
    for row in sorted(rows, key=lambda row: row.status != MAPPED):
        left[row.name] += [row.status] * row.count
    mixed = {name for name, statuses in left.items() if len(set(statuses)) > 1}
    operators = tuple(_said(one, left.get(one.name, []), mixed) for one in static.operators)
    first = next((one for one in operators if one.status != MAPS), None)
    behind = operators[first.index :] if first else ()
    return replace(
        static,
        title=f"Edge TPU compiler {version}",
        operators=operators,
        cost=f"{len(behind)} of {len(operators)} operators run on the CPU" if first else None,
    )


def _said(static: OperatorFinding, statuses: list[str], mixed: set[str]) -> OperatorFinding:
    """Give an operator the next status of its kind."""
    said = statuses.pop(0) if statuses else "the compiler does not name it"
    status = MAPS if said == MAPPED else AFTER if said in BEHIND else REFUSED
    notes = ("the compiler tells how many of this kind map, not which ones",)
    return replace(
        static,
        status=status,
        reasons=() if said == MAPPED else (said,),
        notes=notes if static.name in mixed else (),
    )


def _run(command: list[str], path: Path) -> str:
    """Run the compiler and return its output; ConvertError if it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMPILER_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConvertError(
            f"{path}: {COMPILER} does not answer within {COMPILER_LIMIT_S} s; make a smaller model"
        ) from None
    except OSError as error:
        raise ConvertError(
            f"{command[0]} cannot be run ({error.strerror}); reinstall it"
        ) from error
    log = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise ConvertError(
            f"{path}: {COMPILER} refuses the model ({_reason(log)}); "
            "see what does not map with 'edgestep check --target edgetpu'"
        )
    return log


def _reason(log: str) -> str:
    lines = [" ".join(line.split()) for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if _FAILURES.search(line)]
    return (telling or lines or ["it says nothing"])[0][:200]


def _version(log: str) -> str:
    match = _VERSION.search(log)
    return match[1] if match else "of unknown version"
