"""Find the ranges of a network's activations and states over a long stream."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.networks import Network
from pipeline.recipe import Recipe
from pipeline.stages.channels import narrowed_task
from pipeline.stages.dependence import network_registries
from pipeline.stages.history import NetworkHistory
from pipeline.work import Report, Work
from pipeline.workspace import Stage

if TYPE_CHECKING:
    from calibration.ranges import Ranges

RANGES_FILE = "ranges.json"


@dataclass(frozen=True)
class StateRange:
    """How a state behaved in the roll-out, for the report.

    Attributes:
        steps: length of the roll-out.
        facts: facts of the tensor that leaves the step, as in calibration.ranges.Ranges.
    """

    state: str
    steps: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class Calibrate(Work):
    """Rolls a network's step out.

    Args:
        trained: the stage of the network that is exported.
    """

    recipe: Recipe
    network: Network
    trained: Stage

    name = "calibrate"

    @property
    def subject(self) -> str:
        return self.network.label

    def settings(self) -> dict[str, Any]:
        return {
            "network": self.trained.key,
            "calibration": self.recipe.calibration.model_dump(),
            "fold_embedding": self.recipe.fold_embedding,
        }

    def chosen(self) -> dict[str, tuple[str, ...]]:
        return network_registries(self.recipe, self.network)

    def build(self, folder: Path, report: Report) -> None:
        from calibration.rollout import long_streams
        from convert.export import float_step
        from models.network import load_network

        network, _ = load_network(self.trained.folder)
        history = NetworkHistory.load(self.trained.folder)
        task = narrowed_task(self.recipe, history)
        settings = self.recipe.calibration
        streams = long_streams(
            task.train.sequences, settings.steps, self.network.seed, settings.streams
        )
        step = float_step(network, self.recipe.fold_embedding)
        ranges = step.calibrate(streams, lambda done, total: report(done, total, ""))
        ranges.save(folder / RANGES_FILE)


def load_ranges(stage: Stage) -> Ranges:
    """Read the ranges of a finished calibration."""
    from calibration.ranges import Ranges

    return Ranges.load(stage.folder / RANGES_FILE)


def load_state_ranges(stage: Stage) -> list[StateRange]:
    """Read the states' ranges of a finished calibration."""
    facts = json.loads((stage.folder / RANGES_FILE).read_text())
    return [
        StateRange(state, facts["steps"], facts["tensors"][names[1]])
        for state, names in facts["states"].items()
    ]
