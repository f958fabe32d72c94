"""The examples in C, C++, Rust and Python step the kept models as Python does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device_runner.backends.native_library import compiled_files
from device_runner.stream import Stream
from tests.conftest import KEPT_STEP_MODELS

EXAMPLES = Path(__file__).parents[2] / "native" / "examples"
WARNINGS = ("-O1", "-Wall", "-Wextra", "-Werror")
COMPILERS = {
    "c": ("cc", *WARNINGS),
    "cpp": ("c++", "-std=c++17", *WARNINGS),
    "rs": ("rustc", "-D", "warnings"),
    "py": (sys.executable,),
}


@pytest.fixture(scope="module", params=COMPILERS)
def program(request, tmp_path_factory) -> Path:
    """The example of a language, compiled against the library."""
    compiler, *options = COMPILERS[request.param]
    if not compiled_files() or shutil.which(compiler) is None:
        pytest.skip(f"libedgestep is not compiled, or there is no {compiler}")
    folder = tmp_path_factory.mktemp(request.param)
    library = folder / "libedgestep.so"
    shutil.copyfile(compiled_files()[-1], library)
    source = EXAMPLES / f"step_csv.{request.param}"
    if request.param == "py":
        script = folder / "step_csv"
        script.write_text(
            f"#!/bin/sh\nLIBEDGESTEP='{library}' exec '{compiler}' -S '{source}' \"$@\"\n"
        )
        script.chmod(0o755)
        return script
    if request.param == "rs":
        link = ("-L", folder, "-l", "edgestep", "-C", f"link-arg=-Wl,-rpath,{folder}")
    else:
        link = (library, f"-Wl,-rpath,{folder}")
    command = [compiler, *options, source, *link, "-o", folder / "step_csv"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder / "step_csv"


def test_examples_step_as_python_does(program):
    for file in sorted(KEPT_STEP_MODELS.glob("*.tflite")):
        stream = Stream(file, "native")
        x = stream.model.golden.x
        lines = "\n".join(",".join(f"{value:.9g}" for value in row) for row in x.tolist())
        done = subprocess.run(
            [program, file], input=lines, check=True, capture_output=True, text=True
        )
        found = np.array([line.split(",") for line in done.stdout.split()], float)
        outputs = stream.run(x)
        expected = outputs[~np.isnan(outputs).any(axis=1)]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_examples_say_what_is_wrong_in_one_line(program, tmp_path):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"no model at all")
    for file in (bad, tmp_path / "missing.tflite"):
        done = subprocess.run([program, file], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
    frame = ",".join(["nan"] * 12)
    done = subprocess.run(
        [program, KEPT_STEP_MODELS / "gru-int8.tflite"],
        input=frame, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "finite" in done.stderr) == (1, True) or done.stdout == ""
