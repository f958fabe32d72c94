"""The step contract written into a .tflite: a ZIP appended to the flatbuffer."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np

from device_runner.model.contract import (
    CONTRACT_FILE,
    GOLDEN_FILE,
    GOLDEN_LENGTHS,
    LABELS_FILE,
    Contract,
    Golden,
)

# A fixed date makes equal models equal files.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
# Golden outputs may be rounded by this share of the tolerance.
FINER_THAN_TOLERANCE = 0.05


def pack(flatbuffer: bytes, contract: Contract, labels: tuple[str, ...], golden: Golden) -> bytes:
    """The bytes of a step model file."""
    arrays = io.BytesIO()
    # Real inputs are float16 values to begin with (see convert.export), so nothing is lost.
    inputs = {
        name: values.astype(np.float16) if values.dtype.kind == "f" else values
        for name, values in golden.inputs.items()
    }
    outputs = {
        name: _half(values, contract.tolerance.rms) for name, values in golden.outputs.items()
    }
    lengths = {GOLDEN_LENGTHS: np.array(golden.lengths, np.int32)}
    np.savez_compressed(arrays, **inputs, **outputs, **lengths)
    packed = io.BytesIO()
    packed.write(flatbuffer)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in (
            (CONTRACT_FILE, contract.to_json().encode()),
            (LABELS_FILE, "\n".join(labels).encode()),
            (GOLDEN_FILE, arrays.getvalue()),
        ):
            info = zipfile.ZipInfo(name, ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return packed.getvalue()


def _half(values: np.ndarray, tolerance: float) -> np.ndarray:
    """The values in float16 where that is far finer than what they are compared with; half the
    bytes, which are a twentieth of a small model's file."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    fine = np.abs(half.astype(np.float32) - values).max() <= FINER_THAN_TOLERANCE * tolerance
    return half if fine else values


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is whole or not there; a failed write leaves no trace."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
