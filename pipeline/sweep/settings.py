"""``sweep.toml``: what is searched, for what, and on which devices it is measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from pipeline.errors import RecipeError
from pipeline.names import FileName
from pipeline.toml_settings import Section, first_problem, read_toml

ACCURACY, BYTES, P99 = "accuracy", "bytes", "p99"
#: What may be asked for; ``p99:DEVICE`` where there are several devices.
OBJECTIVES = (ACCURACY, BYTES, P99)
JOURNAL = "journal"
#: Keys of a recipe's [data] that change how a model hears or sees, and not what it is asked.
FRONT_END_KEYS = (
    "front_end", "every", "sample_rate", "frame_length_s", "mels", "cepstra", "mean_s", "delta_s",
    "samples_per_frame", "channels",
)  # fmt: skip
_URLS = ("postgresql://", "postgresql+psycopg://")


class RangeSection(Section):
    """A range of numbers; whole ones where both ends are."""

    low: int | float
    high: int | float
    step: int | float | None = Field(None, gt=0)
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> RangeSection:
        if self.low >= self.high:
            raise ValueError(f"'low' must be below 'high', not {self.low} and {self.high}")
        if self.log and self.step is not None:
            raise ValueError("a range has a 'step' or is 'log', not both")
        if self.log and self.low <= 0:
            raise ValueError(f"a 'log' range begins above 0, not at {self.low}")
        return self

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)


def _as_range(raw: object) -> object:
    if not isinstance(raw, dict):
        return raw
    try:
        return RangeSection.model_validate(raw)
    except ValidationError as error:
        raise ValueError(first_problem(error, RangeSection)) from error


Choices = Annotated[list[Any] | RangeSection, BeforeValidator(_as_range)]


class SpaceSection(Section):
    """[space]: a list of choices or a range for each thing that is searched.

    ``task`` lists tasks with the same data and different front ends. ``compression`` lists tables,
    each with the compressions of a [[models]] table; an empty one compresses nothing. ``training``,
    ``model`` and ``data`` hold choices for keys of a recipe's [training], [[models]] and [data];
    ``front_end`` lists tables of keys of [data] that belong together."""

    cell: list[str] = Field(min_length=1)
    units: Choices
    layers: Choices = Field(default=[1])
    scheme: list[str] = Field(["int8"], min_length=1)
    task: list[str] = Field(default=[])
    options: list[dict[str, Any]] = Field(default=[])
    compression: list[dict[str, Any]] = Field(default=[])
    training: dict[str, Choices] = Field(default={})
    model: dict[str, Choices] = Field(default={})
    data: dict[str, Choices] = Field(default={})
    front_end: list[dict[str, Any]] = Field(default=[])

    @model_validator(mode="after")
    def _ask_the_same(self) -> SpaceSection:
        """What is a right answer must not be searched: the easiest question would win."""
        for keys in (self.data, *self.front_end):
            for key in keys:
                if key not in FRONT_END_KEYS:
                    raise ValueError(
                        f"'{key}' of [data] is not of the front end, and trials that differ in it "
                        f"would answer other questions; there are: {', '.join(FRONT_END_KEYS)}"
                    )
        return self

    @field_validator("units", "layers")
    @classmethod
    def _are_counts(cls, found: Choices) -> Choices:
        numbers = found if isinstance(found, list) else [found.low, found.high]
        if not all(isinstance(one, int) and one >= 1 for one in numbers):
            raise ValueError("whole numbers from 1 on are wanted")
        return found


class ConstraintsSection(Section):
    """[constraints]: what a model must keep; decided before it is trained.

    Args:
        bytes: of the network in the file.
        deadline: seconds that the 99th percentile of a frame may take, on every device: of its
            front end and its step.
        deadline_share: the same, as a share of the frame period, which differs between front ends.
        targets: targets that all operators must map onto, as ``edgestep check`` says.
    """

    bytes: int | None = Field(None, ge=1)
    deadline: float | None = Field(None, gt=0)
    deadline_share: float | None = Field(None, gt=0, le=1)
    targets: list[str] = Field(default=[])

    def deadline_at(self, frame_period_s: float) -> float | None:
        """Return the seconds that a frame may take where one comes every ``frame_period_s``; None
        for any."""
        limits = [self.deadline] if self.deadline else []
        limits += [self.deadline_share * frame_period_s] if self.deadline_share else []
        return min(limits, default=None)


class MeasuringSection(Section):
    """[devices.NAME]: a device, and how it is measured.

    Args:
        host: ``user@host[:port]``, or the device's name in ``inventory``; "" for this machine.
        repeats: measurements, of which the median counts; the interval is their spread.
        tolerance: how far the control model may be from its usual time, as a share; else the
            measurement is made again.
        attempts: how often one is made again.
    """

    host: str = ""
    inventory: Path | None = None
    python: str | None = None
    backend: str = "auto"
    threads: int = Field(1, ge=1)
    steps: int = Field(8000, ge=1000)
    rounds: int = Field(8, ge=1)
    warmup_s: float = Field(0.2, ge=0)
    repeats: int = Field(3, ge=1)
    tolerance: float = Field(0.15, gt=0)
    attempts: int = Field(5, ge=1)


class SearchSection(Section):
    """[search]: how the space is searched.

    Args:
        sampler: "tpe", "nsgaii" or "random", or "ehvi", which measures networks before it trains
            any and expects the accuracy of the others by those that it has trained.
        candidates: networks that "ehvi" measures first; of a larger space so many are drawn.
        startup: trials drawn at random before "tpe" begins.
        population: networks in a generation of "nsgaii".
        ahead: trials that may be unfinished when the next is drawn; more workers than this would
            have nothing to do.
        prune: whether a training ends early that is behind all smaller and faster networks.
        storage: "journal" for a file in the sweep's folder, or the URL of a PostgreSQL database.
    """

    sampler: Literal["tpe", "nsgaii", "random", "ehvi"] = "tpe"
    candidates: int = Field(100, ge=2)
    seed: int = Field(1, ge=0, lt=2**32)
    startup: int = Field(10, ge=1)
    population: int = Field(12, ge=2)
    ahead: int = Field(4, ge=1)
    prune: bool = True
    prune_margin: float = Field(0.02, ge=0)
    storage: str = JOURNAL

    @field_validator("storage")
    @classmethod
    def _is_known(cls, found: str) -> str:
        if found != JOURNAL and not found.startswith(_URLS):
            raise ValueError(f"'{JOURNAL}' or a URL that begins with {_URLS[0]} is wanted")
        return found


class SweepSettings(Section):
    """A whole sweep.toml; ``recipe`` holds the keys of a recipe that all trials share, and in
    ``recipe.model`` those of its [[models]]."""

    name: FileName
    trials: int = Field(ge=1)
    objectives: list[str] = Field([ACCURACY, BYTES], min_length=1)
    recipe: dict[str, Any]
    space: SpaceSection
    constraints: ConstraintsSection = ConstraintsSection()
    search: SearchSection = SearchSection()
    devices: dict[FileName, MeasuringSection] = Field(default={})

    @field_validator("devices")
    @classmethod
    def _are_different(cls, found: dict[str, MeasuringSection]) -> dict[str, MeasuringSection]:
        hosts = [(one.host, one.inventory) for one in found.values()]
        if len(set(hosts)) < len(hosts):
            raise ValueError(
                "two names stand for one device, which measures one model at a time; leave one out"
            )
        return found

    @model_validator(mode="after")
    def _objectives_are_known(self) -> SweepSettings:
        known = [ACCURACY, BYTES, *(f"{P99}:{name}" for name in self.devices)]
        for one in self.objectives:
            if one == P99 and len(self.devices) == 1:
                continue
            if one not in known:
                advice = "" if self.devices else "; a p99 needs a table [devices.NAME]"
                raise ValueError(f"'{one}' is no objective; there are: {', '.join(known)}{advice}")
        if len(set(self.objective_names)) < len(self.objectives):
            raise ValueError("'objectives' names one twice; leave one out")
        if self.search.sampler == "ehvi" and self.objectives == [ACCURACY]:
            raise ValueError("the sampler 'ehvi' weighs accuracy against costs; add an objective")
        limits = self.constraints
        if (limits.deadline or limits.deadline_share) and not self.devices:
            raise ValueError("a deadline needs a device to be measured on: add [devices.NAME]")
        return self

    @property
    def objective_names(self) -> list[str]:
        """The objectives, each p99 with its device."""
        only = next(iter(self.devices), "")
        return [f"{P99}:{only}" if one == P99 else one for one in self.objectives]

    @property
    def identity(self) -> str:
        """A hash of what the trials depend on: two sweeps with the same one can be continued from
        each other's results."""
        facts = self.model_dump(mode="json", exclude={"trials", "devices"})
        # Where the study is kept changes nothing.
        facts["search"].pop("storage")
        facts["devices"] = sorted(self.devices)
        text = json.dumps(facts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_sweep(path: Path) -> SweepSettings:
    """Read a sweep.toml and check every choice in it.

    Raises:
        RecipeError: the file is missing or not TOML, or an entry is unknown or wrong.
    """
    from pipeline.sweep.space import Space

    try:
        raw = read_toml(path, RecipeError)
        settings = SweepSettings.model_validate(_with_places(raw, path.parent))
        Space(settings).check()
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such sweep; see docs/sweep.md for what it holds") from None
    except ValidationError as error:
        raise RecipeError(f"{path}: {first_problem(error, SweepSettings)}") from error
    except RecipeError as error:
        if error.message.startswith(str(path)):
            raise
        raise RecipeError(f"{path}: {error.message}") from error
    return settings


def _with_places(raw: dict[str, Any], parent: Path) -> dict[str, Any]:
    """Find the folder of a user's data, seen from sweep.toml."""
    recipe = raw.get("recipe")
    data = recipe.get("data") if isinstance(recipe, dict) else None
    if isinstance(data, dict) and isinstance(data.get("folder"), str):
        data["folder"] = str((parent / Path(data["folder"]).expanduser()).resolve())
    return raw
