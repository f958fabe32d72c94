"""Ten million steps: no memory is lost, the state stays finite, and a saved state goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device_runner.stream import Stream

STEPS = 10_000_000
SAVED_AT = 9_000_000
ALLOWED_GROWTH_BYTES = 5_000_000
# What the runtime and Python allocate lazily is there after this many steps.
SETTLED_AT = 100_000
LAST_OUTPUTS = 1000

GO_ON = """
import sys
from pathlib import Path
import numpy as np
from device_runner.stream import Stream
from tests.device_runner.test_endurance import go_on
stream = Stream(sys.argv[1], "litert")
stream.load_state(Path(sys.argv[2]).read_bytes())
sys.stdout.buffer.write(go_on(stream, np.load(sys.argv[3]), {start}, {end}))
"""


def go_on(stream: Stream, stored: np.ndarray, start: int, end: int) -> bytes:
    """Step from ``start`` to ``end`` through the frames over and over; the last outputs."""
    frames = [frame.tobytes() for frame in stored]
    step = stream.step_bytes
    for number in range(start, end - LAST_OUTPUTS):
        step(frames[number % len(frames)])
    numbers = range(max(start, end - LAST_OUTPUTS), end)
    return b"".join(step(frames[number % len(frames)]) for number in numbers)


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read memory from")
@pytest.mark.parametrize("scheme", ["int8", "float32"])
def test_ten_million_steps(scheme, step_models, frames, tmp_path):
    path = step_models("lstm", scheme)
    stream = Stream(path, "litert")
    stored = stream.model.contract.input.quantize(frames)
    go_on(stream, stored, 0, SETTLED_AT)
    settled = resident_bytes()
    go_on(stream, stored, SETTLED_AT, SAVED_AT)
    saved = stream.save_state()
    last = go_on(stream, stored, SAVED_AT, STEPS)
    assert resident_bytes() - settled < ALLOWED_GROWTH_BYTES
    for spec in stream.model.contract.states:
        state = np.frombuffer(stream.state_bytes()[spec.name], spec.dtype)
        assert np.isfinite(spec.dequantize(state)).all()
    outputs = np.frombuffer(last, stream.model.contract.output.dtype)
    assert len(np.unique(outputs)) > 1

    (tmp_path / "state").write_bytes(saved)
    np.save(tmp_path / "frames.npy", stored)
    script = GO_ON.format(start=SAVED_AT, end=STEPS)
    fresh = subprocess.run(
        [sys.executable, "-c", script, path, tmp_path / "state", tmp_path / "frames.npy"],
        cwd=Path(__file__).parents[2], capture_output=True, check=True,
    )  # fmt: skip
    assert fresh.stdout == last
