"""What libFuzzer starts from is what the loader takes; what it once found is refused."""

from __future__ import annotations

import ctypes
import struct

import pytest

from device_runner.backends.native_library import load_library
from device_runner.errors import MissingRuntimeError
from device_runner.model.step_file import load_step_model
from tests import fuzz_seeds
from tests.conftest import KEPT_STEP_MODELS


def test_seeds_are_models_whole_and_in_parts(tmp_path):
    fuzz_seeds.main(str(tmp_path))
    for path in KEPT_STEP_MODELS.glob("*.tflite"):
        model = load_step_model(path)
        assert (tmp_path / path.stem).read_bytes() == path.read_bytes()
        parts = (tmp_path / f"{path.stem}-parts").read_bytes()
        (size,) = struct.unpack("<I", parts[4:8])
        assert parts[:4] == b"PART"
        assert parts[8 : 8 + size] == model.flatbuffer
        assert b'"states"' in parts[8 + size :]


@pytest.mark.parametrize("path", sorted(fuzz_seeds.FOUND.iterdir()), ids=lambda path: path.name)
def test_what_was_found_is_refused(path):
    """In a moment: one asked for 2.4 GB with a file of 4.5 KB."""
    try:
        library = load_library()
    except MissingRuntimeError as error:
        pytest.skip(error.message)
    data = path.read_bytes()
    (size,) = struct.unpack("<I", data[4:8])
    flatbuffer, contract = data[8 : 8 + size], data[8 + size :]
    model, why = ctypes.c_void_p(), ctypes.create_string_buffer(256)
    failed = library.es_load_parts(
        flatbuffer, len(flatbuffer), contract, len(contract), ctypes.byref(model), why
    )
    assert failed
    assert why.value.startswith(b"no memory for")
