"""What `check` says of a file is what the runtime does, wherever the runtime is installed.

The GPU's profile is held against its runtime in test_gpu_profile.py; an Edge TPU is in no machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convert.targets.check import check_file
from convert.tflite_editor import TfliteEditor
from device_runner.backends import backend_module
from device_runner.errors import MissingRuntimeError
from tests.conftest import KEPT_STEP_MODELS
from tests.foreign_files import FOLDER

# By backend: the target, and the runtime that the user would name.
CLAIMS = {
    "litert": ("cpu", "ai-edge-litert"),
    "tflite-runtime": ("cpu", "tflite-runtime"),
    "tensorflow": ("cpu", "tensorflow"),
    "micro": ("micro", None),
}
# Steps each file once, and says of each whether that went well.
CHILD = """
import sys
from device_runner.backends.backend import LoadOptions
from device_runner.opening import open_any_stream
for path in sys.argv[2:]:
    try:
        open_any_stream(path, sys.argv[1], LoadOptions())
        print("taken", path, flush=True)
    except Exception as error:
        print("refused", path, error, flush=True)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Files of TensorFlow's converter and our own; one of a version that no runtime has."""
    editor = TfliteEditor((FOLDER / "function-gru.tflite").read_bytes())
    editor.raise_versions({"TANH": 19})
    newer = tmp_path_factory.mktemp("claims") / "newer.tflite"
    newer.write_bytes(editor.flatbuffer())
    kept = sorted(KEPT_STEP_MODELS.glob("*-int8.tflite"))
    return [*sorted(FOLDER.glob("*.tflite")), *kept, newer]


@pytest.mark.parametrize(
    "backend",
    [pytest.param(one, marks=pytest.mark.slow) if one == "tensorflow" else one for one in CLAIMS],
)
def test_what_check_claims_is_what_the_runtime_does(backend, files):
    try:
        backend_module(backend).probe() if backend != "tensorflow" else None
    except MissingRuntimeError as error:
        pytest.skip(error.message)
    target, runtime = CLAIMS[backend]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, backend, *map(str, files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = {line.split()[1]: line.startswith("taken") for line in done.stdout.splitlines()}
    assert len(found) == len(files), done.stderr[-2000:]
    claimed = {str(path): check_file(path, target, runtime).fits for path in files}
    assert claimed == found
    assert set(found.values()) == {True, False}
