"""Write the table of docs/microcontroller.md: what a model takes on each emulated board.

    python -m tests.firmware.table [FILES]

Flash is the model's constants and its code, with what that takes of the compiler's library. RAM is
a stream, and the stack that a step of real values takes at the most. Instructions are qemu's count
of those executed in a step of stored bytes, the mean of 300. The arena is TensorFlow Lite
Micro's, if tflite-micro is installed.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

from convert.exporters.micro_measurement import measure_on_micro
from device_runner.errors import DeviceRunnerError
from device_runner.model.step_file import StepModel, load_step_model
from tests.conftest import KEPT_STEP_MODELS
from tests.firmware.boards import BOARDS, run_on_board
from tests.firmware.host import seeded_frames

STEPS = 300
HEADER = (
    "| model | processor | code | constants | stream | stack | instructions a step |\n"
    "|---|---|---|---|---|---|---|"
)


def board_rows(model: StepModel) -> list[str]:
    """Run a model on all boards that are installed here; return a row for each."""
    rows = []
    for board in BOARDS:
        if board.missing():
            continue
        with tempfile.TemporaryDirectory() as folder:
            run = run_on_board(board, model, seeded_frames(model, STEPS), Path(folder))
        numbers = (run.code, run.constants, run.stream, run.stack, round(run.instructions))
        cells = " | ".join(f"{number:,}" for number in numbers)
        rows.append(f"| {model.path.stem} | {board.name} | {cells} |")
    return rows


def main(files: list[Path]) -> None:
    """Print both tables."""
    models = [load_step_model(path) for path in files]
    print(HEADER)
    for model in models:
        print("\n".join(board_rows(model)), flush=True)
    print("\n| model | its file's flatbuffer | TFLite Micro's arena |\n|---|---|---|")
    for model in models:
        arena = "-"
        with contextlib.suppress(DeviceRunnerError):
            arena = f"{measure_on_micro(model).arena_bytes:,}"
        print(f"| {model.path.stem} | {len(model.flatbuffer):,} | {arena} |", flush=True)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or sorted(KEPT_STEP_MODELS.glob("*.tflite")))
