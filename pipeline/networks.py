"""The networks of a recipe, and what their files are called."""

from __future__ import annotations

from dataclasses import dataclass

from convert.schemes.spec import SchemeSpec
from pipeline.recipe import ModelSection, Recipe


@dataclass(frozen=True)
class Network:
    """One network of a recipe: a model section with a seed."""

    section: ModelSection
    seed: int

    @property
    def label(self) -> str:
        return f"{self.section.label}-s{self.seed}"

    @property
    def base_label(self) -> str:
        """What it is called before it is compressed.

        Networks that differ only in how they are compressed later share it."""
        return f"{self.section.base_label}-s{self.seed}"

    def file_name(self, scheme: SchemeSpec) -> str:
        """Return the name of the step model's file in a scheme."""
        return f"{self.label}-{scheme.file_part}.tflite"


def networks_of(recipe: Recipe) -> list[Network]:
    """List every model with every seed, in the recipe's order."""
    return [Network(section, seed) for section in recipe.models for seed in recipe.seeds]


def models_by_file(recipe: Recipe) -> dict[str, tuple[str, str]]:
    """Return (model's label, scheme) by the name of each step model's file."""
    return {
        Network(section, seed).file_name(scheme): (section.label, str(scheme))
        for section in recipe.models
        for scheme in recipe.schemes_of(section)
        for seed in recipe.seeds
    }
