"""Ten million steps by four threads, on streams of their own and on one loaded model."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
STEPS = int(os.environ.get("EDGESTEP_FAULT_STEPS", "10000000"))
# Slower ones do a share of the steps.
RUNTIMES = {
    "litert": ("ai_edge_litert", 1.0),
    "tflite-runtime": ("tflite_runtime", 0.01),
    "reference": ("numpy", 0.002),
}
SCRIPT = """
import gc, hashlib, sys, threading
from device_runner.model.frames import stored_frames
from device_runner.stream import Stream, Streams

path, backend, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
model = Stream(path, backend).model
frames = stored_frames(model.golden.inputs, model.contract.inputs)
gc.collect()

def walked(step, count):
    last = b""
    for number in range(count):
        last = step(frames[number % len(frames)])
    return last, hashlib.sha256(b"".join(step(frame) for frame in frames)).hexdigest()

half = steps // 8
wanted = walked(Stream(path, backend).step_bytes, half)
streams = Streams(path, backend)
for name, make in (("own", lambda: Stream(path, backend)), ("shared", streams.open)):
    found = {}
    opened = [make() for _ in range(4)]
    def work(number):
        found[number] = walked(opened[number].step_bytes, half)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    if list(found.values()) != [wanted] * 4:
        print(name, "differs")
"""


@pytest.mark.parametrize("backend", RUNTIMES)
def test_four_threads(backend):
    package, share = RUNTIMES[backend]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{backend} is not installed")
    model = ROOT / "tests" / "step_models" / "lstm-float32.tflite"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, model, backend, str(int(STEPS * share))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
