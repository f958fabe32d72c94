"""Wheels for other machines: what is in them, and that integers have the same bits there."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from device_runner.stream import Stream
from tests.conftest import KEPT_STEP_MODELS

ROOT = Path(__file__).parents[1]
# The folder of the machine's libraries (libc6-arm64-cross, libc6-armhf-cross), and its emulator.
EMULATED = {
    "aarch64": ("aarch64-linux-gnu", "qemu-aarch64"),
    "armv7l": ("arm-linux-gnueabihf", "qemu-arm"),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ziglang") is None,
        reason="ziglang is not installed; 'make wheels' installs it",
    ),
]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, ROOT / "native" / "wheels.py", "--output", folder]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_each_wheel_has_its_machines_library(wheels):
    found = {path.stem.rpartition("manylinux_2_17_")[2]: path for path in wheels.glob("*.whl")}
    assert set(found) == {"x86_64", *EMULATED}
    numbers = {"x86_64": 62, "aarch64": 183, "armv7l": 40}  # e_machine of ELF
    for machine, path in found.items():
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            for name in ("libedgestep.so", "native_call.abi3.so"):
                header = archive.read(f"device_runner/{name}")[:20]
                assert int.from_bytes(header[18:20], "little") == numbers[machine]
            tag = next(name for name in archive.namelist() if name.endswith("/WHEEL"))
            assert f"Tag: cp310-abi3-manylinux_2_17_{machine}" in archive.read(tag).decode()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the wheel of x86-64 is installed")
def test_the_wheel_is_installed_and_steps(wheels, tmp_path):
    (wheel,) = wheels.glob("*x86_64.whl")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, tmp_path, wheel], check=True, capture_output=True)
    model = KEPT_STEP_MODELS / "gru-int8.tflite"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from device_runner.stream import Stream;"
        "s = Stream(sys.argv[2]); print(s.backend.name, type(s.step).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path, model],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split()[:2] == ["native", "builtin_function_or_method"]


@pytest.mark.parametrize("machine", EMULATED)
@pytest.mark.parametrize("scheme", ["int8", "float32"])
def test_steps_on_an_emulated_machine(wheels, machine, scheme, tmp_path):
    """Integers are the same bits; of float32, six digits."""
    root, emulator = EMULATED[machine]
    if shutil.which(emulator) is None or not Path("/usr", root).is_dir():
        pytest.skip(f"{emulator} or its libraries are not installed (qemu-user, libc6-*-cross)")
    libraries = ROOT / "device_runner" / "libraries"
    program = tmp_path / "step_csv"
    target = root if machine == "aarch64" else f"{root}.2.17"
    subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", "-target", target, "-O2", "-o", program,
         ROOT / "native" / "examples" / "step_csv.c", libraries / f"libedgestep-{machine}.so"],
        check=True, capture_output=True,
    )  # fmt: skip
    for cell in ("gru", "lstm"):
        file = KEPT_STEP_MODELS / f"{cell}-{scheme}.tflite"
        stream = Stream(file, "native")
        x = stream.model.golden.x
        lines = "\n".join(",".join(f"{value:.9g}" for value in row) for row in x.tolist())
        done = subprocess.run(
            [emulator, "-L", f"/usr/{root}", "-E", f"LD_LIBRARY_PATH={libraries}", program, file],
            input=lines, check=True, capture_output=True, text=True, env=dict(os.environ),
        )  # fmt: skip
        found = np.array([line.split(",") for line in done.stdout.split()], float)
        exact = scheme == "int8"
        np.testing.assert_allclose(
            found, stream.run(x), rtol=1e-5 if exact else 1e-4, atol=0 if exact else 1e-5
        )
