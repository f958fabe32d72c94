"""Find what is wrong with a recipe as a whole, even if each of its tables is right."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from device_runner.backends import check_backend
from models.cells import CELLS
from models.errors import UnknownNameError
from models.tasks import check_description
from pipeline.recipe import ModelSection, Recipe

# Compressions that quantization-aware training must not follow, and why.
SPOILED_BY_QAT = {"cluster": "would move its weights apart again"}


def check_names(recipe: Recipe) -> None:
    """Raise for an unknown task, target, backend or cell."""
    from convert.scheme_choice import candidates

    check_description(recipe.task, recipe.data is not None)
    for target in recipe.targets:
        candidates(target)
    check_backend(recipe.bench.backend)
    for model in recipe.models:
        if model.cell not in CELLS:
            raise UnknownNameError("cell", model.cell, CELLS)


def contradiction(recipe: Recipe) -> str | None:
    """Say in one line what first contradicts itself in a recipe; None if nothing does."""
    rules: tuple[Callable[[Recipe], Iterator[str]], ...] = (
        _repeated,
        _called_alike,
        _spoiled_by_qat,
        _wrong_stack,
        _prunes_nothing,
        _turned_without_channels,
        _taught_by_others,
    )
    return next((problem for rule in rules for problem in rule(recipe)), None)


def _repeated(recipe: Recipe) -> Iterator[str]:
    """Find repetitions, which would be done twice, into the same files."""
    lists: dict[str, Sequence[object]] = {
        "seeds": recipe.seeds,
        "schemes": [str(scheme) for scheme in recipe.schemes],
        "targets": recipe.targets,
    }
    for key, values in lists.items():
        for value in values:
            if values.count(value) > 1:
                yield f"'{key}' has {value!r} twice; leave one out"


def _called_alike(recipe: Recipe) -> Iterator[str]:
    labels = [model.label for model in recipe.models]
    for label in labels:
        if labels.count(label) > 1:
            yield f"two models are called '{label}'; give one a 'name'"


def _spoiled_by_qat(recipe: Recipe) -> Iterator[str]:
    if not any(scheme.qat for scheme in recipe.schemes):
        return
    for model in recipe.models:
        for name, section in model.compressions.items():
            if name in SPOILED_BY_QAT:
                yield (
                    f"'{model.label}' is {section.settings.label}, and quantization-aware training "
                    f"{SPOILED_BY_QAT[name]}; leave out '{name}' or the schemes with 'qat'"
                )


def _wrong_stack(recipe: Recipe) -> Iterator[str]:
    for model in recipe.models:
        periods, units = model.periods, model.unit_list
        if periods and len(periods) != len(units):
            yield (
                f"'{model.label}' has {_counted(len(units), 'recurrence')} and "
                f"{_counted(len(periods), 'period')}; give one period for each"
            )
        below = (1, *periods)
        nested = all(period % last == 0 for last, period in itertools.pairwise(below))
        if periods and (periods[0] != 1 or not nested):
            yield (
                f"'{model.label}': periods begin with 1, and each is a multiple of the one before, "
                f"not {periods}"
            )
        if periods and model.residual:
            yield f"'{model.label}' has 'periods' and 'residual'; leave one out"
        if model.residual and len(set(units)) > 1:
            yield f"'{model.label}' is residual, so its 'units' must all be the same"


def _prunes_nothing(recipe: Recipe) -> Iterator[str]:
    for model in recipe.models:
        prune = model.compressions.get("prune")
        for key in ("keep", "keep_inputs") if prune else ():
            if getattr(prune, key) == 1.0 and isinstance(getattr(prune, key), float):
                yield f"'{model.label}': {key} = 1.0 takes nothing out; leave it out"


def _turned_without_channels(recipe: Recipe) -> Iterator[str]:
    narrowed = [model.label for model in recipe.models if model.loses_inputs]
    if narrowed and recipe.training.augmentation.vectors:
        yield (
            f"'{narrowed[0]}' loses input channels, and 'vectors' names channels that are "
            "turned together; leave out 'keep_inputs' or 'rotation'"
        )


def _taught_by_others(recipe: Recipe) -> Iterator[str]:
    """Check that each teacher is above its pupil and reads the same inputs."""
    above: dict[str, ModelSection] = {}
    for model in recipe.models:
        teacher = model.distil.teacher if model.distil else None
        if teacher == model.label:
            yield f"'{model.label}' learns from itself; name a model above it as 'teacher'"
        elif teacher is not None and teacher not in above:
            yield (
                f"'{model.label}' learns from '{teacher}', which is not a model above it; "
                f"there are: {', '.join(above) or 'none'}"
            )
        elif teacher is not None and above[teacher].loses_inputs:
            yield (
                f"'{teacher}' has lost input channels that its pupil '{model.label}' is trained "
                "with; let it learn from a network that has them all"
            )
        above[model.label] = model


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
