"""Exported C compiled for this machine, and libedgestep for any machine to compare with."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from convert.exporters.firmware.layouts import export_firmware
from convert.exporters.firmware.source import FirmwareSource
from device_runner.backends.native import LoadedModel, NativeBackend
from device_runner.backends.native_library import _declared
from device_runner.model.step_file import StepModel

NATIVE = Path(__file__).parents[2] / "native"
STRICT = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
# As a build system compiles that knows nothing of it: with fused multiply-adds where it can.
FUSED = ("-mfma",) if platform.machine() == "x86_64" else ()
CARELESS = ("-std=gnu11", "-O2", *FUSED, "-ffp-contract=fast", "-Wall", "-Wextra", "-Werror")
PORTABLE = ("-DES_NO_AVX512", "-DES_NO_AVX2", "-DES_NO_NEON")


def compile_portable_library(path: Path) -> None:
    """Compile libedgestep without any machine's own kernels."""
    sources = map(str, sorted((NATIVE / "src").glob("*.c")))
    command = ["gcc", "-std=gnu11", "-O1", "-ffp-contract=off", *PORTABLE, "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(path), *sources, "-lm"], check=True)


@dataclass
class Firmware:
    """Exported C in a library of this machine, with one stream."""

    library: ctypes.CDLL
    source: FirmwareSource
    model: StepModel

    def __post_init__(self) -> None:
        self.memory = ctypes.create_string_buffer(self.source.block_bytes + 64)
        self.given = ctypes.create_string_buffer(
            sum(output.byte_count for output in self.model.contract.outputs)
        )
        self.call("step_bytes").restype = ctypes.c_size_t
        self.reset()

    def call(self, name: str):
        return self.library[f"{self.source.name}_{name}"]

    def reset(self) -> None:
        self.call("reset")(self.memory)

    def step_bytes(self, frame: bytes) -> bytes:
        count = self.call("step_bytes")(self.memory, frame, self.given)
        return self.given.raw[:count]

    def step(self, x: NDArray[np.float32], count: int) -> tuple[int, NDArray[np.float32]]:
        y = np.zeros(count, np.float32)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, y)]
        return self.call("step")(self.memory, *pointers), y

    def self_test(self) -> int:
        return self.call("self_test")(self.memory)

    def state(self) -> bytes:
        state = ctypes.create_string_buffer(max(self.source.state_bytes, 1))
        self.call("get_state")(self.memory, state)
        return state.raw[: self.source.state_bytes]

    def set_state(self, state: bytes) -> None:
        self.call("set_state")(self.memory, state)


def compiled_firmware(model: StepModel, folder: Path, flags: tuple[str, ...] = STRICT) -> Firmware:
    """Export a model and compile it for this machine."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    written = export_firmware(model, folder, "plain", "net", force=True)
    sources = [str(path) for path in written.files if path.suffix == ".c"]
    library = folder / f"{len(list(folder.glob('*.so')))}.so"
    subprocess.run(["gcc", *flags, "-shared", "-fPIC", "-o", str(library), *sources], check=True)
    return Firmware(ctypes.CDLL(str(library)), written.source, model)


def portable_backend(library: Path, model: StepModel) -> NativeBackend:
    """Load a model into the library of :func:`compile_portable_library`."""
    return NativeBackend(LoadedModel(_declared(ctypes.CDLL(str(library))), model))


def seeded_frames(model: StepModel, count: int) -> list[bytes]:
    """Frames over the whole of the input's grid, or of its normal range."""
    chance = np.random.default_rng(17)
    frames = []
    for _ in range(count):
        parts = []
        for spec in model.contract.inputs:
            if spec.vocabulary:
                values = chance.integers(0, spec.vocabulary, spec.shape)
            elif spec.scale is None:
                values = chance.normal(0, 2, spec.shape)
            else:
                limits = np.iinfo(spec.dtype)
                values = chance.integers(limits.min, limits.max, spec.shape, endpoint=True)
            parts.append(values.astype(spec.dtype).tobytes())
        frames.append(b"".join(parts))
    return frames
