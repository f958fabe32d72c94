"""Read sequences from CSV and Parquet: a row a step, a column a value.

Nothing is dropped, shifted or filled in: what is not a whole table of numbers is refused with its
line.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError, one_line
from models.errors import ModelsError
from models.table_files import check_parquet, is_number

# The column that numbers the sequences, if there are several.
SEQUENCE_COLUMN = "sequence"

Table = tuple[NDArray[Any], list[str] | None]


def read_csv(path: Path) -> Table:
    """Read a table with a line of column names and then a line a step.

    Returns:
        The values [rows, columns] float64, without the column of sequences; and the key of each
        row's sequence, or None if there is no such column.

    Raises:
        CalibrationError: a line has more or fewer values than the first has names, or one that is
            no number; or the first line holds numbers.
    """
    # The mark that some programs put in front is no part of the first name.
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file, strict=True)
        names = [name.strip() for name in next(lines, [])]
        _check_names(path, names)
        # Python's own numbers would take five times as much.
        values, keys = array("d"), []
        count = 0
        place = names.index(SEQUENCE_COLUMN) if SEQUENCE_COLUMN in names else None
        for cells in lines:
            if not cells:  # an empty line
                continue
            where = f"{path}: line {lines.line_num}"
            if len(cells) != len(names):
                raise CalibrationError(
                    f"{where} has {len(cells)} values, but the first line names {len(names)} "
                    "columns; mend that line"
                )
            if place is not None:
                key = cells.pop(place).strip()
                if not key:
                    raise CalibrationError(
                        f"{where}: its column '{SEQUENCE_COLUMN}' is empty; number its sequence"
                    )
                keys.append(key)
            values.extend(_numbers(cells, where))
            count += 1
    width = len(names) - (place is not None)
    table = np.array(values, np.float64).reshape(count, width)
    return table, keys if place is not None else None


def read_parquet(path: Path) -> Table:
    """Read a table of numeric columns; result and errors as :func:`read_csv`."""
    try:
        import pandas

        # Texts stay references to the different ones: a text of a megabyte may be in every row.
        texts = check_parquet(path)
        table = pandas.read_parquet(path, engine="pyarrow", read_dictionary=texts)
    except ImportError as error:
        raise CalibrationError(
            f"{path}: reading Parquet needs pandas and pyarrow ({one_line(error)}); "
            "install them with 'pip install edgestep[tables]'"
        ) from error
    except ModelsError as error:
        raise CalibrationError(error.message) from error
    keys = None
    _check_sequence_name(path, [str(name) for name in table.columns])
    if SEQUENCE_COLUMN in table.columns:
        column = table.pop(SEQUENCE_COLUMN)
        if column.isna().any():
            row = int(np.flatnonzero(column.isna())[0])
            raise CalibrationError(
                f"{path}: row {row}: its column '{SEQUENCE_COLUMN}' is empty; number its sequence"
            )
        keys = [str(key) for key in column]
    for name in table.columns:
        if table[name].dtype.kind not in "fiub":
            raise CalibrationError(
                f"{path}: the column '{str(name)[:50]}' holds {table[name].dtype}, not numbers"
            )
    return table.to_numpy(np.float64), keys


def _check_names(path: Path, names: list[str]) -> None:
    if not names:
        raise CalibrationError(f"{path}: it is empty; its first line names the columns")
    if names.count(SEQUENCE_COLUMN) > 1:
        raise CalibrationError(
            f"{path}: line 1 names '{SEQUENCE_COLUMN}' twice; one column numbers the sequences"
        )
    _check_sequence_name(path, names)
    numeric = [name for name in names if is_number(name)]
    # Columns may be called 0, 1, 2, ... as pandas does where they have no names.
    if len(numeric) == len(names) and names != [str(n) for n in range(len(names))]:
        raise CalibrationError(
            f"{path}: line 1 holds numbers; it must name the columns, or the first frame would "
            "be lost"
        )


def _check_sequence_name(path: Path, names: list[str]) -> None:
    """Refuse a name that looks like the column of sequences, and would be taken for values."""
    wrong = [name for name in names if name != SEQUENCE_COLUMN and name.lower() == SEQUENCE_COLUMN]
    if wrong:
        raise CalibrationError(
            f"{path}: the column '{wrong[0]}' must be called '{SEQUENCE_COLUMN}' if it numbers the "
            "sequences, or something else"
        )


def _numbers(cells: list[str], where: str) -> Iterator[float]:
    for cell in cells:
        try:
            # Python also takes 1_000, which may be two values.
            yield float(cell.replace("_", "?"))
        except ValueError as error:
            raise CalibrationError(
                f"{where}: {cell[:50]!r} is not a number; write numbers with a decimal point, "
                "values separated by commas"
            ) from error
