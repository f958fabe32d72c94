"""A file of another kind than a command or option takes ends in one line that names its kind."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.foreign_files import foreign_file

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
_CONVERT = "'edgestep convert' takes it"
_DATA = "it is data: name it with --data"
LFS_LINE = " is a Git LFS pointer, not the file itself; fetch the file with 'git lfs pull'"
# What a line says of each file, and what to do, where {} is wanted.
SAID = {
    "pointer.keras": LFS_LINE,
    "pointer.tflite": LFS_LINE,
    "pointer.npz": LFS_LINE,
    "pointer.csv": LFS_LINE,
    "page.keras": " is a web page (HTML); download the file itself, not the page that shows it",
    "net.onnx": f" is an ONNX model, not {{}}; {_CONVERT}",
    "net.pt": f" is a PyTorch file (.pt), not {{}}; {_CONVERT}",
    "old.pkl": " is a pickle, which could hold any code, not {}; save the weights alone with "
    "safetensors, or as .npz",
    "net.safetensors": f" is a file of PyTorch weights (.safetensors), not {{}}; {_CONVERT}",
    "net.keras": f" is a Keras model (.keras), not {{}}; {_CONVERT}",
    "net.h5": f" is an HDF5 file, as Keras writes (.h5), not {{}}; {_CONVERT}",
    "net.tflite": " is a TFLite file, not {}; 'edgestep adopt' makes a step model of it, bench and "
    "inspect take it as it is",
    "x.npz": f" is an archive of NumPy arrays (.npz), not {{}}; {_DATA}",
    "x.npy": f" is a NumPy array (.npy), not {{}}; {_DATA}",
    "x.csv": f" is a CSV table, not {{}}; {_DATA}",
    "x.parquet": f" is a Parquet table, not {{}}; {_DATA}",
    "readme.txt": " is a text file, not {}; check the path",
    "other.zip": " is a ZIP archive, not {}; unpack it and name a file in it",
    "empty.keras": " is empty, not {}; copy or save it again",
    "folder": " is a folder, not {}; name a file in it",
}
CONVERT = {"net.onnx", "net.pt", "net.safetensors", "net.keras", "net.h5"}
DATA = {"x.npz", "x.npy", "x.csv", "x.parquet"}
# Files that are missing, empty or folders have the same line in all commands that read models.
OF_MODELS = {
    "empty.keras": " is empty; export or copy it again",
    "folder": " is a folder; name a .tflite file in it",
}


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, value in members.items():
            archive.writestr(name.replace("_", "."), value)
    return content.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("wrong")
    array, arrays = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros((4, 5), np.float32))
    np.savez(arrays, x=np.zeros((4, 5), np.float32))
    contents = {
        **{name: POINTER for name in SAID if name.startswith("pointer")},
        "page.keras": b"<!DOCTYPE html><html><body>404</body></html>",
        "net.onnx": b"\x08\x0a\x12\x07pytorch",
        "net.pt": zipped(data_pkl=b"\x80\x02}q\x00."),
        "old.pkl": b"\x80\x04\x95\x00",
        "net.safetensors": (8).to_bytes(8, "little") + b'{"a":{}}',
        "net.keras": zipped(config_json=b"{}", metadata_json=b"{}", model_weights_h5=b""),
        "net.h5": b"\x89HDF\r\n\x1a\n" + bytes(64),
        "net.tflite": foreign_file("function-gru").read_bytes(),
        "x.npz": arrays.getvalue(),
        "x.npy": array.getvalue(),
        "x.csv": b"a,b,c\n1,2,3\n",
        "x.parquet": b"PAR1" + bytes(16),
        "readme.txt": "Grüße\n".encode(),
        "other.zip": zipped(a_txt=b"a"),
        "empty.keras": b"",
    }
    for name, content in contents.items():
        (place / name).write_bytes(content)
    (place / "folder").mkdir()
    return place


def line_of(*arguments: object) -> str:
    """The whole error of a command, which must be one line and exit code 3."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input="")
    assert result.exit_code == 3, result.output
    text = result.stderr.strip()
    assert "\n" not in text
    return text


@pytest.mark.parametrize("command", ["adopt", "bench", "inspect", "verify", "stream", "check"])
def test_where_a_tflite_file_is_wanted(command, folder):
    extra = ("--target", "cpu") if command == "check" else ()
    for name, said in (SAID | OF_MODELS).items():
        if name != "net.tflite":
            wanted = f"Error: {folder / name}{said.format('a TFLite file')}"
            assert line_of(command, folder / name, *extra) == wanted
    missing = folder / "missing.tflite"
    assert line_of(command, missing, *extra) == f"Error: {missing}: no such file; check the path"


def test_a_tflite_file_without_contract_where_a_step_model_is_wanted(folder):
    for command in ("verify", "stream"):
        assert line_of(command, folder / "net.tflite") == (
            f"Error: {folder / 'net.tflite'}: no step contract in the file: edgestep did not make "
            "it; make a step model of it with 'edgestep adopt', or take it as it is with bench and "
            "inspect"
        )


def test_where_frames_are_wanted(folder):
    model = folder / "net.tflite"
    for name in set(SAID) - {"x.npz", "x.npy", "x.csv"}:
        said = SAID[name].format("frames (.npy, .npz or .csv)")
        assert line_of("bench", model, "--data", folder / name) == f"Error: {folder / name}{said}"


def test_where_data_is_wanted(folder):
    for name in set(SAID) - DATA:
        said = SAID[name].format("data (.npy, .npz, .csv or .parquet)")
        for command in (("adopt", folder / "net.tflite"),):
            assert line_of(*command, "--data", folder / name) == f"Error: {folder / name}{said}"
    renamed = folder / "array.npz"
    renamed.write_bytes((folder / "x.npy").read_bytes())
    assert line_of("adopt", folder / "net.tflite", "--data", renamed) == (
        f"Error: {renamed} is a NumPy array (.npy), whatever its name; rename it to end in .npy"
    )


def test_where_a_model_to_convert_is_wanted(folder):
    convert = ("convert", "--target", "cpu", "--random-calibration")
    for name in set(SAID) - CONVERT - {"folder", "other.zip"}:
        said = SAID[name].format("a model that can be converted")
        assert line_of(*convert, folder / name) == f"Error: {folder / name}{said}"
    renamed = folder / "renamed.keras"
    renamed.write_bytes((folder / "net.onnx").read_bytes())
    assert line_of(*convert, renamed) == (
        f"Error: {renamed} is an ONNX model, whatever its name; rename it to end in .onnx"
    )


def test_where_the_layers_description_is_wanted(folder):
    convert = ("convert", "--target", "cpu", "--random-calibration", folder / "net.safetensors")
    for name in set(SAID) - {"x.csv", "readme.txt"}:
        said = SAID[name].format("a TOML file that names the layers")
        assert line_of(*convert, "--architecture", folder / name) == (
            f"Error: {folder / name}{said}"
        )


def test_onnx_without_its_packages_says_what_to_install(folder, monkeypatch):
    for package in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    convert = ("convert", "--target", "cpu", "--random-calibration")
    result = CliRunner().invoke(main, [*convert, str(folder / "net.onnx")])
    assert result.exit_code in (3, 4)
    assert "pip install" in result.stderr
    assert "edgestep[onnx]" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_where_a_description_is_given_that_the_file_does_not_need(folder):
    for name, what in (("net.onnx", "an ONNX model"), ("net.keras", "a Keras model (.keras)")):
        assert line_of(
            "convert", "--target", "cpu", "--random-calibration", folder / name,
            "--architecture", folder / "readme.txt",
        ) == (
            f"Error: {folder / name} is {what}, whose layers are in the file; --architecture is "
            "for a PyTorch state_dict: leave it out"
        )  # fmt: skip
