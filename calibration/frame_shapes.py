"""Tell from data alone what a frame looks like, for a network whose inputs are not known yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.data_function import call_data_function
from calibration.errors import CalibrationError
from calibration.tables import read_csv, read_parquet

#: Name, shape of one frame, and "values" or "ids", of each input.
FrameShapes = tuple[tuple[str, tuple[int, ...], str], ...]
# The name of the only input.
FIRST = "x"


def frame_shapes(data: str | Path | Sequence[Any] | None) -> FrameShapes:
    """Look at data as :func:`calibration.data.load_sequences` takes them; () if there are none.

    Whole numbers are token ids. An array with more than two axes has sequences first.

    Raises:
        CalibrationError: they cannot be read.
    """
    if data is None:
        return ()
    if not isinstance(data, str | Path):
        return _of_sequences(data)
    path = Path(data)
    try:
        if path.suffix.lower() == ".npy":
            return (_of_array(FIRST, np.load(path, mmap_mode="r", allow_pickle=False), True),)
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return tuple(_of_array(name, archive[name], True) for name in archive.files)
        if path.suffix.lower() in (".csv", ".parquet"):
            table, _ = (read_parquet if path.suffix.lower() == ".parquet" else read_csv)(path)
            return ((FIRST, (int(table.shape[1]),), "values"),)
    except CalibrationError:
        raise
    # NumPy and pandas raise many types for damaged files.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise CalibrationError(f"{data}: cannot be read ({reason})") from error
    if ":" in str(data):
        return _of_sequences(call_data_function(str(data)))
    return ()


def _of_sequences(sequences: Sequence[Any]) -> FrameShapes:
    first = next(iter(sequences), None)
    if first is None:
        return ()
    if isinstance(first, Mapping):
        return tuple(_of_array(str(name), np.asarray(v), False) for name, v in first.items())
    return (_of_array(FIRST, np.asarray(first), False),)


def _of_array(
    name: str, array: NDArray[Any], may_be_many: bool
) -> tuple[str, tuple[int, ...], str]:
    """Describe an array of one sequence, or of many."""
    if array.dtype.kind in "iub":
        return name, (), "ids"
    axes = 2 if may_be_many and array.ndim > 2 else 1
    return name, tuple(int(n) for n in array.shape[axes:]) or (1,), "values"
