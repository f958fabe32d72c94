"""Read the files of a user's folder: rows of numbers, with what other columns tell of them.

One reader for each kind of file, listed in READERS. Nothing is filled in: a number that is missing
is NaN here, and :mod:`models.tasks.recordings` decides.
"""

from __future__ import annotations

import csv
import math
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner import front_ends
from device_runner.front_ends import log_mel, mel
from device_runner.model.array_files import check_array_file
from models.errors import MissingDataError, ModelsError
from models.table_files import check_parquet, is_number
from models.tasks.folder_settings import FolderSettings

# What programs write for a number that is not there.
MISSING = ("", "NaN", "nan", "NA", "N/A", "null", "None")
#: The array of an archive that holds the rows, where the settings name no channels.
ARRAY = "x"
# Frames of sound are so many times this apart.
EVERY_S = 0.01


@dataclass(frozen=True)
class Rows:
    """A file's rows in order.

    Attributes:
        numbers: of the channels, float64 [rows, channels].
        channels: their names.
        columns: what other columns hold, by name: texts or numbers [rows].
        period_s: between two rows, where the file tells it.
        remarks: what was done to the file that changes what it means.
    """

    numbers: NDArray[Any]
    channels: tuple[str, ...]
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    period_s: float | None = None
    remarks: tuple[str, ...] = ()


def read_rows(path: Path, settings: FolderSettings) -> list[Rows]:
    """Read a file: one block of rows, or one for each sequence of an archive.

    Raises:
        ModelsError: it is damaged, or does not hold what the settings name.
        MissingDataError: a package that reads such files is not installed.
    """
    try:
        return READERS[path.suffix.lower()](path, settings)
    except ModelsError:
        raise
    except ImportError as error:
        raise MissingDataError(
            f"{path}: reading it needs another package ({error}); "
            "install it with 'pip install edgestep[tables]'"
        ) from error
    # Readers of foreign files raise many types for damaged ones.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelsError(f"{path} cannot be read ({reason})") from error


def _read_csv(path: Path, settings: FolderSettings) -> list[Rows]:
    import pandas

    with path.open(newline="", encoding="utf-8-sig") as file:
        names = [name.strip() for name in next(csv.reader(file), [])]
    if not names:
        raise ModelsError(f"{path}: it is empty; its first line names the columns")
    if all(is_number(name) for name in names):
        raise ModelsError(f"{path}: line 1 holds numbers; it must name the columns")
    told = {name for name in settings.used_columns if name not in settings.values}
    table = pandas.read_csv(
        path,
        header=0,
        names=names,
        index_col=False,
        encoding="utf-8-sig",
        skipinitialspace=True,
        low_memory=False,
        keep_default_na=False,
        na_values={name: list(MISSING) for name in names if name not in told},
        dtype={name: str for name in names if name in told},
    )
    return [_of_table(path, table, settings)]


def _read_parquet(path: Path, settings: FolderSettings) -> list[Rows]:
    import pandas

    texts = check_parquet(path)
    table = pandas.read_parquet(path, engine="pyarrow", read_dictionary=texts)
    return [_of_table(path, table, settings)]


def _of_table(path: Path, table: Any, settings: FolderSettings) -> Rows:
    """Take channels and told columns out of a table of pandas."""
    names = [str(name) for name in table.columns]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise ModelsError(f"{path}: two columns are called '{double}'; name each once")
    numeric = [name for name in names if table[name].dtype.kind in "fiub"]
    # A column without a name is the number of the row, which pandas writes.
    free = [name for name in numeric if name and not name.startswith("Unnamed: ")]
    free = [name for name in free if name not in settings.used_columns]
    channels = settings.channels or tuple(free)
    for name in (*channels, *settings.values):
        if name not in names:
            raise ModelsError(f"{path} has no column '{name}'; it has: {', '.join(names)}")
        if name not in numeric:
            wrong = _first_text(table[name])
            raise ModelsError(f"{path}: the column '{name}' holds {wrong}, which is no number")
    if not channels:
        raise ModelsError(f"{path} has no column of numbers left for the model to read")
    used = (settings.used_columns - set(channels)) | set(settings.values)
    columns = {name: table[name].to_numpy() for name in names if name in used}
    left = [name or "without a name" for name in names if name not in {*channels, *columns}]
    remarks = (f"columns left out: {', '.join(left)}",) if left and not settings.channels else ()
    numbers = table[list(channels)].to_numpy(np.float64)
    return Rows(numbers, channels, columns, remarks=remarks)


def _first_text(column: Any) -> str:
    for value in column:
        if not (isinstance(value, float) or is_number(str(value))):
            return repr(str(value)[:50])
    return str(column.dtype)


def _read_npz(path: Path, settings: FolderSettings) -> list[Rows]:
    try:
        check_array_file(path)
    except (ValueError, zipfile.BadZipFile) as error:
        raise ModelsError(f"{path} cannot be read ({error})") from error
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: np.asarray(archive[name]) for name in archive.files}
    names = settings.channels or (ARRAY,)
    for name in names:
        if name not in arrays:
            raise ModelsError(
                f"{path} has no array '{name}'; it has: {', '.join(arrays) or 'none'}; name those "
                "to read as 'channels'"
            )
    several = arrays[names[0]].ndim == 3
    blocks = [arrays[name] for name in names]
    if not several:
        blocks = [block[None] for block in blocks]
    for name, block in zip(names, blocks, strict=True):
        if block.ndim not in (2, 3) or block.dtype.kind not in "fiub":
            raise ModelsError(
                f"{path}: the array '{name}' has shape {arrays[name].shape} and dtype "
                f"{block.dtype}; give numbers [rows, channels] or [sequences, rows, channels]"
            )
    blocks = [block if block.ndim == 3 else block[..., None] for block in blocks]
    if len({block.shape[:2] for block in blocks}) > 1:
        raise ModelsError(f"{path}: the arrays of the channels differ in length")
    numbers = np.concatenate(blocks, 2).astype(np.float64)
    channels = [
        _channel_names(name, block.shape[2]) for name, block in zip(names, blocks, strict=True)
    ]
    wanted = {name: arrays[name] for name in settings.used_columns if name in arrays}
    return [
        Rows(
            one,
            tuple(name for part in channels for name in part),
            {name: _of_sequence(path, name, array, several, number, numbers.shape[:2])
             for name, array in wanted.items()},
        )
        for number, one in enumerate(numbers)
    ]  # fmt: skip


def _channel_names(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name} {number}" for number in range(1, count + 1)]


def _of_sequence(
    path: Path, name: str, array: NDArray[Any], several: bool, number: int, shape: tuple[int, ...]
) -> NDArray[Any]:
    """What an array tells of one sequence, a value for each row."""
    sequences, rows = shape
    own = array
    if several:
        if array.ndim == 0 or len(array) != sequences:
            raise ModelsError(f"{path}: '{name}' tells {array.shape} of {sequences} sequences")
        own = array[number]
    if own.ndim == 0:
        return np.full(rows, own)
    if own.shape != (rows,):
        raise ModelsError(f"{path}: '{name}' tells {own.shape} of {rows} rows")
    return own


def _read_wav(path: Path, settings: FolderSettings) -> list[Rows]:
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of text
        rate, samples = wavfile.read(path)
    if samples.dtype == np.uint8:
        samples = samples.astype(np.float64) - 128
        full = 128.0
    else:
        full = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max) + 1
    sound = samples.astype(np.float64) / full
    remarks = []
    if sound.ndim > 1:
        remarks.append(f"{sound.shape[1]} channels of sound averaged")
        sound = sound.mean(1)
    if settings.front_end == "samples":
        return [Rows(sound[:, None], ("sound",), period_s=1 / rate, remarks=tuple(remarks))]
    description = sound_front_end(settings)
    wanted = description["sample_rate"]
    if rate != wanted:
        shared = math.gcd(rate, wanted)
        sound = resample_poly(sound, wanted // shared, rate // shared)
        remarks.append(f"sound of {rate} Hz resampled to {wanted} Hz")
    spoken = np.rint(np.clip(sound, -1, 1) * 32767).astype(np.int16)
    made = front_ends.sound_front_end(description)
    frames = list(made.frames([spoken])) if made else []
    names = _sound_channels(settings)
    count = len(names)
    return [
        Rows(
            np.array(frames, np.float64).reshape(len(frames), count),
            names,
            period_s=description["hop_samples"] * description.get("every", 1) / wanted,
            remarks=tuple(remarks),
        )
    ]


def sound_front_end(settings: FolderSettings) -> dict[str, Any]:
    """Describe what makes frames of sound, as a model's contract keeps it."""
    if settings.front_end == log_mel.KIND:
        return log_mel.describe(settings.every)
    return _mel(settings).describe()


def _mel(settings: FolderSettings) -> mel.Mel:
    period_s = settings.every * EVERY_S
    return mel.Mel(
        sample_rate=settings.sample_rate,
        window_samples=round(settings.frame_length_s * settings.sample_rate),
        hop_samples=round(period_s * settings.sample_rate),
        mels=settings.mels,
        cepstra=settings.cepstra,
        mean_frames=_whole_frames(settings.mean_s, period_s),
        delta_frames=_whole_frames(settings.delta_s, period_s),
    )


def _sound_channels(settings: FolderSettings) -> tuple[str, ...]:
    if settings.front_end == log_mel.KIND:
        return tuple(f"mel {number}" for number in range(1, log_mel.CHANNELS + 1))
    return _mel(settings).channel_names


def _whole_frames(seconds: float, period_s: float) -> int:
    return max(1, round(seconds / period_s)) if seconds else 0


#: By a file's ending: what reads it.
READERS: dict[str, Callable[[Path, FolderSettings], list[Rows]]] = {
    ".csv": _read_csv,
    ".npz": _read_npz,
    ".parquet": _read_parquet,
    ".wav": _read_wav,
}
