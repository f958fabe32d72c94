"""The table of docs/import.md: every architecture imported, stepped, quantized and checked.

``make import-table`` writes it (a quarter of an hour): this module is run with the Vulkan driver of
'make test-gpu'.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from calibration.data import Sequences
from convert.errors import ContractViolationError, ConvertError
from convert.import_conversion.conversion import Conversion, prepare, step_inputs
from convert.import_conversion.description import Facts
from convert.importers import import_model
from convert.step.step_module import StepModule
from convert.targets.check import check_file
from convert.targets.report import TargetReport
from convert.verify import verify_on_runtimes
from models.tasks import load_task
from tests.convert.importers.architectures import ARCHITECTURES, Architecture, saved

PAGE = Path(__file__).parents[3] / "docs" / "import.md"
FAILED, FITS = "FAILED", "fits"
BEGIN, END = "<!-- table begins -->", "<!-- table ends -->"
GPU_BACKEND = "litert-gpu"
HEAD = (
    "architecture", "from", "float error", "int8", "Edge TPU check", "GPU run", "oldest runtime",
)  # fmt: skip
INT8_CELL, GPU_CELL = 1, 3


@dataclass
class Row:
    """One architecture's cells; ``files`` are still to be verified on the runtimes."""

    architecture: Architecture
    cells: list[str]
    files: list[Path]


def real_sequences(module: StepModule) -> Sequences:
    """Sequences of the task japanese-vowels in the shapes of a model's inputs; token ids are the
    quantized first channel. Wider frames and images repeat the channels."""
    found = []
    inputs = step_inputs(module)
    for sequence in load_task("japanese-vowels").train.sequences:
        one = {}
        for item in inputs:
            if item.vocabulary is not None:
                scaled = 1 + (sequence[:, :1] + 2) / 4 * (item.vocabulary - 2)
                one[item.name] = np.clip(scaled, 1, item.vocabulary - 1).astype(np.int32)
            else:
                repeated = np.tile(sequence, -(-item.values // sequence.shape[1]))
                one[item.name] = repeated[:, : item.values].reshape(-1, *item.shape)
        found.append(one)
    return found


def imported(architecture: Architecture, folder: Path) -> Conversion:
    """Import an architecture and compare it with its framework on real and random data."""
    path, description = saved(architecture, folder)
    model = import_model(path, description)
    module = StepModule(model.graph)
    return prepare(model, Facts(frame_period_s=0.0064), real_sequences(module), module)


def refusal(architecture: Architecture, folder: Path) -> str:
    """Say why an architecture cannot be stepped, without the file's name; "" if it can."""
    try:
        imported(architecture, folder)
    except ConvertError as error:
        return error.message.split(f"model{architecture.suffix}: ", 1)[-1]
    return ""


def row(architecture: Architecture, folder: Path) -> Row:
    """Return the architecture's row, still without the runtimes' verification."""
    if architecture.refused:
        reason = refusal(architecture, folder)
        if architecture.refused not in reason:
            raise AssertionError(f"{architecture.name}: {reason or 'not refused'}")
        return Row(architecture, [f"refused: {reason}", "", "", "", ""], [])
    conversion = imported(architecture, folder)
    files = []
    exact = conversion.export("float32", folder / "float32.tflite")
    files.append(exact.path)
    gpu = check_file(exact.path, "gpu")
    try:
        small = conversion.export("int8", folder / "int8.tflite")
    except ContractViolationError as error:
        report = check_file(exact.path, "cpu")
        int8, edgetpu = f"refused: {error.message}", "needs int8"
    else:
        files.append(small.path)
        report = check_file(small.path, "cpu")
        drift = small.contract.metrics["drift"]
        int8 = f"rms {drift['rms']:.1%} over {drift['steps']:,} steps"
        edgetpu = _mapping(check_file(small.path, "edgetpu"))
    cells = [f"{conversion.float_error:.0e}", int8, edgetpu, _mapping(gpu), _oldest(report)]
    return Row(architecture, cells, files)


def _mapping(report: TargetReport) -> str:
    if report.fits:
        return FITS
    first = report.first_refused
    return f"no: {first.name}, {first.reasons[0]}" if first else f"no: {report.problems[0]}"


def _oldest(report: TargetReport) -> str:
    found = report.oldest_runtimes
    return ", ".join(f"{name} {found[name]}" for name in found if isinstance(found[name], str))


def table(rows: Sequence[Row]) -> str:
    """Write the rows as Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    for item in rows:
        architecture = item.architecture
        cells = [architecture.name, f"{architecture.framework} {architecture.suffix}".strip()]
        lines.append(f"| {' | '.join([*cells, *item.cells])} |")
    return "\n".join(lines)


def rows() -> list[Row]:
    """Make all rows, verified on every installed runtime."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for number, architecture in enumerate(ARCHITECTURES):
            place = Path(folder) / str(number)
            place.mkdir()
            try:
                made.append(row(architecture, place))
            # The other rows are still worth having; main() fails in the end.
            except (AssertionError, click.ClickException) as error:
                made.append(Row(architecture, [f"{FAILED}: {error}", "", "", "", ""], []))
            print(architecture.framework, architecture.name, made[-1].cells, flush=True)
        files = []
        for number, item in enumerate(made):
            for path in item.files:
                files.append(path.rename(path.with_name(f"{number}-{path.name}")))
        found = verify_on_runtimes(files)
        exact = [path for path in files if path.name.endswith("float32.tflite")]
        on_gpu = {one["file"]: one for one in verify_on_runtimes(exact, [GPU_BACKEND])}
    if not on_gpu:
        raise SystemExit("there is no GPU and no driver that stands for one: make import-table")
    for number, item in enumerate(made):
        own = [one for one in found if one["file"].startswith(f"{number}-int8")]
        if own:
            wrong = [f"{one['backend']}: {one['failure']}" for one in own if one["failure"]]
            names = ", ".join(one["backend"] for one in own if not one["failure"])
            item.cells[INT8_CELL] += f"; verified on {names}"
            item.cells[INT8_CELL] += "".join(f"; not {text}" for text in wrong)
        run = on_gpu.get(f"{number}-float32.tflite")
        if run:
            # The backend refuses a graph of which a part would run on the CPU.
            said = f"{FAILED}: {run['failure']}" if run["failure"] else f"rms {run['rms']:.0e}"
            fits = item.cells[GPU_CELL] == FITS
            if fits != (not run["failure"]):
                said += f"; {FAILED}: the check says '{item.cells[GPU_CELL]}'"
            item.cells[GPU_CELL] = said
    return made


def main() -> None:
    """Write the table into the page; SystemExit where a row is wrong."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    found = rows()
    PAGE.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{after}")
    if wrong := [item.architecture.name for item in found if FAILED in " ".join(item.cells)]:
        raise SystemExit(f"wrong: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
