"""Export a network as step models, in every scheme."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from convert.schemes.spec import SchemeSpec
from device_runner.atomic_write import write_atomically
from models.item_scores import ItemScores
from pipeline.errors import PipelineError
from pipeline.files import read_json_lines
from pipeline.networks import Network
from pipeline.recipe import ModelSection, Recipe
from pipeline.stages.calibrate import load_ranges
from pipeline.stages.channels import judged_on, narrowed_task
from pipeline.stages.compress import compression_facts
from pipeline.stages.dependence import network_registries
from pipeline.stages.history import NetworkHistory
from pipeline.work import Report, Work
from pipeline.workspace import Stage, digest

# A line for each file: how it did on each test sequence.
ITEMS_FILE = "items.jsonl"


@dataclass(frozen=True)
class Convert(Work):
    """Exports a network.

    Args:
        trained: the stage of the network that is exported.
        calibrated: the stage of its ranges.
        fine_tuned: the stages of its step graphs trained for int8, by scheme.
    """

    recipe: Recipe
    network: Network
    trained: Stage
    calibrated: Stage
    fine_tuned: Mapping[SchemeSpec, Stage]

    name = "convert"
    # The contract holds its version.
    distributions = ("edgestep",)

    @property
    def subject(self) -> str:
        return self.network.label

    @property
    def schemes(self) -> list[SchemeSpec]:
        """The schemes that the network is exported in."""
        return self.recipe.schemes_of(self.network.section)

    @property
    def file_names(self) -> list[str]:
        """Return the names of its files, by scheme in the recipe's order."""
        return [self.network.file_name(scheme) for scheme in self.schemes]

    def settings(self) -> dict[str, Any]:
        return {
            "network": self.trained.key,
            "calibrate": self.calibrated.key,
            "qat": [stage.key for stage in self.fine_tuned.values()],
            "schemes": [str(scheme) for scheme in self.schemes],
            "recipe": recipe_hash(self.recipe, self.network),
            **judged_on(self.recipe),
        }

    def chosen(self) -> dict[str, tuple[str, ...]]:
        return network_registries(self.recipe, self.network)

    def build(self, folder: Path, report: Report) -> None:
        from convert.export import export, float_step
        from convert.quantization_aware import float_network, load_step
        from models.network import load_network

        history = NetworkHistory.load(self.trained.folder)
        task = narrowed_task(self.recipe, history)
        network, architecture = load_network(self.trained.folder)
        step = float_step(network, self.recipe.fold_embedding)
        ranges = load_ranges(self.calibrated)
        facts = {
            **compression_facts(history),
            "seconds_per_epoch": round(statistics.median(history.training.seconds), 3),
        }
        kept: dict[str, ItemScores] = {}
        for number, scheme in enumerate(self.schemes):
            report(number, len(self.schemes), str(scheme))
            source, graph = network, step
            if scheme.qat:
                graph = load_step(self.fine_tuned[scheme].folder)
                source = float_network(graph)
            name = self.network.file_name(scheme)
            export(
                source,
                architecture,
                task,
                scheme,
                folder / name,
                graph,
                ranges,
                facts,
                recipe_hash=recipe_hash(self.recipe, self.network),
                keep=partial(kept.__setitem__, name),
            )
        keep_items(folder / ITEMS_FILE, kept)


def keep_items(path: Path, items: Mapping[str, ItemScores]) -> None:
    """Write how each file did on each test sequence, unless it is written already."""
    lines = ({"file": name, **scores.to_json()} for name, scores in items.items())
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content)


def load_items(path: Path) -> dict[str, ItemScores]:
    """Read how each file did on each test sequence, by the file's name; empty if it is not kept.

    Raises:
        PipelineError: the file is damaged.
    """
    lines = read_json_lines(path) if path.exists() else []
    try:
        return {line["file"]: ItemScores.read(line) for line in lines}
    except (KeyError, ValueError, TypeError) as error:
        raise PipelineError(f"{path}: is damaged ({error}); run the recipe again") from error


def recipe_hash(recipe: Recipe, network: Network) -> str:
    """Hash the settings that a network's files come from, for their contract.

    That is the recipe without other networks' settings and without what happens to finished
    files."""
    sections = {section.label: section for section in recipe.models}
    line: list[ModelSection] = [network.section]
    while line[-1].distil:
        line.append(sections[line[-1].distil.teacher])
    shared = recipe.model_dump(include={"task", "fold_embedding", "training", "calibration", "qat"})
    return digest({**shared, "models": [section.model_dump() for section in line]})
