"""Recipes: an experiment as a TOML file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, create_model

from convert.qat_settings import QATSettings
from convert.schemes import parse_scheme
from convert.schemes.spec import SchemeSpec
from device_runner.measure.latency import BenchSettings
from models.augmentation import Augmentation
from models.compress import COMPRESSIONS, TuningSettings
from models.tasks.folder_settings import FolderSettings
from models.training_settings import DistillationSettings, TrainingSettings
from pipeline.errors import RecipeError
from pipeline.names import FileName
from pipeline.toml_settings import (
    Section,
    SettingsSection,
    declared,
    first_problem,
    optional,
    read_toml,
    table_of,
)


def _parsed(name: object) -> object:
    return parse_scheme(name) if isinstance(name, str) else name


#: A scheme, in a recipe its name.
SchemeName = Annotated[SchemeSpec, BeforeValidator(_parsed), PlainSerializer(str)]
# The range that NumPy and TensorFlow accept.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Units = Annotated[int, Field(ge=1)]


class AugmentationSection(SettingsSection):
    """[training.augmentation]"""

    settings_classes = (Augmentation,)

    stretch: float = declared(Augmentation, "stretch")
    gain: float = declared(Augmentation, "gain")
    rotation: float = declared(Augmentation, "rotation")
    vectors: tuple[tuple[int, int, int], ...] = declared(Augmentation, "vectors")


class TrainingSection(SettingsSection):
    """[training]: how all networks are trained.

    ``input_noise``, ``input_offset`` and ``dropout`` are as in models.network.Architecture, and
    ``distribute`` as in models.distribution. A
    teacher, its students and networks trained alone all see the same kind of augmented data."""

    settings_classes = (TrainingSettings,)

    epochs: int = declared(TrainingSettings, "epochs")
    batch_size: int = declared(TrainingSettings, "batch_size")
    learning_rate: float = declared(TrainingSettings, "learning_rate")
    clip_norm: float = declared(TrainingSettings, "clip_norm")
    patience: int = declared(TrainingSettings, "patience")
    input_noise: float = Field(0.0, ge=0)
    input_offset: float = Field(0.0, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    keep: Literal["best", "last"] = declared(TrainingSettings, "keep")
    group_lengths: bool = declared(TrainingSettings, "group_lengths")
    loss_from: float = declared(TrainingSettings, "loss_from")
    augmentation: AugmentationSection = AugmentationSection()
    distribute: Literal["none", "mirrored", "multi-worker"] = "none"


class CompressionSection(SettingsSection):
    """[models.NAME]: a compression in models.compress.COMPRESSIONS, with its fine-tuning."""

    @property
    def settings(self) -> Any:
        """The settings of the compression itself."""
        return self.part(self.settings_classes[0])

    @property
    def tuning(self) -> TuningSettings:
        return self.part(TuningSettings)


class DistilSection(SettingsSection):
    """[models.distil]: learn from another network of the recipe.

    With ``ensemble``, learn from that network trained with each of the recipe's seeds, all
    together."""

    settings_classes = (DistillationSettings,)

    teacher: str
    ensemble: bool = False
    temperature: float = declared(DistillationSettings, "temperature")
    soft_weight: float = declared(DistillationSettings, "soft_weight")
    hint_weight: float = declared(DistillationSettings, "hint_weight")


class ModelTrainingSection(Section):
    """[models.training]: what differs from [training] for one network.

    Small networks learn longer and at a higher rate."""

    epochs: int | None = optional(TrainingSettings, "epochs")
    learning_rate: float | None = optional(TrainingSettings, "learning_rate")


class QATSection(SettingsSection):
    """[qat]: the fine-tuning of schemes with the word "qat"."""

    settings_classes = (QATSettings,)

    epochs: int = declared(QATSettings, "epochs")
    learning_rate: float = declared(QATSettings, "learning_rate")
    patience: int = declared(QATSettings, "patience")
    imitation: float = declared(QATSettings, "imitation")


class CalibrationSection(Section):
    """[calibration]: how many time steps to roll out, in how many streams without reset."""

    steps: int = Field(40_000, ge=100)
    streams: int = Field(4, ge=1)


class BenchSection(Section):
    """[bench]: see device_runner.measure.latency.BenchSettings.

    Args:
        paced_s: seconds that each file is also measured for at its own pace; 0 for not.
    """

    steps: int = Field(BenchSettings.steps, ge=100)
    rounds: int = Field(BenchSettings.rounds, ge=1)
    warmup_s: float = Field(BenchSettings.warmup_s, ge=0)
    paced_s: float = Field(0, ge=0, le=3600)
    threads: int = Field(1, ge=1)
    backend: str = "auto"


class DataSection(table_of("DataSection", SettingsSection, FolderSettings)):  # type: ignore[misc]
    """[data]: where a user's own recordings are and how they are read, for the task "folder"."""


class RobustnessSection(Section):
    """[robustness]: step models of the first seed are judged on disturbed data, each severity drawn
    ``seeds`` times."""

    seeds: int = Field(3, ge=1)


if TYPE_CHECKING:
    from models.tasks.task import Task

    _Compressible = Section
else:
    # One table for each compression.
    _Compressible = create_model(
        "_Compressible",
        __base__=Section,
        **{
            name: (table_of(name, CompressionSection, entry.settings, TuningSettings) | None, None)
            for name, entry in COMPRESSIONS.items()
        },
    )


#: The compression that compresses nothing.
CONTROL = "longer"


@dataclass(frozen=True)
class Tuned:
    """A fine-tuning: so many epochs, so often, at this learning rate."""

    epochs: int
    learning_rate: float
    times: int

    def control_label(self, label: str) -> str:
        """Return what the network ``label`` is called when it is trained on for as long."""
        often = f"-by{self.times}" if self.times > 1 else ""
        usual = self.learning_rate == TuningSettings.learning_rate
        rate = "" if usual else f"-at{self.learning_rate:g}"
        return f"{label}-longer{self.epochs * self.times}{often}{rate}"


class ModelSection(_Compressible):
    """[[models]]: one network.

    ``embedding`` is the width of a token's vector, for tasks of token ids. ``residual`` and
    ``periods`` are as in models.network.Architecture. Each compression in
    models.compress.COMPRESSIONS is a table of its own, under its name."""

    cell: FileName
    units: Units | Annotated[list[Units], Field(min_length=1)]
    options: dict[str, Any] = Field(default={})
    embedding: int = Field(0, ge=0)
    residual: bool = False
    periods: list[Annotated[int, Field(ge=1)]] = Field(default=[])
    training: ModelTrainingSection = ModelTrainingSection()
    distil: DistilSection | None = None
    name: FileName = ""

    @property
    def unit_list(self) -> tuple[int, ...]:
        """Units of each recurrence, lowest first."""
        return (self.units,) if isinstance(self.units, int) else tuple(self.units)

    @property
    def compressions(self) -> dict[str, CompressionSection]:
        """The compressions of the trained network, by stage, in order."""
        sections = {name: getattr(self, name) for name in COMPRESSIONS}
        return {stage: section for stage, section in sections.items() if section}

    @property
    def is_control(self) -> bool:
        """Whether it is a network that is only trained on, to hold others against."""
        return CONTROL in self.compressions

    @property
    def is_plain(self) -> bool:
        """Whether it is neither taught nor compressed nor trained on."""
        return self.distil is None and not self.compressions

    @property
    def tuned(self) -> Tuned | None:
        """How much its compressions fine-tune it; None if it has none."""
        parts = []
        for section in self.compressions.values():
            settings, tuning = section.settings, section.tuning
            rounds = settings.rounds if getattr(settings, "structured", False) else 1
            parts.append(Tuned(tuning.epochs, tuning.learning_rate, rounds))
        if len({(part.epochs, part.learning_rate) for part in parts}) == 1:
            return replace(parts[0], times=sum(part.times for part in parts))
        total = sum(part.epochs * part.times for part in parts)
        return Tuned(total, parts[0].learning_rate, 1) if parts else None

    @property
    def loses_inputs(self) -> bool:
        """Whether it loses input channels."""
        prune = self.compressions.get("prune")
        return prune is not None and prune.settings.keep_inputs is not None

    @property
    def base_label(self) -> str:
        """What the network is called before it is compressed."""
        parts = [self.cell, *map(str, self.unit_list)]
        if self.residual:
            parts.append("residual")
        if self.periods:
            parts += ["every", *map(str, self.periods)]
        return "-".join([*parts, "distilled"] if self.distil else parts)

    @property
    def label(self) -> str:
        """What the network's files are called."""
        compressed = (section.settings.label for section in self.compressions.values())
        return self.name or "-".join([self.base_label, *compressed])


class Recipe(Section):
    """A whole recipe.

    Every network is trained with every seed and exported in every scheme. For each target
    (convert.scheme_choice.candidates) one of the schemes is recommended. ``fold_embedding`` is as
    in convert.step.step_module.StepModule. With ``controls``, what is trained further is held
    against the float network trained for as many more epochs (:mod:`pipeline.controls`)."""

    name: FileName
    task: str
    data: DataSection | None = None
    seeds: list[Seed] = Field(default=[1], min_length=1)
    schemes: list[SchemeName] = Field(
        default=[SchemeSpec("float32"), SchemeSpec("int8")], min_length=1
    )
    targets: list[str] = Field(default=["cpu"])
    fold_embedding: bool | None = None
    controls: bool = True
    training: TrainingSection = TrainingSection()
    calibration: CalibrationSection = CalibrationSection()
    qat: QATSection = QATSection()
    bench: BenchSection = BenchSection()
    robustness: RobustnessSection | None = None
    models: list[ModelSection] = Field(min_length=1)

    @property
    def described_data(self) -> FolderSettings | None:
        """How the task's data is read, where that is described."""
        return self.data.part(FolderSettings) if self.data else None

    def load_task(self) -> Task:
        """Load the task; errors as :func:`models.tasks.load_task`."""
        from models.tasks import load_task

        return load_task(self.task, self.described_data)

    @property
    def withholds_test(self) -> bool:
        """Whether its networks are judged on the validation data, and no stage sees the test data;
        so in the trials of a sweep."""
        return False

    def schemes_of(self, section: ModelSection) -> list[SchemeSpec]:
        """List the schemes that a model is exported in; a control is trained for none."""
        if not section.is_control:
            return self.schemes
        return [scheme for scheme in self.schemes if not scheme.qat] or [SchemeSpec("float32")]


def load_recipe(path: Path) -> Recipe:
    """Read a recipe and check what reading alone can check.

    The stage ``check`` (:mod:`pipeline.stages.check`) checks the rest, which needs the task's data
    or TensorFlow.

    Raises:
        RecipeError: the file is missing or not TOML, or an entry is unknown or has a wrong value.
            For an unknown key the message suggests the nearest known one.
    """
    from pipeline.controls import with_controls
    from pipeline.recipe_check import contradiction

    try:
        recipe = Recipe.model_validate(read_toml(path, RecipeError))
    except FileNotFoundError:
        there = sorted(str(file) for file in path.parent.glob("*.toml"))
        hint = f"; there are: {', '.join(there)}" if there else ""
        raise RecipeError(f"{path}: no such recipe{hint}") from None
    except ValidationError as error:
        raise RecipeError(f"{path}: {first_problem(error, Recipe)}") from error
    problem = contradiction(recipe)
    if problem:
        raise RecipeError(f"{path}: {problem}")
    return with_controls(_found_data(recipe, path))


def _found_data(recipe: Recipe, path: Path) -> Recipe:
    """Return a recipe whose data lies where it says, seen from the recipe's file."""
    if recipe.data is None:
        return recipe
    place = path.parent / Path(recipe.data.folder).expanduser()
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"folder": str(place)})})
