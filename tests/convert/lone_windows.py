"""Hold a stream's answers against each window alone, on one runtime; nothing here loads another.

python -m tests.convert.lone_windows BACKEND FOLDER...
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream


def compare_bytes(made, row, backend, frames):
    """Step windows as they are used, and each alone from a reset, on the same runtime."""
    window = made.contract.window
    stored = made.contract.input.quantize(frames)
    lanes, single = Stream(made, backend), Stream(row, backend)
    for frame, values in enumerate(stored):
        answer = lanes.step_bytes(values.tobytes())
        assert bool(answer) == (window.given_row(frame) is not None)
        if window.answers(frame):
            single.reset()
            for one in stored[frame + 1 - window.steps : frame + 1]:
                last = single.step_bytes(one.tobytes())
            assert answer == last


def main(backend, *folders):
    """Check the files that a test wrote into each folder."""
    for folder in map(Path, folders):
        model = load_step_model(folder / "float32.tflite")
        frames, wanted = np.load(folder / "frames.npy"), np.load(folder / "wanted.npy")
        ends = list(model.contract.window.answered_frames(len(frames)))
        error = np.abs(Stream(model, backend).run(frames)[ends] - wanted).max()
        assert error < 1e-4, (folder, error)
        made = load_step_model(folder / "int8.tflite")
        row = folder / "row.tflite"
        compare_bytes(made, load_step_model(row) if row.exists() else made, backend, frames)


if __name__ == "__main__":
    main(*sys.argv[1:])
