"""Read frames for a step from a .npy, .npz or .csv file, with NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadInputError, one_line
from device_runner.model.array_files import check_array_file
from device_runner.model.file_kinds import ARRAY, ARRAYS, TABLE, kind_of_file, other_kind
from device_runner.model.tensor_spec import TensorSpec


def read_frames(source: str | Path, specs: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    """Read one sequence of frames.

    ``.npy``: the first input, [steps, values] or [sequences, steps, values]; sequences are joined.
    ``.npz``: an array for each input, by name. ``.csv``: the values of all inputs in one row.

    Args:
        specs: of the inputs.

    Returns:
        By input, [steps, *frame shape].

    Raises:
        BadInputError: the file is missing or damaged, or does not fit the inputs.
    """
    path = Path(source)
    kind = path.suffix.lower()
    if not path.exists():
        raise BadInputError(f"{source}: no such file; check the path")
    found = kind_of_file(path)
    if found is not None and found not in (ARRAY, ARRAYS, TABLE):
        raise BadInputError(other_kind(path, "frames (.npy, .npz or .csv)", found))
    if kind not in (".npy", ".npz", ".csv"):
        raise BadInputError(f"{source}: frames come from a .npy, .npz or .csv file; name one")
    try:
        check_array_file(path)
        arrays = _arrays(path, kind, specs)
    except BadInputError:
        raise
    # NumPy raises many types for damaged files.
    except Exception as error:
        raise BadInputError(
            f"{source}: cannot be read as {kind[1:]} ({one_line(error)}); check the file"
        ) from error
    frames = {spec.name: _fitted(arrays[spec.name], spec, source) for spec in specs}
    steps = {len(values) for values in frames.values()}
    if len(steps) > 1:
        raise BadInputError(f"{source}: the inputs differ in their number of steps")
    return frames


def _arrays(path: Path, kind: str, specs: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    if kind == ".npy":
        loaded = np.load(path, allow_pickle=False)
        _check_single(path, specs)
        return {specs[0].name: loaded}
    if kind == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        if len(found) == 1 and len(specs) == 1:
            return {specs[0].name: next(iter(found.values()))}
        missing = [spec.name for spec in specs if spec.name not in found]
        if missing:
            raise BadInputError(
                f"{path}: it holds {', '.join(found) or 'nothing'}, the model takes "
                f"{', '.join(spec.name for spec in specs)}; name the arrays so"
            )
        return found
    table = np.loadtxt(path, np.float64, delimiter=",", ndmin=2, skiprows=_headings(path))
    sizes = [math.prod(spec.frame_shape) for spec in specs]
    if table.shape[1] != sum(sizes):
        raise BadInputError(
            f"{path}: {table.shape[1]} columns, but the model takes {sum(sizes)} values a step"
        )
    parts = np.split(table, np.cumsum(sizes)[:-1], axis=1)
    return {spec.name: part for spec, part in zip(specs, parts, strict=True)}


def _check_single(path: Path, specs: Sequence[TensorSpec]) -> None:
    if len(specs) > 1:
        raise BadInputError(
            f"{path}: one array, but the model takes {', '.join(spec.name for spec in specs)}; "
            "give them by name in a .npz file"
        )


def _headings(path: Path) -> int:
    """Count the lines of headings: 1 if the first line does not hold numbers."""
    with path.open(encoding="utf-8") as file:
        cells = file.readline().split(",")
    try:
        [float(cell) for cell in cells]
    except ValueError:
        return 1
    return 0


def _fitted(values: NDArray[Any], spec: TensorSpec, source: str | Path) -> NDArray[Any]:
    size = math.prod(spec.frame_shape)
    if values.dtype.kind not in "fiub" or not values.size or values.size % size:
        raise BadInputError(
            f"{source}: an array of {values.dtype} and shape {values.shape} does not fit the input "
            f"'{spec.name}', which takes frames of shape {spec.frame_shape}"
        )
    axes = [n for n in values.shape if n > 1]
    wanted = [n for n in spec.frame_shape if n > 1]
    if wanted and axes[-len(wanted) :] != wanted:
        raise BadInputError(
            f"{source}: an array of shape {values.shape} does not fit the input '{spec.name}', "
            f"which takes frames of shape {spec.frame_shape}"
        )
    frames = values.reshape(-1, *spec.frame_shape).astype(np.float32)
    if not np.isfinite(frames).all():
        raise BadInputError(f"{source}: '{spec.name}' holds NaN or infinity; clean the data first")
    return frames
