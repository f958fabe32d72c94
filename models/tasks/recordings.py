"""Make recordings of a user's files: cut where one ends, each with its class, group and part."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import MissingDataError, ModelsError
from models.tasks.folder_settings import FolderSettings
from models.tasks.recording_files import MISSING, READERS, Rows, read_rows

# Rows further apart than so many periods belong to two recordings.
LARGEST_JUMP = 5


@dataclass(frozen=True)
class Recording:
    """Rows that follow each other, and what is told of them.

    Attributes:
        file: path within the folder.
        numbers: of the channels, float64 [rows, channels].
        label: the class; "" where it differs from row to row, or values are wanted.
        step_labels: the class of each row, texts [rows], "" for none; None where none is told.
        values: what is wanted at each row, float64 [rows, values]; None where a class is.
        group, part: as the files tell them, else "".
    """

    file: str
    numbers: NDArray[Any]
    label: str
    step_labels: NDArray[Any] | None
    values: NDArray[Any] | None
    group: str
    part: str

    def between(self, start: int, stop: int) -> Recording:
        """Return the rows from ``start`` to before ``stop``."""
        labels, values = self.step_labels, self.values
        return Recording(
            self.file,
            self.numbers[start:stop],
            self.label,
            None if labels is None else labels[start:stop],
            None if values is None else values[start:stop],
            self.group,
            self.part,
        )


@dataclass(frozen=True)
class Collection:
    """All recordings of a folder.

    Attributes:
        period_s: time between two rows, and ``period_source`` where it is told.
        remarks: what was done to the files that changes what they mean, a sentence each.
    """

    recordings: list[Recording]
    channels: tuple[str, ...]
    period_s: float
    period_source: str
    remarks: tuple[str, ...]


def find_files(settings: FolderSettings) -> list[Path]:
    """Find the recordings' files in a folder, in the order of their names.

    Raises:
        MissingDataError: there is no such folder, or no such file in it.
    """
    folder = Path(settings.folder)
    if not folder.is_dir():
        raise MissingDataError(f"there is no folder {folder}; check 'folder' in [data]")
    try:
        found = sorted(path for path in folder.glob(settings.files) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise ModelsError(f"'files' in [data] is no pattern of paths ({error})") from error
    tables = {folder / name for name in settings.tables}
    shown = [path for path in found if not _is_hidden(path.relative_to(folder))]
    files = [path for path in shown if path.suffix.lower() in READERS and path not in tables]
    if not files:
        others = ", ".join(sorted({path.suffix or path.name for path in shown}))[:200]
        raise MissingDataError(
            f"{folder} has no file '{settings.files}' of {', '.join(READERS)}"
            + (f"; it has: {others}" if others else "; it is empty")
        )
    return files


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_collection(settings: FolderSettings) -> Collection:
    """Read all recordings of a folder.

    Raises:
        MissingDataError: there is none, or a package that reads it is not installed.
        ModelsError: a file is damaged, or does not hold what the settings name.
    """
    files = find_files(settings)
    told = _Told(settings)
    found: list[Recording] = []
    periods: list[float] = []
    channels: tuple[str, ...] = ()
    remarks: dict[str, None] = {}
    for path in files:
        for rows in read_rows(path, settings):
            channels = channels or rows.channels
            if rows.channels != channels:
                raise ModelsError(
                    f"{path} has the channels {', '.join(rows.channels)}; those of {files[0]} are "
                    f"{', '.join(channels)}; name those that all have as 'channels'"
                )
            times = _times(path, rows, settings)
            periods += [rows.period_s] if times is None and rows.period_s else []
            periods += [] if times is None else [_period(path, times)]
            remarks.update(dict.fromkeys(rows.remarks))
            found += _cut(path, rows, times, told)
    if not found:
        raise ModelsError(f"{settings.folder} has no recording with a row in it")
    period, source, irregular = _frame_period(periods, settings)
    return Collection(found, channels, period, source, (*remarks, *irregular))


def _frame_period(
    periods: list[float], settings: FolderSettings
) -> tuple[float, str, tuple[str, ...]]:
    if settings.frame_period_s is not None:
        return settings.frame_period_s, "stated in the recipe", ()
    if not periods:
        raise ModelsError(
            "nothing tells how far apart two rows are; give 'frame_period_s' in seconds, or a "
            "column of 'time'"
        )
    period = float(np.median(periods))
    off = max(periods) / min(periods)
    remark = (f"the recordings' periods differ by up to {off:.2f} times",) if off > 1.1 else ()
    where = f"the column '{settings.time}'" if settings.time else "the files' sample rate"
    return period, f"from {where}", remark


def _times(path: Path, rows: Rows, settings: FolderSettings) -> NDArray[Any] | None:
    """Seconds of each row, float64 [rows]; None where none are told."""
    if not settings.time:
        return None
    if settings.time not in rows.columns:
        raise ModelsError(f"{path} has no column '{settings.time}' of times")
    column = rows.columns[settings.time]
    if column.dtype.kind in "fiu":
        return np.asarray(column, np.float64)
    if column.dtype.kind == "M":
        return np.asarray(column.astype("datetime64[ns]").astype(np.int64) / 1e9)
    import pandas

    texts = pandas.Series(column)
    numbers = pandas.to_numeric(texts, errors="coerce")
    if not numbers.isna().any():
        return np.asarray(numbers, np.float64)
    try:
        dates = pandas.to_datetime(texts, utc=True).to_numpy("datetime64[ns]")
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ModelsError(
            f"{path}: the column '{settings.time}' holds neither seconds nor dates ({reason})"
        ) from error
    return np.asarray(dates.astype(np.int64) / 1e9)


def _period(path: Path, times: NDArray[Any]) -> float:
    steps = np.diff(times)
    forward = steps[steps > 0]
    if not len(forward):
        raise ModelsError(f"{path}: its times do not go on; check the column of 'time'")
    return float(np.median(forward))


def _cut(path: Path, rows: Rows, times: NDArray[Any] | None, told: _Told) -> Iterator[Recording]:
    """Cut a file's rows where a recording ends."""
    settings, count = told.settings, len(rows.numbers)
    if not count:
        return
    file = path.relative_to(settings.folder).as_posix()
    keys = [told.of(part, path, file, rows) for part in ("group", "split")]
    labels = told.of("label", path, file, rows) if settings.labels else None
    values = _values(path, rows, settings)
    if settings.sequence in rows.columns:
        keys.append(np.asarray(rows.columns[settings.sequence]).astype(str))
    if settings.cut_at_labels and labels is not None:
        keys.append(labels)
    begins = np.zeros(count, bool)
    begins[0] = True
    for key in keys:
        begins[1:] |= key[1:] != key[:-1]
    if times is not None:
        steps = np.diff(times)
        begins[1:] |= (steps <= 0) | (steps > LARGEST_JUMP * _period(path, times))
    there = _complete(path, rows, values, settings)
    begins |= there & ~np.concatenate([[True], there[:-1]])
    borders = [*np.flatnonzero(begins), count]
    for start, end in itertools.pairwise(borders):
        stop = start + int(there[start:end].sum())
        if stop == start:
            continue
        own = None if labels is None else labels[start:stop]
        same = own is not None and (own == own[0]).all()
        yield Recording(
            file,
            rows.numbers[start:stop],
            str(own[0]) if same and own is not None else "",
            own,
            None if values is None else values[start:stop],
            str(keys[0][start]),
            str(keys[1][start]),
        )


def _values(path: Path, rows: Rows, settings: FolderSettings) -> NDArray[Any] | None:
    if not settings.values:
        return None
    for name in settings.values:
        if name not in rows.columns:
            raise ModelsError(f"{path} has no column '{name}' of values to predict")
    columns = [np.asarray(rows.columns[name], np.float64) for name in settings.values]
    return np.stack(columns, 1)


def _complete(
    path: Path, rows: Rows, values: NDArray[Any] | None, settings: FolderSettings
) -> NDArray[Any]:
    """Which rows miss no number, bool [rows]."""
    there: NDArray[Any] = np.isfinite(rows.numbers).all(1)
    if values is not None:
        there &= np.isfinite(values).all(1)
    if settings.missing == "refuse" and not there.all():
        row = int(np.flatnonzero(~there)[0])
        bad = np.flatnonzero(~np.isfinite(rows.numbers[row]))
        where = f"'{rows.channels[int(bad[0])]}'" if len(bad) else "the values to predict"
        raise ModelsError(
            f"{path}: row {row + 1} has no finite number in {where} ({(~there).sum()} such rows); "
            'mend the file, or cut recordings there with missing = "cut"'
        )
    return there


@dataclass(frozen=True)
class _Told:
    """Finds what the settings' places tell of a file's rows."""

    settings: FolderSettings

    def of(self, what: str, path: Path, file: str, rows: Rows) -> NDArray[Any]:
        """Return the class, group or part of each row, texts [rows].

        Args:
            what: "label", "group" or "split".
        """
        place = getattr(self.settings, "labels" if what == "label" else what)
        kind, _, name = place.partition(":")
        count = len(rows.numbers)
        if kind == "column":
            if name not in rows.columns:
                raise ModelsError(f"{path} has no column '{name}', which tells the {what}")
            return np.array([_text(value) for value in rows.columns[name]], object)
        readers: dict[str, Callable[[str, str], str]] = {
            "folder": lambda name, file: self._folder(what, name, file),
            "file": lambda name, file: file,
            "pattern": lambda name, file: self._pattern(what, file),
            "table": lambda name, file: self._in_table(what, name, file),
        }
        text = readers[kind](name, file) if kind in readers else ""
        return np.full(count, text, object)

    def _folder(self, what: str, name: str, file: str) -> str:
        folders = PurePosixPath(file).parts[:-1]
        place = int(name) - 1 if name else len(folders) - 1
        if not 0 <= place < len(folders):
            raise ModelsError(
                f"{file} does not lie in a folder that could tell its {what}; sort the files into "
                "folders, or name another place"
            )
        return folders[place]

    def _pattern(self, what: str, file: str) -> str:
        match = re.search(self.settings.name_pattern, file)
        if not match or match[what] is None:
            raise ModelsError(f"'name_pattern' finds no {what} in '{file}'")
        return match[what]

    def _in_table(self, what: str, name: str, file: str) -> str:
        try:
            return self._tables[name][file][what]
        except KeyError as error:
            raise ModelsError(f"{name} has no {what} of '{file}'") from error

    @cached_property
    def _tables(self) -> dict[str, dict[str, dict[str, str]]]:
        return {name: self._table(name) for name in self.settings.tables}

    def _table(self, name: str) -> dict[str, dict[str, str]]:
        path = Path(self.settings.folder) / name
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                lines = list(csv.DictReader(file, skipinitialspace=True))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ModelsError(f"{path}: the table of labels cannot be read ({error})") from error
        if not lines or "file" not in lines[0]:
            raise ModelsError(
                f"{path}: its first line names the columns 'file' and one of label, group and split"
            )
        return {
            str(line["file"]).strip(): {
                key: value.strip() for key, value in line.items() if key and isinstance(value, str)
            }
            for line in lines
        }


def _text(value: object) -> str:
    """Write a value as a class or group is called; a number that is whole without its point."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    return "" if text in MISSING and not isinstance(value, str) else text
