"""Recipes: an experiment as a TOML file."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from convert.schemes import parse_scheme
from convert.schemes.spec import SchemeSpec
from device_runner.measure.latency import BenchSettings
from pipeline.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _parsed(name: object) -> object:
    return parse_scheme(name) if isinstance(name, str) else name


#: A scheme, in a recipe its name.
SchemeName = Annotated[SchemeSpec, BeforeValidator(_parsed), PlainSerializer(str)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AugmentationSection(_Section):
    """[training.augmentation]: as models.augmentation.Augmentation says."""

    stretch: float = Field(0.0, ge=0)
    gain: float = Field(0.0, ge=0)
    rotation: float = Field(0.0, ge=0)
    vectors: list[tuple[int, int, int]] = []

    @model_validator(mode="after")
    def _turns_something(self) -> AugmentationSection:
        if self.rotation and not self.vectors:
            raise ValueError("rotation needs 'vectors': the channels of x, y and z of each sensor")
        return self


class TrainingSection(_Section):
    """[training]: as models.training.TrainingSettings and models.network.Architecture say;
    ``keep`` is which epoch's weights stay. A teacher, its students and the networks trained alone
    all see the same kind of augmented data."""

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    clip_norm: float = Field(1.0, gt=0)
    patience: int = Field(25, ge=1)
    input_noise: float = Field(0.0, ge=0)
    input_offset: float = Field(0.0, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    keep: Literal["best", "last"] = "best"
    augmentation: AugmentationSection = AugmentationSection()


class TuningSection(_Section):
    """What all compressions of a trained network share: the fine-tuning that comes with them."""

    epochs: int = Field(30, ge=2)
    learning_rate: float = Field(1e-3, gt=0)


class FactorizeSection(TuningSection):
    """[models.factorize]: recurrent matrices become products of two of this rank."""

    rank: int = Field(ge=1)

    @property
    def label(self) -> str:
        return f"rank{self.rank}"


class PruneSection(TuningSection):
    """[models.prune]: either single weights (``sparsity``: share that become zero, in a
    ``pattern`` of models.compress.pruning.PATTERNS), or whole units and input channels (``keep``
    and ``keep_inputs``: share that stay; taken out in ``rounds``)."""

    sparsity: float | None = Field(None, gt=0, lt=1)
    pattern: Literal["single", "2:4", "16x1"] = "single"
    keep: float | None = Field(None, gt=0, lt=1)
    keep_inputs: float | None = Field(None, gt=0, lt=1)
    rounds: int = Field(3, ge=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> PruneSection:
        if (self.sparsity is None) != self.structured:
            raise ValueError(
                "give either sparsity (single weights), or keep (whole units), keep_inputs (input "
                "channels) or both of these"
            )
        if self.structured and self.pattern != "single":
            raise ValueError("a pattern is one of zeros: give it with sparsity, not with keep")
        return self

    @property
    def structured(self) -> bool:
        """Whether whole units or channels are taken out."""
        return self.keep is not None or self.keep_inputs is not None

    @property
    def label(self) -> str:
        kept = {"kept": self.keep, "inputs": self.keep_inputs}
        if self.structured:
            return "-".join(f"{what}{round(100 * share)}" for what, share in kept.items() if share)
        pattern = "" if self.pattern == "single" else "-" + self.pattern.replace(":", "of")
        return f"pruned{round(100 * (self.sparsity or 0))}{pattern}"


class ClusterSection(TuningSection):
    """[models.cluster]: each matrix has this many different values left."""

    clusters: int = Field(ge=2)

    @property
    def label(self) -> str:
        return f"clustered{self.clusters}"


# Each has a ``label``, which marks the files of networks compressed so.
Compression = FactorizeSection | PruneSection | ClusterSection


class DistilSection(_Section):
    """[models.distil]: learn from another network of the recipe, as
    models.compress.distillation.DistillationSettings says; with ``ensemble`` from that network
    trained with each of the recipe's seeds, all together."""

    teacher: str
    ensemble: bool = False
    temperature: float = Field(2.0, gt=0)
    soft_weight: float = Field(0.9, ge=0, le=1)
    hint_weight: float = Field(0.0, ge=0)


class ModelTrainingSection(_Section):
    """[models.training]: what differs from [training] for one network; small ones learn longer and
    at a higher rate."""

    epochs: int | None = Field(None, ge=1)
    learning_rate: float | None = Field(None, gt=0)


class QATSection(_Section):
    """[qat]: the fine-tuning of schemes with the option "qat"; ``imitation`` is the share of the
    loss that asks for the float network's outputs."""

    epochs: int = Field(20, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    patience: int = Field(10, ge=1)
    imitation: float = Field(0.5, ge=0, le=1)


class CalibrationSection(_Section):
    """[calibration]: time steps to roll out, and into how many streams without reset."""

    steps: int = Field(40_000, ge=100)
    streams: int = Field(4, ge=1)


class BenchSection(_Section):
    """[bench]: as device_runner.measure.latency.BenchSettings says."""

    steps: int = Field(BenchSettings.steps, ge=100)
    rounds: int = Field(BenchSettings.rounds, ge=1)
    warmup_s: float = Field(BenchSettings.warmup_s, ge=0)
    threads: int = Field(1, ge=1)
    backend: str = "auto"


class ModelSection(_Section):
    """[[models]]: one network; ``embedding`` is the width of a token's vector, for tasks of token
    ids; ``residual`` and ``periods`` as models.network.Architecture says."""

    cell: str
    units: int | list[int]
    options: dict[str, Any] = {}
    embedding: int = Field(0, ge=0)
    residual: bool = False
    periods: list[int] = []
    training: ModelTrainingSection = ModelTrainingSection()
    distil: DistilSection | None = None
    factorize: FactorizeSection | None = None
    prune: PruneSection | None = None
    cluster: ClusterSection | None = None
    name: str = ""

    @property
    def unit_list(self) -> tuple[int, ...]:
        """Units of each recurrence, lowest first."""
        return (self.units,) if isinstance(self.units, int) else tuple(self.units)

    @property
    def compressions(self) -> dict[str, Compression]:
        """What is done to the trained network, by stage, in order."""
        sections = {"factorize": self.factorize, "prune": self.prune, "cluster": self.cluster}
        return {stage: section for stage, section in sections.items() if section}

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
        compressed = (section.label for section in self.compressions.values())
        return self.name or "-".join([self.base_label, *compressed])


class Recipe(_Section):
    """A whole recipe. Every network is trained with every seed and exported in every scheme; for
    each target (convert.scheme_choice.candidates) one of the schemes is recommended.
    ``fold_embedding`` is as convert.step.step_module.StepModule says."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    task: str
    seeds: list[int] = Field(default=[1], min_length=1)
    schemes: list[SchemeName] = Field(
        default=[SchemeSpec("float32"), SchemeSpec("int8")], min_length=1
    )
    targets: list[str] = ["cpu"]
    fold_embedding: bool | None = None
    training: TrainingSection = TrainingSection()
    calibration: CalibrationSection = CalibrationSection()
    qat: QATSection = QATSection()
    bench: BenchSection = BenchSection()
    models: list[ModelSection] = Field(min_length=1)


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: the file is missing or no TOML, or an entry is unknown or has a wrong value;
            for an unknown key the nearest known one is suggested.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = sorted(str(file) for file in path.parent.glob("*.toml"))
        hint = f"; there are: {', '.join(there)}" if there else ""
        raise RecipeError(f"{path}: no such recipe{hint}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as TOML ({error})") from error
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_first_problem(error)}") from error
    labels = [model.label for model in recipe.models]
    for scheme in recipe.schemes:
        if recipe.schemes.count(scheme) > 1:
            raise RecipeError(f"{path}: the scheme '{scheme}' is there twice; leave one out")
    if any(scheme.qat for scheme in recipe.schemes):
        for model in recipe.models:
            if model.cluster:
                raise RecipeError(
                    f"{path}: '{model.label}' is clustered, and quantization-aware training would "
                    "move its weights apart again; leave out 'cluster' or the schemes with 'qat'"
                )
    for label in labels:
        if labels.count(label) > 1:
            raise RecipeError(f"{path}: two models are called '{label}'; give one a 'name'")
    narrowed = [model.label for model in recipe.models if model.prune and model.prune.keep_inputs]
    if narrowed and recipe.training.augmentation.vectors:
        raise RecipeError(
            f"{path}: '{narrowed[0]}' loses input channels, and 'vectors' names channels that are "
            "turned together; leave out 'keep_inputs' or 'rotation'"
        )
    for position, model in enumerate(recipe.models):
        if model.distil and model.distil.teacher in narrowed:
            raise RecipeError(
                f"{path}: '{model.distil.teacher}' has lost input channels that its pupil "
                f"'{model.label}' is trained with; let it learn from a network that has them all"
            )
        if model.distil and model.distil.teacher not in labels[:position]:
            raise RecipeError(
                f"{path}: '{model.label}' learns from '{model.distil.teacher}', which is no model "
                f"above it; there are: {', '.join(labels[:position]) or 'none'}"
            )
    return recipe


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    # A misspelt key also leaves the right one missing; the misspelling is what to say.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    place = [str(part) for part in problem["loc"]]
    where = ".".join(part for part in place if not part.isdigit())
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(place[-1], _known_keys(place[:-1]), n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        return f"unknown key '{where}'{hint}"
    if problem["type"] == "missing":
        return f"the key '{where}' is missing"
    return f"'{where}' is wrong: {problem['msg'].lower()}, found {problem['input']!r}"


def _known_keys(place: list[str]) -> list[str]:
    sections: dict[str, type[BaseModel]] = {
        "training": TrainingSection,
        "augmentation": AugmentationSection,
        "calibration": CalibrationSection,
        "qat": QATSection,
        "bench": BenchSection,
        "models": ModelSection,
        "factorize": FactorizeSection,
        "prune": PruneSection,
        "cluster": ClusterSection,
        "distil": DistilSection,
    }
    names = [part for part in place if part in sections]
    return list((sections[names[-1]] if names else Recipe).model_fields)
