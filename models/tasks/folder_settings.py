"""How a folder of a user's own recordings is to be read: a recipe's table [data]."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Literal

from models.errors import ModelsError
from models.setting import check_settings, setting

#: What a table of labels has beside the column "file".
TABLE_COLUMNS = ("label", "group", "split")
#: Where a class, a group or a part may be told, for messages.
PLACES = "'folder', 'folder:N', 'column:NAME', 'pattern' or 'table:FILE'"
_FOLDER = re.compile(r"folder(:[1-9]\d*)?")
#: Splits that no recording tells.
SPLITS = ("groups", "random", "time")


@dataclass(frozen=True)
class FolderSettings:
    """What the files of a folder hold, and which of them train, validate and test.

    A class, a group or a part of the data is told in one of these places: ``folder``, the name of
    the folder that a file lies in; ``folder:N``, that of the Nth folder on the way to it;
    ``column:NAME``, a column of its table or an array of its archive; ``pattern``, a named part of
    ``name_pattern``; ``table:FILE``, a CSV file in the folder with the columns ``file``, ``label``,
    ``group`` and ``split``.

    Args:
        folder: where the files are.
        files: pattern of the files' paths within the folder.
        labels: where a recording's class is told. A column may change from row to row.
        values: columns of numbers that are wanted at each step, instead of a class.
        ahead: predict the values of so many steps later.
        group: where it is told of whom or what a recording is (a subject, a day, a device); or
            ``file``, each file for itself.
        group_name: what the groups are, for reports.
        split: ``groups``: no group is on two sides; ``random``: by recordings, whoever they are of;
            ``time``: the first part of each recording trains and its end tests; else the place
            where the part is told (``train``, ``validation``, ``test``).
        validation_groups, test_groups: these groups, instead of drawn ones.
        split_seed: draws the groups or recordings.
        name_pattern: a regular expression for a file's path within the folder, with the named
            parts ``label``, ``group`` or ``split``.
        sequence: column that numbers the recordings of a file.
        time: column of times, in seconds or as dates; the frame period comes from it, and a
            recording is cut where it jumps.
        frame_period_s: time between two rows in seconds, where there is no column of times.
        channels: columns that the model reads, in order; none: all other columns of numbers.
        units: of the channels.
        samples_per_frame: rows that are gathered in one frame: a slower step.
        window, hop: cut recordings into windows of so many frames, one every ``hop`` frames; 0
            leaves them whole, and windows do not overlap without a hop.
        window_s, hop_s: the same in seconds, whatever the frame period.
        cut_at_labels: a new sequence begins where the class changes.
        missing: ``refuse`` missing numbers, or ``cut`` a recording there.
        front_end: of sound: ``log-mel`` frames, ``mel`` frames of one's own sizes, or the
            ``samples`` themselves.
        every: with log-mel and mel, frames are so many times 10 ms apart.
        sample_rate, frame_length_s, mels, cepstra: of mel frames: the sound's rate in Hz, the
            seconds of sound that a frame is made of, the channels on the mel scale, and how many
            cepstra are made of them (0: none, the channels' energies).
        mean_s, delta_s: of mel frames: the seconds of the running mean that is taken off, and how
            long before the frame is to which a difference follows the values; 0 for neither.
        name: what the task is called in files; none: as the folder is.
        source: where the data comes from, and its licence.

    Raises:
        ModelsError: a value is outside its range, or two of them contradict each other.
    """

    folder: str = setting()
    files: str = "**/*"
    labels: str = ""
    values: tuple[str, ...] = ()
    ahead: int = setting(0, ge=0)
    group: str = ""
    group_name: str = "group"
    split: str = "groups"
    validation_groups: tuple[str, ...] = ()
    test_groups: tuple[str, ...] = ()
    split_seed: int = setting(20, ge=0)
    name_pattern: str = ""
    sequence: str = "sequence"
    time: str = ""
    frame_period_s: float | None = setting(None, gt=0)
    channels: tuple[str, ...] = ()
    units: str = ""
    samples_per_frame: int = setting(1, ge=1, le=1024)
    window: int = setting(0, ge=0)
    hop: int = setting(0, ge=0)
    window_s: float = setting(0.0, ge=0)
    hop_s: float = setting(0.0, ge=0)
    cut_at_labels: bool = False
    missing: Literal["refuse", "cut"] = "refuse"
    front_end: Literal["log-mel", "mel", "samples"] = "log-mel"
    every: int = setting(2, ge=1, le=100)
    sample_rate: int = setting(16_000, ge=4000, le=48_000)
    frame_length_s: float = setting(0.025, ge=0.002, le=0.5)
    mels: int = setting(40, ge=2, le=128)
    cepstra: int = setting(0, ge=0, le=128)
    mean_s: float = setting(0.0, ge=0, le=600)
    delta_s: float = setting(0.0, ge=0, le=1)
    name: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        check_settings(self)
        if bool(self.labels) == bool(self.values):
            raise ModelsError(
                f"give 'labels', the place where a recording's class is told ({PLACES}), or "
                "'values', the columns to predict"
            )
        _check_place("labels", self.labels)
        _check_place("group", self.group, "file")
        _check_place("split", self.split, *SPLITS)
        _check_pattern(self)
        if self.ahead and not self.values:
            raise ModelsError("'ahead' is for 'values'; a class is not predicted ahead")
        if (self.hop and not self.window) or (self.hop_s and not self.window_s):
            raise ModelsError("'hop' is of windows; give 'window' too")
        if self.window and self.window_s:
            raise ModelsError("give 'window' in frames or 'window_s' in seconds, not both")
        self._check_mel()
        if (self.validation_groups or self.test_groups) and not self.group:
            raise ModelsError("name where a recording's 'group' is told, to choose groups")
        if bool(self.validation_groups) != bool(self.test_groups):
            raise ModelsError("'validation_groups' and 'test_groups' belong together; give both")
        if set(self.validation_groups) & set(self.test_groups):
            raise ModelsError("a group is in 'validation_groups' and in 'test_groups'")
        if self.split == "groups" and not self.group:
            raise ModelsError(
                "the data must be split so that nobody is on two sides: name where a recording's "
                f"'group' is told ({PLACES}, or 'file' if each file is of somebody else); or write "
                'split = "random", and the figures will say so'
            )

    def _check_mel(self) -> None:
        sizes = ("sample_rate", "frame_length_s", "mels", "cepstra", "mean_s", "delta_s")
        usual = {field.name: field.default for field in fields(self)}
        changed = [name for name in sizes if getattr(self, name) != usual[name]]
        if changed and self.front_end != "mel":
            raise ModelsError(f"'{changed[0]}' is of mel frames; give front_end = \"mel\" too")
        if self.cepstra > self.mels:
            raise ModelsError(
                f"{self.mels} mel channels have {self.mels} cepstra at most, not {self.cepstra}"
            )

    def in_frames(self, period_s: float) -> FolderSettings:
        """Return the settings with windows in frames of this period, in seconds."""
        if not self.window_s:
            return self
        window, hop = (round(seconds / period_s) for seconds in (self.window_s, self.hop_s))
        hop = max(hop, 1) if self.hop_s else 0
        return replace(self, window=max(window, 1), hop=hop, window_s=0.0, hop_s=0.0)

    @property
    def stride(self) -> int:
        """Frames from one window's start to the next one's."""
        return self.hop or self.window

    @property
    def used_columns(self) -> frozenset[str]:
        """Columns that tell something of a recording, and so are no channels by themselves."""
        told = (self.labels, self.group, self.split)
        columns = {place.removeprefix("column:") for place in told if place.startswith("column:")}
        return frozenset({*columns, *self.values, self.sequence, self.time} - {""})

    @property
    def tables(self) -> frozenset[str]:
        """The files of labels, which are no recordings."""
        places = (self.labels, self.group, self.split)
        return frozenset(one.removeprefix("table:") for one in places if one.startswith("table:"))


def _check_place(key: str, place: str, *others: str) -> None:
    told = place.partition(":")
    if not place or place in (*others, "pattern") or _FOLDER.fullmatch(place):
        return
    if told[0] in ("column", "table") and told[2]:
        return
    more = "".join(f" or '{other}'" for other in others)
    raise ModelsError(f"'{key}' is one of {PLACES}{more}, not '{place}'")


def _check_pattern(settings: FolderSettings) -> None:
    try:
        parts = re.compile(settings.name_pattern).groupindex
    except re.error as error:
        raise ModelsError(f"'name_pattern' is no regular expression ({error})") from error
    told = zip(TABLE_COLUMNS, (settings.labels, settings.group, settings.split), strict=True)
    for part, place in told:
        if place == "pattern" and part not in parts:
            raise ModelsError(f"'name_pattern' has no part (?P<{part}>...), which is to tell it")
