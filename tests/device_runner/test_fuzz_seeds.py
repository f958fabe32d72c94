"""What libFuzzer starts from is what the loader takes."""

from __future__ import annotations

import struct

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
