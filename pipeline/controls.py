"""Controls: the float network trained for as many more epochs as a technique trains it.

Fine-tuning helps by itself. So what a technique with fine-tuning gains is held against the same
network without the technique, trained on for as long.
"""

from __future__ import annotations

from pipeline.recipe import CONTROL, ModelSection, Recipe, Tuned


def with_controls(recipe: Recipe) -> Recipe:
    """Return the recipe with a control behind each model that is fine-tuned first in its way.

    Such a model is one that a scheme of the recipe trains for int8, or a compressed one. Equal
    controls are made once. A distilled model has as many epochs as the same model alone, which is
    its control.
    """
    if not recipe.controls:
        return recipe
    models: list[ModelSection] = []
    labels = {section.label for section in recipe.models}
    for section in recipe.models:
        models.append(section)
        base = base_label(recipe, section)
        for tuned in _tunings(recipe, section):
            label = tuned.control_label(base)
            if label not in labels:
                labels.add(label)
                models.append(_control(section, tuned, label))
    return recipe.model_copy(update={"models": models})


def base_label(recipe: Recipe, section: ModelSection) -> str:
    """Return what a model is called without its teacher and its compressions."""
    facts = plain_facts(section)
    plain = (one for one in recipe.models if one.is_plain and plain_facts(one) == facts)
    found = next(plain, None)
    return found.label if found else section.base_label


def plain_facts(section: ModelSection) -> str:
    """Say what a model is but for its name, its teacher and its compressions."""
    left_out = {"name", "distil", *section.compressions}
    return section.model_dump_json(exclude=left_out, exclude_none=True)


def qat_tuning(recipe: Recipe) -> Tuned:
    """Return how much the recipe's training for int8 trains a network."""
    return Tuned(recipe.qat.epochs, recipe.qat.learning_rate, 1)


def _tunings(recipe: Recipe, section: ModelSection) -> list[Tuned]:
    """List how a model is fine-tuned where a control can be had for it."""
    if section.distil or section.is_control:
        return []
    if section.tuned:
        return [section.tuned]
    return [qat_tuning(recipe)] if any(scheme.qat for scheme in recipe.schemes) else []


def _control(section: ModelSection, tuned: Tuned, label: str) -> ModelSection:
    facts = section.model_dump(exclude_unset=True, exclude=set(section.compressions))
    longer = {
        "epochs": max(tuned.epochs, 2),
        "learning_rate": tuned.learning_rate,
        "times": tuned.times,
    }
    return ModelSection.model_validate({**facts, "name": label, CONTROL: longer})
