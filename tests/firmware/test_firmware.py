"""C without a runtime steps as libedgestep does, to the bit."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from convert.errors import NotExportableError
from convert.exporters.firmware.layouts import export_firmware
from convert.exporters.firmware.source import firmware_source
from device_runner.backends import backend_module
from device_runner.backends.native import NativeBackend
from device_runner.errors import MissingRuntimeError
from device_runner.model.step_file import StepModel, load_step_model
from pipeline.cli import main
from tests.conftest import EACH_VARIANT, KEPT_STEP_MODELS
from tests.device_runner.near_misses import near_miss
from tests.firmware.host import (
    CARELESS,
    Firmware,
    compile_portable_library,
    compiled_firmware,
    portable_backend,
    seeded_frames,
)
from tests.hand_made_steps import VOCABULARY, step_model
from tests.models.test_hierarchical import exported, hierarchical, network_of
from tests.windowed_steps import windowed, windowed_model

KEPT = sorted(KEPT_STEP_MODELS.glob("*.tflite"))
STEPS = 200


@pytest.fixture(autouse=True)
def needs_library():
    try:
        backend_module("native").probe()
    except MissingRuntimeError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="session")
def portable(made_once) -> Path:
    return made_once("portable-libedgestep.so", compile_portable_library)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Callable[[Path], Firmware]:
    """A kept model compiled strictly, with a stream of its own; compiled once."""
    made: dict[Path, Firmware] = {}

    def get(path: Path) -> Firmware:
        if path not in made:
            model = load_step_model(path)
            made[path] = compiled_firmware(model, tmp_path_factory.mktemp("firmware"))
        return replace(made[path])

    return get


def state_of(backend: NativeBackend) -> bytes:
    return b"".join(backend.read_state().values())


def check(model: StepModel, firmware: Firmware, portable: Path, steps: int = STEPS) -> None:
    """Step both from the initial state, by bytes, and compare outputs and states."""
    library = portable_backend(portable, model)
    assert firmware.state() == state_of(library)
    for frame in seeded_frames(model, steps):
        assert firmware.step_bytes(frame) == library.step(frame)
        assert firmware.state() == state_of(library)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_models(path, kept, portable):
    firmware = kept(path)
    check(firmware.model, firmware, portable)
    assert firmware.self_test() == 0
    assert firmware.state() == b"".join(firmware.model.contract.initial_state().values())


@pytest.mark.parametrize("name", ["gru-float32", "gru-int8"])
def test_fused_multiply_adds_are_kept_out(name, portable, tmp_path):
    """However it is compiled; int8 is rounded in float32, too."""
    model = load_step_model(KEPT_STEP_MODELS / f"{name}.tflite")
    check(model, compiled_firmware(model, tmp_path, CARELESS), portable)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_real_values_are_stored_as_the_library_does(path, kept, portable):
    firmware = kept(path)
    model = firmware.model
    x = np.zeros(sum(np.prod(spec.shape) for spec in model.contract.inputs), np.float32)
    y = np.zeros(sum(np.prod(spec.frame_shape) for spec in model.contract.answers), np.float32)
    step = portable_backend(portable, model)._stream.bind_values_step(x, y)
    for frame in np.asarray(model.golden.x, np.float32) * 3:  # some are beyond the grid
        x[:] = frame.ravel()
        y[:] = 0
        status = step()
        found, given = firmware.step(x, len(y))
        assert found == status
        assert given.tobytes() == y.tobytes()
    before = firmware.state()
    x[0] = np.nan
    assert firmware.step(x, len(y))[0] == 4
    assert firmware.state() == before


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_state_of_another_runtime_goes_on(path, kept, portable):
    firmware = kept(path)
    model = firmware.model
    library = portable_backend(portable, model)
    frames = seeded_frames(model, 40)
    for frame in frames[:23]:
        library.step(frame)
    firmware.set_state(state_of(library))
    assert firmware.state() == state_of(library)
    expected = [library.step(frame) for frame in frames[23:]]
    assert [firmware.step_bytes(frame) for frame in frames[23:]] == expected
    firmware.reset()
    assert firmware.state() == b"".join(model.contract.initial_state().values())


@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
def test_every_cell(step_models, cell, options, portable, tmp_path):
    for scheme in ("int8", "float32"):
        model = load_step_model(step_models(cell, scheme, **options))
        check(model, compiled_firmware(model, tmp_path / scheme), portable, 60)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["int16x8", "dynamic", "float16", "int8:per-channel"])
@pytest.mark.parametrize("cell", ["gru", "lstm", "window-attention"])
def test_other_schemes(step_models, cell, scheme, portable, tmp_path):
    if cell == "window-attention" and scheme == "int16x8":
        pytest.skip("this cell has no such form")
    model = load_step_model(step_models(cell, scheme))
    firmware = compiled_firmware(model, tmp_path)
    check(model, firmware, portable)
    assert firmware.self_test() == 0


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("two", "int8"), ("tokens", "float32"), ("mixed", "int8"), ("matrix", "int8"),
     ("counting", "float32"), ("image", "float32")],
)  # fmt: skip
def test_several_inputs_tokens_and_other_states(name, scheme, portable, tmp_path):
    model = step_model(name, tmp_path, scheme)
    firmware = compiled_firmware(model, tmp_path)
    check(model, firmware, portable)
    assert firmware.self_test() == 0
    if name != "tokens":
        return
    before = firmware.state()
    for bad in (-1.0, float(VOCABULARY), 1e9):
        assert firmware.step(np.array([bad], np.float32), 4)[0] == 4
    assert firmware.state() == before
    # By bytes, as in the library, such a token is the first one.
    bad, first = (np.array([token], np.int32).tobytes() for token in (VOCABULARY, 0))
    found = []
    for frame in (bad, first):
        firmware.reset()
        found.append(firmware.step_bytes(frame))
    assert found[0] == found[1]


def test_phases(portable, tmp_path):
    model = exported(tmp_path, network_of(hierarchical("gru", (1, 4))))
    firmware = compiled_firmware(model, tmp_path)
    library = portable_backend(portable, model)
    frames = seeded_frames(model, 41)
    for number, frame in enumerate(frames):
        assert firmware.step_bytes(frame) == library.step(frame)
        assert firmware.state() == state_of(library)
        if number == 21:  # within a cycle
            state = firmware.state()
            firmware.reset()
            firmware.set_state(state)
    assert firmware.self_test() == 0


@pytest.mark.parametrize(("steps", "hop", "in_lanes"), [(7, 3, True), (4, 2, False)])
def test_windows(steps, hop, in_lanes, portable, tmp_path):
    model = windowed_model(windowed(steps, hop, in_lanes), tmp_path, "int8")
    firmware = compiled_firmware(model, tmp_path)
    check(model, firmware, portable, 5 * steps)
    assert firmware.self_test() == 0


@pytest.mark.parametrize("seed", range(6))
def test_graphs_that_are_nearly_a_cell(seed, portable, tmp_path):
    kept = [load_step_model(path) for path in KEPT if "window" not in path.name]
    model = kept[seed % len(kept)]
    model = replace(model, flatbuffer=near_miss(model.flatbuffer, seed)[0])
    check(model, compiled_firmware(model, tmp_path), portable, 20)


@pytest.mark.parametrize("name", ["lstm-float32", "window-7-3-lanes-int8"])
def test_nothing_is_needed_but_memcpy_and_memset(name, tmp_path):
    export_firmware(load_step_model(KEPT_STEP_MODELS / f"{name}.tflite"), tmp_path, "plain", "net")
    command = ["gcc", "-std=c99", "-O2", "-c", "-o", str(tmp_path / "net.o")]
    subprocess.run([*command, str(tmp_path / "edgestep_net.c")], check=True)
    done = subprocess.run(
        ["nm", "-u", str(tmp_path / "net.o")], capture_output=True, text=True, check=True
    )
    needed = {line.split()[-1] for line in done.stdout.splitlines()}
    assert needed <= {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}


def test_names_become_identifiers(tmp_path):
    path = KEPT[0]
    for name, expected in (
        ("7 segments; system().tflite", "edgestep_7_segments__system"),
        ("Größe.tflite", "edgestep_gr__e"),
        ("int.tflite", "edgestep_int"),
    ):
        source = firmware_source(replace(load_step_model(path), path=tmp_path / name))
        assert source.name == expected
    with pytest.raises(NotExportableError, match="not a valid C name"):
        firmware_source(load_step_model(path), "1; system()")


def test_what_the_library_refuses_is_refused_in_one_line(tmp_path):
    model = load_step_model(KEPT_STEP_MODELS / "gru-int8.tflite")
    damaged = bytes(model.flatbuffer).replace(bytes([28, 0, 0, 0]), bytes([231, 3, 0, 0]))
    with pytest.raises(NotExportableError, match="libedgestep refuses") as caught:
        firmware_source(replace(model, flatbuffer=damaged))
    assert "\n" not in caught.value.message


def test_files_of_others_are_kept(tmp_path):
    (tmp_path / "edgestep_gru_int8.c").write_text("int mine;\n")
    command = ["export-c", str(KEPT_STEP_MODELS / "gru-int8.tflite"), "--runtime", "none"]
    done = CliRunner().invoke(main, [*command, "--output", str(tmp_path)])
    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["edgestep_gru_int8.c"]
    for _ in range(2):
        done = CliRunner().invoke(main, [*command, "--output", str(tmp_path), "--force"])
        assert done.exit_code == 0, done.output
    assert "constants 2,912 bytes" in done.stdout


def test_a_layout_wants_no_runtime(tmp_path):
    command = ["export-c", str(KEPT[0]), "--layout", "arduino", "--output", str(tmp_path)]
    assert CliRunner().invoke(main, command).exit_code == 2
