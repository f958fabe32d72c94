"""A step model in the form of one that speaks, though it has learned nothing of the kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from device_runner.front_ends.mel_columns import Columns
from device_runner.front_ends.spelling import describe
from device_runner.model.step_file import load_step_model, pack
from tests.conftest import KEPT_STEP_MODELS

# Of nine letters, which makes twelve channels.
WORDS = ("zero", "one", "two", "is")


def write_speaking_model(path: Path) -> Columns:
    """Write the model, and return its columns."""
    kept = load_step_model(KEPT_STEP_MODELS / "gru-float32.tflite")
    columns = Columns(mels=len(kept.labels) - 1)
    contract = replace(kept.contract, front_end=describe(WORDS, columns.describe()))
    path.write_bytes(pack(kept.flatbuffer, contract, kept.labels, kept.golden))
    return columns
