"""Emulated boards give libedgestep's bits: Cortex-M3, M4, M7, M55 and 32-bit RISC-V."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device_runner.model.step_file import StepModel, load_step_model
from device_runner.stream import Stream
from tests.conftest import KEPT_STEP_MODELS
from tests.firmware.boards import BOARDS, Board, run_on_board
from tests.firmware.host import compile_portable_library, portable_backend, seeded_frames

pytestmark = pytest.mark.firmware
KEPT = sorted(KEPT_STEP_MODELS.glob("*.tflite"))
STEPS = 300
# Each has another processor without a floating-point unit, or with one.
OTHER_SCHEMES = ("int16x8", "dynamic", "float16", "int8:per-channel")


@pytest.fixture(params=BOARDS, ids=lambda board: board.name)
def board(request) -> Board:
    if (program := request.param.missing()) is not None:
        pytest.skip(f"{program} is not installed: tests/firmware/debian-packages.txt")
    return request.param


@pytest.fixture(scope="session")
def portable(made_once) -> Path:
    return made_once("portable-libedgestep.so", compile_portable_library)


def check(board: Board, model: StepModel, portable: Path, folder: Path) -> None:
    """Step a model on a board and on this machine: bytes, real values, the state."""
    frames = seeded_frames(model, STEPS)
    found = run_on_board(board, model, frames, folder)
    library = portable_backend(portable, model)
    assert list(found.bytes) == [library.step(frame) for frame in frames]
    assert found.state == b"".join(library.read_state().values())
    assert found.self_test == 0
    library = portable_backend(portable, model)
    x = np.zeros(model.golden.x[0].size, np.float32)
    y = np.zeros(sum(np.prod(spec.frame_shape) for spec in model.contract.answers), np.float32)
    step = library._stream.bind_values_step(x, y)
    for real, (status, given) in zip(model.golden.x, found.values, strict=True):
        x[:] = real.ravel()
        assert step() == status
        assert y.tobytes() == given


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_board_gives_the_librarys_bits(board, path, portable, tmp_path):
    check(board, load_step_model(path), portable, tmp_path)


@pytest.mark.parametrize("scheme", OTHER_SCHEMES)
def test_other_schemes(board, scheme, step_models: Callable[..., Path], portable, tmp_path):
    if board.name not in ("Cortex-M4", "RV32IMAC"):
        pytest.skip("two boards are enough for the other schemes")
    check(board, load_step_model(step_models("gru", scheme)), portable, tmp_path)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_the_host_library_with_vectors_gives_the_same_in_int8(board, path, tmp_path):
    """Not only the portable kernels: what Stream steps with on this machine."""
    model = load_step_model(path)
    if "int8" not in path.name:
        pytest.skip("float32 differs in the last digits from one instruction set to another")
    frames = seeded_frames(model, STEPS)
    step = Stream(model, "native").step_bytes
    assert list(run_on_board(board, model, frames, tmp_path).bytes) == [step(f) for f in frames]
