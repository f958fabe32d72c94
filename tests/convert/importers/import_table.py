"""The table of docs/import.md: every architecture imported, stepped, quantized and checked.

``make import-table`` writes both tables (half an hour): this module is run with the Vulkan driver
of 'make test-gpu'. Names of rows on the command line make these anew and leave the others.
"""

from __future__ import annotations

import sys
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
from convert.import_conversion.window_choice import WindowWish, choose_meaning
from convert.importers import import_model
from convert.step.step_module import StepModule
from convert.targets.check import check_file
from convert.targets.report import TargetReport
from convert.verify import objections, passed, verify_on_runtimes
from device_runner.errors import VerificationError
from models.tasks import load_task
from tests.convert.importers.architectures import ARCHITECTURES, WIDER, Architecture, saved
from tests.convert.importers.shipped_models import SHIPPED

PAGE = Path(__file__).parents[3] / "docs" / "import.md"
FAILED, FITS = "FAILED", "fits"
BEGIN, END = "<!-- table begins -->", "<!-- table ends -->"
GPU_BACKEND = "litert-gpu"
HEAD = (
    "architecture", "from", "float error", "int8", "Edge TPU check", "GPU run", "oldest runtime",
)  # fmt: skip
INT8_CELL, GPU_CELL = 1, 3
# What the GPU backend refuses whatever the operators, by a part of its message.
NOT_ON_GPU = {
    "does not keep count of": "not run: the GPU backend takes no windows",
    "phase of its slow layers": "not run: the GPU backend takes a single phase",
}
SHIPPED_BEGIN, SHIPPED_END = "<!-- shipped begins -->", "<!-- shipped ends -->"
SHIPPED_HEAD = ("model", "asked for", "float error", "int8 on data kept from calibration",
                "Edge TPU check")  # fmt: skip


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
    return prepared(path, description)


def prepared(path: Path, description: Path | None = None) -> Conversion:
    """Import a file, with its window if it has one, and compare it with its framework."""
    model = import_model(path, description, whole=True)
    meaning = choose_meaning(model, WindowWish())
    module = StepModule(meaning.graph)
    facts = Facts(frame_period_s=0.0064)
    return prepare(model, facts, real_sequences(module), module, meaning)


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
        int8 += "; parts in float32" if small.contract.metrics.get("mixed") else ""
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


def lines_of(rows: Sequence[Row]) -> dict[str, str]:
    """Write the rows as Markdown, by how each begins."""
    lines = {}
    for item in rows:
        architecture = item.architecture
        begin = f"| {architecture.name} | {architecture.framework} {architecture.suffix}".strip()
        lines[f"{begin} |"] = f"{begin} | {' | '.join(item.cells)} |"
    return lines


def rows(chosen: Sequence[Architecture]) -> list[Row]:
    """Make rows, verified on every installed runtime."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for number, architecture in enumerate(chosen):
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
    if exact and not on_gpu:
        raise SystemExit("there is no GPU and no driver that stands for one: make import-table")
    for number, item in enumerate(made):
        own = [one for one in found if one["file"].startswith(f"{number}-int8")]
        if own:
            wrong = objections(own)
            names = ", ".join(passed(own))
            item.cells[INT8_CELL] += f"; verified on {names}"
            item.cells[INT8_CELL] += "".join(f"; not {text}" for text in wrong)
        run = on_gpu.get(f"{number}-float32.tflite")
        if run:
            # The backend refuses a graph of which a part would run on the CPU.
            said = f"{FAILED}: {run['failure']}" if run["failure"] else f"rms {run['rms']:.0e}"
            if not_run := [text for sign, text in NOT_ON_GPU.items() if sign in said]:
                item.cells[GPU_CELL] = not_run[0]
                continue
            fits = item.cells[GPU_CELL] == FITS
            if fits != (not run["failure"]):
                said += f"; {FAILED}: the check says '{item.cells[GPU_CELL]}'"
            item.cells[GPU_CELL] = said
    return made


def shipped_rows(names: Sequence[str]) -> dict[str, str]:
    """Make the rows of models of the kinds that people ship, by how each begins."""
    import keras

    made = {}
    for name in names:
        begin = f"| {name} |"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            keras.utils.set_random_seed(5)
            SHIPPED[name](keras).save(path)
            try:
                cells = _shipped_cells(path)
            except (AssertionError, click.ClickException) as error:
                cells = [f"{FAILED}: {error}", "", "", ""]
        made[begin] = f"{begin} {' | '.join(cells)} |"
        print(made[begin], flush=True)
    return made


def _shipped_cells(path: Path) -> list[str]:
    conversion = prepared(path)
    window = conversion.step.window
    asked = "each frame" if window is None else f"its last {window.steps} frames"
    if window is not None:
        asked += ", computed anew" if not window.lanes else f", {window.lanes} lanes"
    try:
        small = conversion.export("int8", path.with_suffix(".tflite"))
    except (ContractViolationError, VerificationError) as error:
        reason = error.message.split("model.tflite: ", 1)[-1]
        return [asked, f"{conversion.float_error:.0e}", f"refused: {reason}", "needs int8"]
    metrics = small.contract.metrics
    kept = metrics.get("held_out", {})
    int8 = f"rms {kept['rms']:.1%} of the spread" if kept else "no whole window was left"
    if "decisions" in kept:
        int8 += f", {kept['decisions']:.1%} of decisions changed"
    int8 += "; parts in float32" if metrics.get("mixed") else ""
    runs = verify_on_runtimes([small.path])
    wrong = objections(runs)
    names = ", ".join(passed(runs))
    int8 += f"; verified on {names}" + "".join(f"; not {text}" for text in wrong)
    edgetpu = _mapping(check_file(small.path, "edgetpu"))
    return [asked, f"{conversion.float_error:.0e}", int8, edgetpu]


def write(marks: tuple[str, str], head: Sequence[str], made: dict[str, str]) -> None:
    """Write lines into a table of the page, in place of those that begin alike or at its end."""
    begin, end = marks
    before, rest = PAGE.read_text().split(begin)
    old, after = rest.split(end)
    lines = [line for line in old.splitlines() if line.startswith("| ")][1:]
    left = dict(made)
    kept = []
    for line in lines:
        key = next((key for key in left if line.startswith(key)), "")
        kept.append(left.pop(key) if key else line)
    text = "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *kept, *left.values()])
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main(names: Sequence[str]) -> None:
    """Write the tables into the page; SystemExit where a row is wrong.

    Args:
        names: of the rows to make anew; () for all.
    """
    known = (*ARCHITECTURES, *WIDER)
    found = rows([item for item in known if not names or item.name in names])
    made = lines_of(found)
    write((BEGIN, END), HEAD, made)
    models = shipped_rows([name for name in SHIPPED if not names or name in names])
    write((SHIPPED_BEGIN, SHIPPED_END), SHIPPED_HEAD, models)
    if wrong := [key for key, line in {**made, **models}.items() if FAILED in line]:
        raise SystemExit(f"wrong: {', '.join(wrong)}")


if __name__ == "__main__":
    main(sys.argv[1:])
