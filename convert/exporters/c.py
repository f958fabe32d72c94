"""Export a step model as C: the file as an array, the state loop, and an example for TFLM.

The state loop is plain C99 against a small declared interface: the addresses of the interpreter's
tensors and a call that computes a step. So it compiles and runs without TensorFlow Lite Micro; only
the example that binds the two needs its headers. The Python interpreter of ``tflite-micro``
measures the memory that is needed, and checks the model's results.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from convert.errors import NotExportableError
from convert.exporters.c_source import c_name, c_texts
from convert.exporters.micro_measurement import MicroMeasurement, measure_on_micro
from convert.targets.check import check_graph
from convert.targets.profile import get_profile
from device_runner.atomic_write import write_atomically
from device_runner.model.step_file import StepModel
from device_runner.output_file import OutputKind, check_replaceable

# What follows the prefix in the files' names.
ENDINGS = ("_model.c", "_step.h", "_step.c", "_tflm.cc")


@dataclass(frozen=True)
class CExport:
    """What was written, and what was measured on tflite-micro.

    Attributes:
        files: the C files written.
        measured: the memory that the interpreter needs, and its error on the golden sequences.
    """

    files: tuple[Path, ...]
    measured: MicroMeasurement


def export_c(
    model: StepModel, folder: Path, prefix: str | None = None, force: bool = False
) -> CExport:
    """Write a step model as C.

    Args:
        model: a step model that TensorFlow Lite Micro takes (int8, int16x8 or float32).
        folder: where PREFIX_model.c, PREFIX_step.h, PREFIX_step.c and PREFIX_tflm.cc are written.
        prefix: the prefix of all names; by default the model's file name.
        force: whether to replace files of these names that are not ours.

    Raises:
        OptionError: such a file is there.
        TargetMismatchError: an operator or dtype is not in TensorFlow Lite Micro.
        MissingRuntimeError: ``tflite-micro`` is not installed.
        VerificationError: tflite-micro does not compute what the float model does.
        NotExportableError: the prefix is not a valid C name, or a dtype has no C type.
    """
    model.require_one_row("a microcontroller")
    prefix = prefix or c_name(model.path.stem)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", prefix):
        raise NotExportableError(f"'{prefix}' is not a valid C name; choose another with --prefix")
    report = check_graph(model.graph, model.flatbuffer, get_profile("micro"), None, str(model.path))
    if not report.fits:
        raise report.error()
    for name in ENDINGS:
        check_replaceable(folder / f"{prefix}{name}", OutputKind.C_SOURCE, force)
    measured = measure_on_micro(model)
    files = []
    for name, text in c_texts(model, prefix, measured.arena_bytes, measured.version).items():
        path = folder / name
        write_atomically(path, text.encode())
        files.append(path)
    return CExport(tuple(files), measured)
