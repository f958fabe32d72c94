"""A user's own recordings: a folder of CSV, NPZ, Parquet or WAV files as a task."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.front_ends import log_mel, samples
from models.errors import ModelsError
from models.first_look import first_look
from models.tasks.folder_settings import FolderSettings
from models.tasks.folder_split import PARTS, split_recordings
from models.tasks.recording_files import sound_front_end
from models.tasks.recordings import Collection, Recording, find_files, read_collection
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task

#: Of each file its path, size and time of change.
_Signature = tuple[tuple[str, int, int], ...]
# What frames are made with; other versions may make others.
LIBRARIES = {".wav": ("pymicro-features", "scipy"), ".csv": ("pandas",), ".parquet": ("pandas",)}


def load(settings: FolderSettings) -> Task:
    """Read the folder of a recipe's table [data].

    Raises:
        MissingDataError: there is no such folder or file, or a package that reads it is missing.
        ModelsError: a file is damaged, or does not hold what the settings name.
    """
    return _load_once(settings, _signature(settings))


def data_facts(settings: FolderSettings) -> dict[str, Any]:
    """Tell what the task depends on: names and bytes of the files, and how they are read; not where
    the folder is."""
    return _facts_once(settings, _signature(settings))


def _signature(settings: FolderSettings) -> _Signature:
    """Tell whether files changed since they were read, without reading them."""
    facts = [(str(path), path.stat()) for path in _all_files(settings)]
    return tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in facts)


def _all_files(settings: FolderSettings) -> list[Path]:
    tables = [Path(settings.folder) / name for name in sorted(settings.tables)]
    return [*find_files(settings), *(path for path in tables if path.is_file())]


def _facts_once(settings: FolderSettings, signature: _Signature) -> dict[str, Any]:
    endings = {Path(path).suffix.lower() for path, _, _ in signature}
    libraries = sorted({name for one in endings for name in LIBRARIES.get(one, ())})
    return {
        "recordings": _digest(settings.folder, signature),
        "settings": {name: value for name, value in asdict(settings).items() if name != "folder"},
        "libraries": {name: importlib.metadata.version(name) for name in libraries},
    }


@lru_cache(maxsize=2)
def _digest(folder: str, signature: _Signature) -> str:
    """Hash the files' names and bytes, once for all ways to read them."""
    hasher = hashlib.sha256()
    for path, _, _ in signature:
        hasher.update(f"{Path(path).relative_to(folder).as_posix()}\0".encode())
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                hasher.update(block)
    return hasher.hexdigest()


@lru_cache(maxsize=4)
def _load_once(settings: FolderSettings, signature: object) -> Task:
    collection = read_collection(settings)
    settings = settings.in_frames(collection.period_s * settings.samples_per_frame)
    parts = split_recordings(collection.recordings, settings)
    maker = _maker(collection.recordings, settings)
    sets, short = [], 0
    for name, part in zip(PARTS, parts, strict=True):
        sequences, lost = maker.make(part, name)
        sets.append(sequences)
        short += lost
    remarks = [*collection.remarks, *_split_remark(settings)]
    if short:
        remarks.append(f"{short} recordings are too short for a sequence and were left out")
    return _task(settings, collection, sets, maker.outputs, remarks)


def _task(
    settings: FolderSettings,
    collection: Collection,
    sets: Sequence[SequenceSet],
    outputs: tuple[str, ...],
    remarks: Sequence[str],
) -> Task:
    count = settings.samples_per_frame
    ages = [f" {number}" for number in range(1, count + 1)] if count > 1 else [""]
    gathered = f"; {count} rows a frame" if count > 1 else ""
    heard = _front_end_of_sound(settings, collection)
    train, validation, test = sets
    task = Task(
        name=settings.name or Path(settings.folder).resolve().name,
        train=train,
        validation=validation,
        test=test,
        labels=outputs,
        channels=tuple(name + age for age in ages for name in collection.channels),
        units=settings.units or (_sound_units(settings) if heard else "unknown"),
        frame_period_s=collection.period_s * count,
        frame_period_source=collection.period_source + gathered,
        group_name=settings.group_name if settings.group else "",
        source=settings.source or "a folder of the user's own recordings",
        front_end=_front_end(settings, collection),
    )
    grave = [one.text for one in first_look(task) if one.grave]
    return replace(task, remarks=(*remarks, *grave))


def _front_end_of_sound(settings: FolderSettings, collection: Collection) -> dict[str, Any] | None:
    """Describe what makes frames of sound; None where the recordings are no sound, or are read
    sample by sample."""
    if not collection.recordings[0].file.lower().endswith(".wav"):
        return None
    if settings.front_end == "samples":
        return None
    return sound_front_end(settings)


def _sound_units(settings: FolderSettings) -> str:
    if settings.front_end == log_mel.KIND:
        return f"{log_mel.KIND} energy"
    return "mel cepstrum" if settings.cepstra else "logarithm of mel energy"


def _front_end(settings: FolderSettings, collection: Collection) -> dict[str, Any] | None:
    heard = _front_end_of_sound(settings, collection)
    if heard:
        if settings.samples_per_frame > 1:
            raise ModelsError(
                "frames made of sound are not gathered; give 'every' for a slower step"
            )
        return heard
    if settings.samples_per_frame > 1:
        return samples.describe(settings.samples_per_frame, len(collection.channels))
    return None


def _split_remark(settings: FolderSettings) -> list[str]:
    if settings.split == "random":
        return [
            "the recordings were split at random, so whoever made a test recording may have made "
            "training recordings too; the figures say nothing about others"
        ]
    if settings.split == "time":
        return ["the parts follow each other in time and are of the same recordings"]
    return []


@dataclass(frozen=True)
class _Maker:
    """Makes sequences of recordings.

    Args:
        classes: names of the classes in order; none where values are wanted.
        groups: number of each group.
        at_steps: whether a class is wanted at each step, not one of each sequence.
    """

    settings: FolderSettings
    classes: tuple[str, ...]
    groups: dict[str, int]
    at_steps: bool

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the outputs stand for."""
        ahead = f" in {self.settings.ahead} steps" if self.settings.ahead else ""
        return self.classes or tuple(name + ahead for name in self.settings.values)

    def make(self, recordings: Sequence[Recording], part: str) -> tuple[SequenceSet, int]:
        """Return the sequences of a part, and how many recordings are too short for one."""
        sequences, labels, groups, answers = [], [], [], []
        short = 0
        for one in recordings:
            frames, wanted = self._frames(one)
            windows = self._windows(len(frames), part == "training")
            short += not windows
            for place in windows:
                if self.at_steps and (wanted[place] < 0).all():
                    continue
                sequences.append(frames[place])
                labels.append(0 if self.at_steps or not self.classes else wanted[place][0])
                groups.append(self.groups[one.group])
                answers.append(wanted[place])
        if not sequences:
            raise ModelsError(
                f"no recording of the {part} data is long enough, or none has a class; make "
                "'window' shorter, or change 'split'"
            )
        return SequenceSet(
            sequences,
            np.array(labels, np.int64),
            np.array(groups, np.int64),
            answers if self.settings.values else None,
            answers if self.at_steps else None,
        ), short

    def _frames(self, one: Recording) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return frames [frames, samples * channels] float32, and what is wanted of each: class
        indices int64 [frames] or values float32 [frames, values]."""
        size, ahead = self.settings.samples_per_frame, self.settings.ahead
        count = len(one.numbers) // size
        whole = one.numbers[: count * size].astype(np.float32)
        frames = whole.reshape(count, size * one.numbers.shape[1])
        last = np.arange(1, count + 1) * size - 1
        if one.values is not None:
            return frames[: count - ahead], one.values[last][ahead:].astype(np.float32)
        index = {name: number for number, name in enumerate(self.classes)} | {"": -1}
        told = [index[name] for name in _texts(one)[last]]
        return frames, np.array(told, np.int64)

    def _windows(self, frames: int, training: bool) -> list[slice]:
        """Where a recording's sequences are; training windows alone overlap."""
        length = self.settings.window or frames
        stride = self.settings.stride if training and self.settings.window else length
        if frames < max(length, 1):
            return []
        return [slice(at, at + length) for at in range(0, frames - length + 1, stride)]


def _maker(recordings: Sequence[Recording], settings: FolderSettings) -> _Maker:
    groups = {name: number for number, name in enumerate(sorted({r.group for r in recordings}))}
    if not settings.labels:
        return _Maker(settings, (), groups, False)
    by_column = settings.labels.startswith("column:")
    without = next((one.file for one in recordings if not one.label), "")
    if without and not by_column:
        raise ModelsError(f"{without} has no class; tell one, or take the file away")
    names = {name for one in recordings for name in np.unique(_texts(one)) if name}
    if len(names) < 2:
        raise ModelsError(
            f"{settings.folder}: '{settings.labels}' tells {len(names)} class(es); a classifier "
            "needs two"
        )
    return _Maker(settings, tuple(sorted(names, key=_in_order)), groups, bool(without))


def _in_order(name: str) -> tuple[float, str]:
    """Numbers by size, then texts."""
    number = re.fullmatch(r"-?\d{1,15}", name)
    return (float(name) if number else np.inf, name)


def _texts(recording: Recording) -> NDArray[Any]:
    return np.asarray(recording.step_labels).astype(str)
