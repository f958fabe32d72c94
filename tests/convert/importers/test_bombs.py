"""Small files that would take gigabytes to import or to read end in one line."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from calibration.data import InputShape, load_sequences
from calibration.errors import CalibrationError
from convert.errors import ConvertError, SourceModelError
from convert.importers import import_model
from convert.importers.hdf5_check import check_hdf5
from convert.importers.onnx.files import read_model
from convert.importers.pytorch.files import read_state
from convert.toml_text import parse_toml
from models import table_files
from tests import bombs, import_bombs
from tests.convert.importers import onnx_networks


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (import_bombs.functions, "functions that make more than 50,000 operators"),
        (import_bombs.calls_itself, "call themselves"),
        (import_bombs.without_values, "has 0 values, its shape says 400,000,000"),
        (import_bombs.texts, "holds texts"),
        (import_bombs.constants, "more than 50,000 operators or constants"),
    ],
)
def test_onnx(tmp_path, make, part):
    path = tmp_path / "net.onnx"
    path.write_bytes(make().SerializeToString())
    assert path.stat().st_size < 1_000_000
    with pytest.raises(SourceModelError, match=part):
        read_model(path)


@pytest.mark.parametrize("make", [import_bombs.gru, onnx_networks.step])
def test_an_output_that_nothing_gives(tmp_path, make):
    network = make()
    network.graph.output[0].name = "nothing"
    path = tmp_path / "net.onnx"
    path.write_bytes(network.SerializeToString())
    for whole in (False, True):
        with pytest.raises(ConvertError, match="nothing"):
            import_model(path, whole=whole)


@pytest.mark.slow  # it reads 500 MB before it stops
def test_onnx_whose_weights_are_one_file_many_times(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(import_bombs.beside(tmp_path).SerializeToString())
    with pytest.raises(SourceModelError, match="too large"):
        read_model(path)


def test_an_hdf5_set_that_is_not_in_the_file(tmp_path):
    path = bombs.unallocated(tmp_path / "net.h5")
    assert path.stat().st_size < 10_000
    with pytest.raises(SourceModelError, match="that are made of 0 in the file"):
        check_hdf5(path)


def test_safetensors_of_a_million_tensors(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes((9 * 2**20).to_bytes(8, "little") + b"{" + b" " * (9 * 2**20))
    with pytest.raises(SourceModelError, match="list of tensors has 9,437,184 bytes"):
        read_state(path)
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(SourceModelError, match="or damaged"):
        read_state(path)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b".".join([b"a"] * 200_000) + b" = 1", "more than 64 parts"),
        (b"[" + b" . ".join([b"'a'"] * 200_000) + b"]", "more than 64 parts"),
        (b"a = " + b"9" * 100_000, "4300 digits"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"#" * 5_000_000, "larger than any file of settings"),
    ],
)
def test_toml(content, part):
    with pytest.raises(ValueError, match=part):
        parse_toml(content)


def test_toml_with_dots_in_numbers_and_texts_is_read():
    numbers = ",".join(["1.5"] * 200)
    assert parse_toml(f'a.b = [{numbers}]\nc = "{"x." * 40}"'.encode())["a"]["b"][199] == 1.5


def write_table(path, columns):
    pyarrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    table = pyarrow.table({name: pyarrow.array(values) for name, values in columns.items()})
    parquet.write_table(table, path, compression="zstd")


def test_parquet(tmp_path, monkeypatch):
    path, inputs = tmp_path / "data.parquet", [InputShape("x", (2,))]
    monkeypatch.setattr(table_files, "UNPACKED_BYTES", 2**20)
    write_table(path, {"a": np.zeros(100_000), "b": np.ones(100_000)})
    assert path.stat().st_size < 5000
    with pytest.raises(CalibrationError, match="its table would take"):
        load_sequences(str(path), inputs)
    write_table(path, {"a": [[1.0] * 10], "b": [1.0]})
    with pytest.raises(CalibrationError, match="holds lists"):
        load_sequences(str(path), inputs)
    # One text of 100 kB in each of a thousand rows.
    keys = ["k" * 100_000] * 1000
    write_table(path, {"sequence": keys, "a": np.arange(1000.0), "b": np.ones(1000)})
    (found,) = load_sequences(str(path), inputs)
    assert found["x"].shape == (1000, 2)


@pytest.mark.slow  # each imports TensorFlow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is Linux's")
@pytest.mark.parametrize("make", [import_bombs.doubled, import_bombs.padded])
def test_what_only_computing_finds_out(tmp_path, make):
    path = tmp_path / "net.onnx"
    path.write_bytes(make().SerializeToString())
    arguments = ("--target", "cpu", "--scheme", "float32", "--random-calibration")
    errors = tmp_path / "errors.txt"
    with errors.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgestep", "convert", path, *arguments],
            stdout=subprocess.DEVNULL, stderr=file,
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
    told = errors.read_text()
    assert os.waitstatus_to_exitcode(status) == 3, told
    assert told.count("\n") == 1
    assert str(path) in told
    assert "--memory" in told
    # Importing TensorFlow takes about 4 s of a processor.
    assert used.ru_utime + used.ru_stime < 14
    assert used.ru_maxrss * 1024 < 1.5e9
