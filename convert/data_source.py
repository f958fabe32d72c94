"""Check that what was named as data is data, before any work begins."""

from __future__ import annotations

from pathlib import Path

from convert.errors import SourceModelError
from device_runner.errors import one_line
from device_runner.model.array_files import check_array_file
from device_runner.model.file_kinds import (
    ARRAY,
    ARRAYS,
    PARQUET,
    TABLE,
    kind_of_file,
    other_kind,
)

ENDINGS = {ARRAY: ".npy", ARRAYS: ".npz", PARQUET: ".parquet", TABLE: ".csv"}


def check_data_source(source: str) -> None:
    """Check a file of sequences by its content; ``module:function`` and missing files pass.

    Raises:
        SourceModelError: it is of another kind, or its name says another.
    """
    path = Path(source)
    found = kind_of_file(path)
    if found is None:
        return
    ending = ENDINGS.get(found)
    if ending is None:
        wanted = "data (.npy, .npz, .csv or .parquet)"
        raise SourceModelError(other_kind(path, wanted, found))
    if path.suffix.lower() != ending:
        raise SourceModelError(
            f"{path} is {found.what}, whatever its name; rename it to end in {ending}"
        )
    try:
        check_array_file(path)
    except Exception as error:  # zipfile and NumPy raise many types for damaged files
        raise SourceModelError(f"{path}: cannot be read ({one_line(error)})") from error
