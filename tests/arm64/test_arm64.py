"""The on-device program on emulated Arm boards, with each runtime: 'make test-arm64'."""

import json
from pathlib import Path

import numpy as np
import pytest

import device_runner
from device_runner.backends.native_library import FOLDER, library_name
from device_runner.model.step_file import load_step_model
from device_runner.verify import compare
from tests.arm64.conftest import (
    BACKENDS,
    FORMS,
    SCHEMES,
    STEP_GOLDEN,
    SYSTEMS,
    Run,
    differences,
)
from tests.arm64.emulated_arm import BOARDS
from tests.conftest import KEPT_STEP_MODELS

pytestmark = pytest.mark.arm64

systems = pytest.mark.parametrize(("board", "runtime"), SYSTEMS)
forms = pytest.mark.parametrize("form", FORMS)
schemes = pytest.mark.parametrize("scheme", SCHEMES)


@systems
@forms
@schemes
def test_every_cell_is_verified(board, runtime, form, scheme, models, verified):
    file = models[form, scheme]
    line = verified(board, runtime)[str(file)]
    assert line["failure"] is None
    assert line["backend"] == BACKENDS[runtime]
    golden = load_step_model(file).golden
    assert line["steps"] == len(golden.x) > 0


@systems
@forms
@schemes
def test_outputs_are_as_near_to_x86_as_to_the_float_model(
    board, runtime, form, scheme, models, stepped, stepped_on_x86
):
    file = models[form, scheme]
    on_arm, on_x86 = stepped(board, runtime).outputs(file), stepped_on_x86(runtime).outputs(file)
    contract = load_step_model(file).contract
    difference = float(np.abs(on_arm.astype(np.float64) - on_x86).max())
    unit = "" if contract.output.scale is None else " steps"
    equal = np.mean(on_arm == on_x86)
    differences[runtime, scheme, form][board] = (
        f"{equal:.0%} of values equal, largest difference {difference:.2g}{unit}"
    )
    rms, largest, _ = compare(
        contract.output.dequantize(on_arm), contract.output.dequantize(on_x86)
    )
    assert rms <= contract.tolerance.rms
    assert largest <= contract.tolerance.max_abs


@systems
def test_a_state_saved_on_x86_goes_on_on_arm(
    board, runtime, arm_python, bundle, models, stepped_on_x86, tmp_path
):
    x86 = stepped_on_x86(runtime)
    arguments = (STEP_GOLDEN, bundle, BACKENDS[runtime], tmp_path, x86.folder, *models.values())
    done = arm_python(board, runtime).run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for file in models.values():
        check_second_half(file, Run(done, tmp_path), x86)


@systems
def test_a_state_saved_on_arm_goes_on_on_x86(board, runtime, models, stepped, stepped_on_x86):
    arm = stepped(board, runtime)
    for file in models.values():
        check_second_half(file, stepped_on_x86(runtime, arm.folder), arm)


def check_second_half(file, continued, uninterrupted):
    """Check that one run continues the other's outputs, and that a fresh stream does not."""
    contract = load_step_model(file).contract
    outputs = uninterrupted.outputs(file)
    expected = contract.output.dequantize(outputs[len(outputs) // 2 :])
    rms, largest, _ = compare(contract.output.dequantize(continued.outputs(file)), expected)
    assert rms <= contract.tolerance.rms, file.name
    assert largest <= contract.tolerance.max_abs, file.name
    fresh = contract.output.dequantize(uninterrupted.outputs(file, "fresh"))
    assert largest < compare(fresh, expected)[1] / 2, file.name


@systems
def test_bench_completes_and_says_that_the_times_are_emulated(
    board, runtime, arm_python, bundle, models, tmp_path
):
    results = tmp_path / "results.jsonl"
    files = [models["lstm", scheme] for scheme in SCHEMES]
    done = arm_python(board, runtime).run(
        bundle, "bench", "--backend", BACKENDS[runtime], "--steps", "100", "--rounds", "1",
        "--warmup", "0", "--output", results, *files, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "emulated" in done.stdout
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [line["file"] for line in lines] == [file.name for file in files]
    for line in lines:
        assert line["machine"]["emulated"] is True
        assert line["machine"]["architecture"] == BOARDS[board].architecture.machine
        assert line["machine"]["model"] == BOARDS[board].model
        assert line["backend"] == BACKENDS[runtime]
        assert any("emulated" in warning for warning in line["warnings"])
        assert line["latency_ns"]["step"]["samples"] >= 100


@systems
def test_the_program_starts_and_is_quiet(board, runtime, arm_python, bundle, models, tmp_path):
    python = arm_python(board, runtime)
    help_text = python.run(bundle, "--help", cwd=tmp_path)
    assert (help_text.returncode, help_text.stderr) == (0, "")
    assert "Usage: edgestep-device" in help_text.stdout
    file = models["lstm", "int8"]
    frame = ",".join("0" for _ in range(load_step_model(file).contract.input.shape[-1]))
    csv = tmp_path / "frames.csv"
    csv.write_text(f"{frame}\n{frame}\n")
    done = python.run(bundle, "stream", file, csv, "--backend", BACKENDS[runtime], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == ["1", "2"]
    # NumPy warns where a runtime makes the CPU flush subnormal numbers; no user wants to see it.
    assert "Warning" not in done.stderr


def test_another_runtime_than_the_installed_is_refused_in_one_line(
    arm_python, bundle, models, tmp_path
):
    python = arm_python("raspberry-pi-4", "tflite-runtime")
    file = models["lstm", "int8"]
    done = python.run(bundle, "verify", "--backend", "litert", file, cwd=tmp_path)
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: LiteRT is not usable")


@pytest.mark.parametrize("board", BOARDS)
def test_libedgestep_is_carried_and_chosen(board, arm_python, bundle, tmp_path):
    """'make wheels' compiled it for these machines."""
    machine = BOARDS[board].architecture.machine
    if not (Path(device_runner.__file__).parent / FOLDER / library_name(machine)).is_file():
        pytest.skip("'make wheels' has not compiled libedgestep")
    python = arm_python(board, "tflite-runtime")
    files = sorted(KEPT_STEP_MODELS.glob("*int8.tflite"))
    done = python.run(bundle, "verify", "--json", *files, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(files)
    for line in lines:
        assert (line["backend"], line["failure"]) == ("native", None)
        assert line["replay"]["off"] == 0
        assert line["backend_version"].startswith("neon")
