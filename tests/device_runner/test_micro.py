"""TensorFlow Lite Micro on this computer. Each run has a process of its own: two TFLite runtimes
in one process can crash each other."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from device_runner.backends.micro import ARENA_STEP_BYTES
from device_runner.model.step_file import load_step_model

needs_micro = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="tflite-micro is not installed (extra 'micro')",
)

# Steps a model in micro and in the reference; prints the arena and the outputs' largest difference
# as a share of the range, whether states are kept apart, and whether a smaller arena would do.
SCRIPT = """
import json, sys
import numpy as np
from device_runner.backends import micro
from device_runner.stream import Stream, Streams
path, frames = sys.argv[1], np.load(sys.argv[2])
stream = Stream(path, "micro")
found, expected = stream.run(frames), Stream(path, "reference").run(frames)
saved = stream.save_state()
after = [float(stream.step(frames[0])[0])]
stream.reset()
again = stream.run(frames)
stream.load_state(saved)
after.append(float(stream.step(frames[0])[0]))
shared = Streams(path, "micro")
one, other = shared.open(), shared.open()
in_turns = [(one.step(frame), other.step(frame)) for frame in frames]
arena = stream.backend.arena_bytes
make = lambda size: micro._interpreter(micro._runtime(), stream.model, size)
print(json.dumps({
    "arena": arena,
    "error": float(np.abs(found - expected).max() / np.ptp(expected)),
    "repeated": bool((again == found).all()),
    "resumed": after[0] == after[1],
    "in turns": all((a == y).all() and (b == y).all() for (a, b), y in zip(in_turns, found)),
    "fits": not isinstance(make(arena), Exception),
    "smaller fits": not isinstance(make(arena - 2 * micro.ARENA_STEP_BYTES), Exception),
}))
"""


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_micro
@pytest.mark.parametrize(
    ("cell", "scheme", "limit"),
    [("lstm", "int8", 0.15), ("gru", "int8", 0.15), ("lstm", "int16x8", 0.02),
     ("oru-state", "int8", 0.3), ("lstm", "float32", 1e-5)],
)  # fmt: skip
def test_steps_verifies_and_finds_its_arena(step_models, vowels, tmp_path, cell, scheme, limit):
    import numpy as np

    path = step_models(cell, scheme)
    np.save(tmp_path / "frames.npy", np.concatenate(vowels.test.sequences)[:100])
    process = run("-c", SCRIPT, path, tmp_path / "frames.npy")
    assert process.returncode == 0, process.stderr
    facts = json.loads(process.stdout)
    assert facts["error"] < limit
    assert facts["repeated"], "after a reset, the same frames give another result"
    assert facts["resumed"]
    assert facts["in turns"], "two streams on one interpreter disturb each other"
    assert facts["fits"]
    assert not facts["smaller fits"]
    assert facts["arena"] % ARENA_STEP_BYTES == 0
    state_bytes = sum(len(state.initial_bytes()) for state in load_step_model(path).contract.states)
    assert state_bytes < facts["arena"] < 64 * 1024
    verified = run("-m", "device_runner", "verify", "--backend", "micro", path)
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.startswith("ok")


@needs_micro
@pytest.mark.parametrize(
    ("scheme", "reason"), [("float16", "Node DEQUANTIZE"), ("dynamic", "FLOAT32 with filter type")]
)
def test_what_it_does_not_take_is_refused_in_one_line(step_models, scheme, reason):
    process = run("-m", "device_runner", "verify", "--backend", "micro", step_models("gru", scheme))
    assert process.returncode == 3
    assert process.stderr.startswith("Error: ")
    assert len(process.stderr.splitlines()) == 1
    assert reason in process.stderr
    assert "export it as int8 or int16x8" in process.stderr


def test_without_the_package_one_line_says_what_to_install(int8_file):
    script = (
        "import sys; sys.modules['tflite_micro'] = None\n"
        "from device_runner.cli import main\n"
        f"main(['verify', '--backend', 'micro', {str(int8_file)!r}])"
    )
    process = run("-c", script)
    assert process.returncode == 4
    assert process.stderr.startswith("Error: tflite-micro is not usable")
    assert "pip install --pre tflite-micro" in process.stderr
    assert len(process.stderr.splitlines()) == 1


@needs_micro
@pytest.mark.parametrize(
    ("cell", "is_known"), [("lstm", True), ("gru", True), ("window-attention", False)]
)
def test_the_portable_kernels_give_the_recorded_bits(step_models, cell, is_known):
    """What convert.portable_kernels computed at export; it leaves out operators such as SUM."""
    path = step_models(cell, "int8")
    process = run("-m", "device_runner", "verify", "--json", "--backend", "micro", path)
    assert process.returncode == 0, process.stderr
    replay = json.loads(process.stdout)["replay"]
    assert replay["must_be_same"] == is_known
    assert replay["same_bits"] or not is_known
