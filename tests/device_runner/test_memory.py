"""Small files that would take gigabytes end in one line, before the bytes are made."""

from __future__ import annotations

import os
import resource
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from device_runner.errors import BadInputError, BadModelError
from device_runner.model import array_files
from device_runner.model.flatbuffer import read_graph
from device_runner.model.frame_files import read_frames
from device_runner.model.step_file import load_step_model
from device_runner.model.tensor_spec import TensorSpec
from tests import bombs

MEGABYTE = 1024 * 1024
SPECS = [TensorSpec("x", (1, 1), "float32")]


@pytest.fixture
def within():
    """Run a function where no more than 200 MB of new memory can be written to."""
    if sys.platform != "linux":
        pytest.skip("RLIMIT_DATA is Linux's")

    def run(function, *arguments):
        status = Path("/proc/self/status").read_text()
        used = int(status.partition("VmData:")[2].split()[0]) * 1024
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (used + 200 * MEGABYTE, hard))
        try:
            return function(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

    return run


@pytest.fixture
def float_model(step_models):
    return load_step_model(step_models("gru", "float32"))


def test_names_that_overlap(within):
    data = bombs.long_names()
    assert len(data) < 300_000
    with pytest.raises(BadModelError, match="overlap"):
        within(read_graph, data)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (bombs.packed_twice, "unpack to"),
        (bombs.lists, "more than 500,000 values"),
        (lambda model: bombs.with_member(model, "labels.txt", b"\n" * 30_000_000), "labels for"),
        (
            lambda model: bombs.with_member(model, "labels.txt", b"\n", zipfile.ZIP_LZMA),
            "packed in a way",
        ),
    ],
)
def test_members_of_a_step_model(within, float_model, tmp_path, make, part):
    path = tmp_path / "bomb.tflite"
    path.write_bytes(make(float_model))
    assert path.stat().st_size < 400_000
    with pytest.raises(BadModelError, match=part) as caught:
        within(load_step_model, path)
    assert "\n" not in caught.value.message


def test_arrays_of_data(within, tmp_path, monkeypatch):
    with pytest.raises(BadInputError, match="claims"):
        within(read_frames, bombs.claimed_array(tmp_path / "data.npy"), SPECS)
    monkeypatch.setattr(array_files, "UNPACKED_BYTES", 2 * MEGABYTE)
    with pytest.raises(BadInputError, match="unpack to"):
        within(read_frames, bombs.zeros(tmp_path / "data.npz", 20), SPECS)


def test_arrays_that_are_packed_well_are_read(tmp_path):
    path = bombs.zeros(tmp_path / "data.npz", 2)
    assert read_frames(path, SPECS)["x"].shape == (2 * 2**18, 1)
    np.save(tmp_path / "data.npy", np.ones((3, 1), np.float32))
    assert len(read_frames(tmp_path / "data.npy", SPECS)["x"]) == 3


@pytest.mark.parametrize("backend", ["litert", "tflite-runtime"])
def test_an_operator_whose_output_is_larger_than_it_says(
    run_python, float_model, tmp_path, backend
):
    path = tmp_path / "bomb.tflite"
    path.write_bytes(bombs.filled(float_model))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    arguments = ("-m", "device_runner", "verify", "--backend", backend, path)
    done = run_python(*arguments, cwd=tmp_path, PYTHONPATH=os.getcwd())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Not the clock's time: other tests run beside.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10
    assert done.returncode == 3
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]
    assert len(lines) == 1, done.stderr
    assert str(path) in lines[0]
