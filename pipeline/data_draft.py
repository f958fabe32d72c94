"""Draft a recipe for a folder of recordings: what its files' names and columns suggest."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models.errors import ModelsError
from models.tasks.folder_settings import FolderSettings
from models.tasks.folder_split import PART_NAMES
from models.tasks.recordings import find_files

# Names that columns of such a kind usually have, the likeliest first.
CLASS_NAMES = ("label", "class", "activity", "target", "category", "event")
GROUP_NAMES = (
    "subject", "person", "participant", "speaker", "user", "patient", "volunteer", "device",
    "machine", "unit", "session", "recording", "day", "group", "id",
)  # fmt: skip
TIME_NAMES = ("time", "timestamp", "t", "datetime", "date", "seconds", "time_s")

LOOKED_ROWS = 2000
# A part of a file's name.
_PART = r"[^/_\-. ]+"


@dataclass(frozen=True)
class Draft:
    """Keys of a table [data] that a folder suggests, and what a user must still answer.

    Attributes:
        keys: values ready for TOML, by key.
        questions: what is not told, a line each.
    """

    keys: dict[str, object]
    questions: tuple[str, ...]


def draft(folder: Path) -> Draft:
    """Look at a folder's names, and at the columns of its first table.

    Raises:
        MissingDataError: there is no such folder, or no file of recordings in it.
        ModelsError: its first table cannot be read.
    """
    files = find_files(FolderSettings(str(folder), labels="folder", split="random"))
    paths = [PurePosixPath(path.relative_to(folder).as_posix()) for path in files]
    columns = _columns(files[0])
    keys: dict[str, object] = {"folder": str(folder)}
    depth = min(len(path.parts) for path in paths) - 1
    parts = depth > 0 and all(path.parts[0].lower() in PART_NAMES for path in paths)
    if parts:
        keys["split"] = "folder:1"
    named = _first(CLASS_NAMES, columns)
    if depth > int(parts):
        keys["labels"] = "folder"
    elif named:
        keys["labels"] = f"column:{named}"
    group = _first(GROUP_NAMES, columns)
    if group:
        keys["group"], keys["group_name"] = f"column:{group}", group.lower()
    time = _first(TIME_NAMES, columns)
    if time:
        keys["time"] = time
    return Draft(keys, tuple(_questions(keys, files, depth, columns)))


def _questions(
    keys: dict[str, object], files: Sequence[Path], depth: int, columns: dict[str, Counter[str]]
) -> list[str]:
    found = []
    if "labels" not in keys:
        there = f"; its columns: {', '.join(columns)}" if columns else ""
        found.append(
            'labels = "..."  # where is the class? "column:NAME", "pattern", "table:FILE"; or '
            f'values = ["NAME"], columns of numbers to predict{there}'
        )
    if "group" not in keys:
        folder = f', "folder:{depth - 1}"' if depth > 1 else ""
        found.append(
            f'group = "..."  # of whom is a recording? "column:NAME", "file"{folder}, or "pattern" '
            f"with name_pattern = {_name_pattern(files)}; "
            "nobody must be in training and in test data"
            + (" (told by 'split' here)" if "split" in keys else ', or write split = "random"')
        )
    if files[0].suffix.lower() != ".wav" and "time" not in keys:
        found.append("frame_period_s = 0.0  # how far apart are two rows, in seconds?")
    return found


def _name_pattern(files: Sequence[Path]) -> str:
    """A regular expression, as TOML, for the part of the files' names that may tell groups, such as
    "b" in ``pump_b_07.csv``: the first part that differs between files and recurs. An example, if
    there is none."""
    names = [re.split(r"([_\-. ])", file.stem) for file in files]
    example = "'(?P<group>[a-z]+)_'"
    if len({len(parts) for parts in names}) > 1:
        return example
    for place in range(0, len(names[0]), 2):
        counts = Counter(parts[place] for parts in names)
        # A part that is another one in each file numbers them.
        if 2 < len(counts) <= len(files) / 2:
            before = "".join(_PART + re.escape(one) for one in names[0][1:place:2])
            return f"'(^|/){before}(?P<group>{_PART})'"
    return example


def _columns(file: Path) -> dict[str, Counter[str]]:
    """Values of the columns of a table's first rows, by name; none of other files."""
    if file.suffix.lower() == ".parquet":
        import pyarrow.parquet

        names = pyarrow.parquet.read_schema(file).names
        return {str(name): Counter() for name in names}
    if file.suffix.lower() != ".csv":
        return {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            lines = csv.reader(opened)
            names = [name.strip() for name in next(lines, [])]
            rows = [row for _, row in zip(range(LOOKED_ROWS), lines, strict=False)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ModelsError(f"{file} cannot be read ({error})") from error
    return {
        name: Counter(row[place].strip() for row in rows if place < len(row))
        for place, name in enumerate(names)
    }


def _first(names: Sequence[str], columns: dict[str, Counter[str]]) -> str | None:
    """The column that is called like the first of ``names``."""
    called = {column.lower(): column for column in columns}
    return next((called[name] for name in names if name in called), None)


def recipe_text(name: str, found: Draft) -> str:
    """Write a recipe with two small networks on the drafted data; what is not told is a comment."""
    keys = "\n".join(f"{key} = {json.dumps(value)}" for key, value in found.keys.items())
    questions = "".join(f"\n# {question}" for question in found.questions)
    return f"""# Look at the data first: edgestep data {name}.toml
# Then: edgestep run {name}.toml
name = "{name}"
task = "folder"
seeds = [1, 2, 3]
schemes = ["float32", "int8"]

[data]
{keys}{questions}
# Where recordings are long and of one class, shorter sequences are more to learn from:
# window = 100
# hop = 50       # in training one begins every 50 frames

[training]
epochs = 100
patience = 20
dropout = 0.2

[[models]]
cell = "gru"
units = 32

[[models]]
cell = "lstm"
units = 32
"""
