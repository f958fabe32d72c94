"""What each technique of a recipe changes: differences of scores between models that differ in one
thing, each with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from convert.schemes import parse_scheme
from models.confidence import NO_DIFFERENCE, Difference, paired_difference
from models.item_scores import ItemScores
from models.metrics import MetricDescription
from pipeline.controls import base_label, plain_facts, qat_tuning
from pipeline.networks import Network
from pipeline.recipe import ModelSection, Recipe

#: (model's label, scheme)
Variant = tuple[str, str]

BETTER, WORSE = "better", "worse"


@dataclass(frozen=True)
class Compared:
    """Two variants of a recipe.

    Attributes:
        why: what is compared, in a few words ("quantization").
        variant, against: with the technique and without it.
        difference: of their scores over the test sequences and seeds.
    """

    why: str
    variant: Variant
    against: Variant
    difference: Difference

    def words(self, metric: MetricDescription) -> str:
        """Say whether the variant is better, worse or neither ("no difference")."""
        if self.difference.holds_zero:
            return NO_DIFFERENCE
        return BETTER if metric.lost(self.difference.value, 0) < 0 else WORSE


def compare(
    recipe: Recipe, items: Mapping[str, ItemScores], variant: Variant, against: Variant
) -> Difference | None:
    """Compare two variants over the seeds; None if how they did on each sequence is not kept."""
    sections = {section.label: section for section in recipe.models}
    found: list[list[ItemScores]] = []
    for label, scheme in (variant, against):
        if label not in sections:
            return None
        networks = [Network(sections[label], seed) for seed in recipe.seeds]
        names = [network.file_name(parse_scheme(scheme)) for network in networks]
        if not all(name in items for name in names):
            return None
        found.append([items[name] for name in names])
    try:
        return paired_difference(found[0], found[1])
    except ValueError:
        # Networks that lost inputs still have the same test sequences; others have not.
        return None


def differences(recipe: Recipe, items: Mapping[str, ItemScores]) -> list[Compared]:
    """Compare all variants of a recipe that differ in one thing, in the recipe's order."""
    compared = []
    for why, variant, against in _pairs(recipe):
        difference = compare(recipe, items, variant, against)
        if difference is not None:
            compared.append(Compared(why, variant, against, difference))
    return compared


def _pairs(recipe: Recipe) -> Iterator[tuple[str, Variant, Variant]]:
    """List (why, variant, against)."""
    known = {
        (section.label, str(scheme))
        for section in recipe.models
        for scheme in recipe.schemes_of(section)
    }
    for why, variant, against in (*_of_schemes(recipe), *_of_models(recipe), *_of_cells(recipe)):
        if variant in known and against in known and variant != against:
            yield why, variant, against


def _of_schemes(recipe: Recipe) -> Iterator[tuple[str, Variant, Variant]]:
    for section in recipe.models:
        label = section.label
        for scheme in recipe.schemes_of(section):
            name = str(scheme)
            if scheme.qat:
                untrained = str(replace(scheme, qat=False))
                longer = qat_tuning(recipe).control_label(label)
                yield "training for it", (label, name), (label, untrained)
                yield "training for it, against longer training", (label, name), (longer, "float32")
            yield "scheme", (label, name), (label, "float32")


def _of_models(recipe: Recipe) -> Iterator[tuple[str, Variant, Variant]]:
    for section in recipe.models:
        if section.is_plain:
            continue
        base = base_label(recipe, section)
        for scheme in map(str, recipe.schemes_of(section)):
            if section.is_control:
                yield "longer training", (section.label, scheme), (base, scheme)
                continue
            yield _technique(section), (section.label, scheme), (base, scheme)
            if section.tuned:
                control = section.tuned.control_label(base)
                words = f"{_technique(section)}, against longer training"
                yield words, (section.label, scheme), (control, scheme)
            if small := _trained_at_its_size(recipe, section):
                words = f"{_technique(section)}, against one trained at its size"
                yield words, (section.label, scheme), (small, scheme)


def _trained_at_its_size(recipe: Recipe, section: ModelSection) -> str | None:
    """Find a plain model of as many units as pruning leaves a model (Z. Liu et al. 2019)."""
    if set(section.compressions) != {"prune"} or section.distil:
        return None
    keep = section.compressions["prune"].settings.keep
    if keep is None or section.loses_inputs:
        return None
    left = [keep if isinstance(keep, int) else max(1, round(keep * n)) for n in section.unit_list]
    units = left[0] if isinstance(section.units, int) else left
    wanted = plain_facts(section.model_copy(update={"prune": None, "units": units}))
    plain = (one for one in recipe.models if one.is_plain and plain_facts(one) == wanted)
    return next((one.label for one in plain), None)


def _of_cells(recipe: Recipe) -> Iterator[tuple[str, Variant, Variant]]:
    plain = [section for section in recipe.models if section.is_plain]
    for section in plain[1:]:
        for scheme in map(str, recipe.schemes_of(section)):
            yield "network", (section.label, scheme), (plain[0].label, scheme)


def _technique(section: ModelSection) -> str:
    parts = ["distillation"] if section.distil else []
    return " and ".join([*parts, *section.compressions])
