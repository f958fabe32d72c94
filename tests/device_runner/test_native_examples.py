"""The examples of sound in C, and that a step is quiet: no allocation, no system call."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device_runner.backends.native_library import compiled_files
from device_runner.stream import Stream
from tests.conftest import KEPT_STEP_MODELS

NATIVE = Path(__file__).parents[2] / "native"
KEPT = sorted(KEPT_STEP_MODELS.glob("*.tflite"))
PROGRAMS = ("examples/step_wav", "examples/audio_callback")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Callable[[str], Path]:
    """Compile a program of ``native/`` against the library, once."""
    if not compiled_files() or shutil.which("cc") is None:
        pytest.skip("libedgestep is not compiled, or there is no C compiler")
    folder = tmp_path_factory.mktemp("programs")
    library = shutil.copyfile(compiled_files()[-1], folder / "libedgestep.so")

    def program(name: str) -> Path:
        path = folder / Path(name).name
        if not path.exists():
            command = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", NATIVE / f"{name}.c", library]
            subprocess.run([*command, f"-Wl,-rpath,{folder}", "-o", path], check=True)
        return path

    return program


def write_sound(path: Path, count: int = 3000) -> np.ndarray:
    samples = np.random.default_rng(5).integers(-32768, 32767, count, endpoint=True)
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(samples.astype("<i2").tobytes())
    return samples


@pytest.mark.parametrize("model", KEPT, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_wav_file_is_stepped_as_python_does(compiled, name, model, tmp_path):
    samples = write_sound(tmp_path / "sound.wav")
    done = subprocess.run(
        [compiled(name), model, tmp_path / "sound.wav"], check=True, capture_output=True, text=True
    )
    found = np.array([line.split(",") for line in done.stdout.split()], float)
    stream = Stream(model, "native")
    inputs = stream.model.contract.input.frame_shape[-1]
    frames = (samples[: len(samples) // inputs * inputs] / 32768).reshape(-1, inputs)
    expected = stream.run(frames.astype(np.float32))
    np.testing.assert_allclose(
        found, expected[~np.isnan(expected).any(axis=1)], rtol=1e-5, atol=1e-6
    )
    assert done.stderr == ""


def chunk(tag: bytes, content: bytes, size: int | None = None) -> bytes:
    return tag + struct.pack("<I", len(content) if size is None else size) + content


FORMAT = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
HOSTILE = {
    "nothing": (b"", "no WAV"),
    "four bytes": (b"RIFF", "no WAV"),
    "another file": (b"OggS" + bytes(100), "no WAV"),
    "no chunk": (b"RIFF\0\0\0\0WAVE", "no sound"),
    "a format cut off": (b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", FORMAT[:9]), "cut off"),
    "a format that says less": (b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", FORMAT, 3), "cut off"),
    "sound before its format": (b"RIFF\0\0\0\0WAVE" + chunk(b"data", bytes(8)), "before"),
    "a chunk of 4 gigabytes": (b"RIFF\0\0\0\0WAVE" + chunk(b"LIST", b"abc", 2**32 - 1), "ends"),
    "two channels": (
        b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, 8, 8, 4, 16)), "one",
    ),
    "floats": (
        b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", struct.pack("<HHIIHH", 3, 1, 8, 8, 4, 32)), "one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_hostile_headers_are_refused_in_one_line(compiled, name, tmp_path):
    for kind, (content, complaint) in HOSTILE.items():
        file = tmp_path / "bad.wav"
        file.write_bytes(content)
        done = subprocess.run(
            [compiled(name), KEPT[0], file], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (1, ""), kind
        assert done.stderr.count("\n") == 1, kind
        assert complaint in done.stderr, kind


def test_a_length_beyond_the_end_gives_what_is_there(compiled, tmp_path):
    file = tmp_path / "long.wav"
    sound = chunk(b"data", bytes(2 * 12 * 5), 2**32 - 1)
    file.write_bytes(b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", FORMAT) + sound)
    command = [compiled(PROGRAMS[0]), KEPT_STEP_MODELS / "gru-int8.tflite", file]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stdout.split()) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can forbid system calls")
def test_a_step_allocates_nothing_and_makes_no_system_call(compiled):
    program = compiled("tests/quiet_steps")
    done = subprocess.run([program, "2000", *KEPT], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{len(KEPT)} models")


@pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no CMake")
@pytest.mark.slow
def test_cmake_installs_a_library_that_pkg_config_finds(tmp_path):
    """Built, installed, and linked as a stranger's program would."""
    place = tmp_path / "place"
    build = ["cmake", "-S", NATIVE, "-B", tmp_path / "build", f"-DCMAKE_INSTALL_PREFIX={place}"]
    subprocess.run([*build, "-DBUILD_SHARED_LIBS=ON"], check=True, capture_output=True)
    for step in (["--build", tmp_path / "build"], ["--install", tmp_path / "build"]):
        subprocess.run(["cmake", *step], check=True, capture_output=True)
    (found,) = place.rglob("edgestep.pc")
    flags = ["-I", place / "include", "-L", found.parents[1], "-ledgestep"]
    if shutil.which("pkg-config"):
        asked = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "edgestep"], check=True, capture_output=True,
            text=True, env={**os.environ, "PKG_CONFIG_PATH": str(found.parent)},
        )  # fmt: skip
        flags = asked.stdout.split()
    source = tmp_path / "own.c"
    source.write_text(
        "#include <edgestep.h>\n#include <stdio.h>\n"
        "int main(void) { puts(es_instruction_set()); return 0; }\n"
    )
    program = tmp_path / "own"
    subprocess.run(["cc", source, *flags, "-o", program], check=True)
    done = subprocess.run(
        [program], check=True, capture_output=True, text=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(found.parents[1])},
    )  # fmt: skip
    assert done.stdout.strip()
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(own C)\nfind_package(edgestep REQUIRED)\n"
        "add_executable(own own.c)\ntarget_link_libraries(own PRIVATE edgestep::edgestep)\n"
    )
    own = tmp_path / "own-build"
    command = ["cmake", "-S", tmp_path, "-B", own, f"-DCMAKE_PREFIX_PATH={place}"]
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", own], check=True, capture_output=True)
    assert (
        subprocess.run([own / "own"], check=True, capture_output=True).stdout
        == done.stdout.encode()
    )
