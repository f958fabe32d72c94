"""The space of a sweep: its dimensions, and the recipe that a point in it stands for."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pipeline.errors import RecipeError
from pipeline.recipe import Recipe
from pipeline.recipe_check import check_names, contradiction
from pipeline.sweep.settings import Choices, RangeSection, SweepSettings
from pipeline.toml_settings import first_problem

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from models.tasks.task import Task

# Keys of [data] that change the frame period, and those that count frames.
PERIODS, COUNTS = {"every", "samples_per_frame"}, {"window", "hop", "ahead"}

#: A point of the space: the choice for each dimension, ready for JSON.
Point = dict[str, Any]


class TrialRecipe(Recipe):
    """The recipe of a trial: one network in one scheme, judged on the validation data until the
    sweep is over."""

    judged_on_test: bool = False

    @property
    def withholds_test(self) -> bool:
        return not self.judged_on_test

    def load_task(self) -> Task:
        """Load the task; validation data stands in for the test data until that may be seen."""
        task = super().load_task()
        if not self.withholds_test:
            return task
        return replace(task, test=task.validation, metric=task.score)


@dataclass(frozen=True)
class Dimension:
    """One thing that is searched: a list of choices, or a range."""

    name: str
    choices: Choices

    @property
    def values(self) -> list[Any] | None:
        """All choices in order; None if they cannot be counted."""
        if isinstance(self.choices, list):
            return self.choices
        found = self.choices
        if not found.whole or (found.step is not None and not isinstance(found.step, int)):
            return None
        return list(range(int(found.low), int(found.high) + 1, int(found.step or 1)))

    @property
    def is_ordered(self) -> bool:
        """Whether the choices are a list of numbers that grow."""
        listed = self.choices
        numbers = isinstance(listed, list) and all(
            isinstance(one, int | float) and not isinstance(one, bool) for one in listed
        )
        return numbers and len(listed) > 2 and sorted(listed) == listed  # type: ignore[arg-type]

    @property
    def distribution(self) -> BaseDistribution:
        """What Optuna draws from: of a list that grows the index, else its choices' texts."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        found = self.choices
        if isinstance(found, RangeSection):
            if found.whole and self.values is not None:
                low, high = int(found.low), int(found.high)
                return IntDistribution(low, high, log=found.log, step=int(found.step or 1))
            return FloatDistribution(found.low, found.high, log=found.log, step=found.step)
        if self.is_ordered:
            return IntDistribution(0, len(found) - 1)
        return CategoricalDistribution([_text(one) for one in found])

    def outer(self, drawn: Any) -> Any:
        """Return the choice that Optuna's value stands for."""
        if not isinstance(self.choices, list):
            return drawn
        return self.choices[drawn] if self.is_ordered else json.loads(drawn)

    def inner(self, choice: Any) -> Any:
        """Return Optuna's value for a choice."""
        if not isinstance(self.choices, list):
            return choice
        return self.choices.index(choice) if self.is_ordered else _text(choice)


class Space:
    """All dimensions of a sweep; those with one choice are not searched."""

    def __init__(self, settings: SweepSettings) -> None:
        self.settings = settings
        section = settings.space
        named: dict[str, Choices] = {
            "cell": section.cell,
            "units": section.units,
            "layers": section.layers,
            "scheme": section.scheme,
            "task": section.task,
            "options": section.options,
            "compression": section.compression,
            **{f"training.{name}": found for name, found in section.training.items()},
            **{f"model.{name}": found for name, found in section.model.items()},
            "front_end": section.front_end,
            **{f"data.{name}": found for name, found in section.data.items()},
        }
        self.dimensions = {
            name: Dimension(name, found) for name, found in named.items() if found != []
        }

    @property
    def searched(self) -> dict[str, Dimension]:
        """The dimensions with more than one choice."""
        return {name: one for name, one in self.dimensions.items() if one.values is None
                or len(one.values) > 1}  # fmt: skip

    @property
    def size(self) -> int | None:
        """The number of points; None if they cannot be counted."""
        counts = [one.values for one in self.dimensions.values()]
        known = [len(values) for values in counts if values is not None]
        return math.prod(known) if len(known) == len(counts) else None

    def points(self) -> Iterator[Point]:
        """List every point of a space that can be counted."""
        names = list(self.dimensions)
        for chosen in itertools.product(*(one.values or [] for one in self.dimensions.values())):
            yield dict(zip(names, chosen, strict=True))

    def ends(self) -> Point:
        """Return the point of all first choices."""
        return {name: _first(one) for name, one in self.dimensions.items()}

    def point(self, drawn: Mapping[str, Any]) -> Point:
        """Make a point of what Optuna drew."""
        found = {}
        for name, dimension in self.dimensions.items():
            if name in drawn:
                found[name] = dimension.outer(drawn[name])
            else:
                found[name] = (dimension.values or [None])[0]
        return found

    def drawn(self, point: Point) -> dict[str, Any]:
        """Return what Optuna would have drawn for a point."""
        return {name: one.inner(point[name]) for name, one in self.searched.items()}

    def recipe(self, point: Point) -> dict[str, Any]:
        """Return a point's recipe as a table, without checking it."""
        table = json.loads(json.dumps(self.settings.recipe))
        model = table.pop("model", {})
        model |= {"cell": point["cell"], "units": [point["units"]] * point["layers"]}
        if "options" in point:
            model["options"] = point["options"]
        model |= point.get("compression", {})
        if "task" in point:
            table["task"] = point["task"]
        if "front_end" in point:
            table.setdefault("data", {}).update(point["front_end"])
        for name, value in point.items():
            part, _, key = name.partition(".")
            if key:
                (model if part == "model" else table.setdefault(part, {}))[key] = value
        fixed = {"name": self.settings.name, "schemes": [point["scheme"]], "controls": False}
        return {**table, **fixed, "models": [model]}

    def check(self) -> None:
        """Raise RecipeError for a choice that no recipe takes, whatever else is chosen."""
        for key in ("name", "models", "schemes", "controls", "robustness", "targets", "bench"):
            if key in self.settings.recipe:
                raise RecipeError(f"[recipe] has '{key}', which a sweep sets itself; leave it out")
        self._check_counts_of_frames()
        training = self.settings.recipe.get("training", {})
        if "distribute" in self.settings.space.training or (
            isinstance(training, dict) and training.get("distribute") == "multi-worker"
        ):
            raise RecipeError(
                "a sweep trains networks side by side, one a machine; leave 'distribute' out"
            )
        first = self.ends()
        made = trial_recipe(self.recipe(first), "[recipe]")
        check_names(made)
        for name, dimension in self.dimensions.items():
            ends = dimension.values or [dimension.choices.low, dimension.choices.high]  # type: ignore[union-attr]
            for choice in ends:
                check_names(trial_recipe(self.recipe({**first, name: choice}), f"[space] '{name}'"))
        from convert.targets.profile import get_profile

        for target in self.settings.constraints.targets:
            get_profile(target)

    def _check_counts_of_frames(self) -> None:
        """Raise RecipeError where trials would be asked different things: a window of 50 frames is
        longer where frames come more rarely."""
        section = self.settings.space
        searched = {*section.data, *(key for table in section.front_end for key in table)}
        told = {name for name in COUNTS if self.settings.recipe.get("data", {}).get(name)}
        for period, name in itertools.product(sorted(searched & PERIODS), sorted(told)):
            raise RecipeError(
                f"[space] '{period}' changes the frame period, and '{name}' in [recipe.data] "
                "counts frames; give 'window_s' and 'hop_s' in seconds, or leave it out"
            )


def trial_recipe(table: dict[str, Any], place: str) -> TrialRecipe:
    """Make a trial's recipe.

    Args:
        place: what to say where it is wrong.

    Raises:
        RecipeError: a key is unknown, or a value wrong.
    """
    try:
        return TrialRecipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{place}: {first_problem(error, TrialRecipe)}") from error


def impossible(recipe: Recipe) -> str | None:
    """Say why a recipe contradicts itself; None if it does not."""
    return contradiction(recipe)


def key_of(point: Point) -> str:
    """Return what tells a point from others."""
    return _text(point)


def _first(dimension: Dimension) -> Any:
    return dimension.values[0] if dimension.values else dimension.choices.low  # type: ignore[union-attr]


def _text(choice: Any) -> str:
    return json.dumps(choice, sort_keys=True)
