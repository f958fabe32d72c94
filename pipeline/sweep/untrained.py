"""Convert a network before it is trained: what it takes hardly depends on its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.schemes.spec import SchemeSpec
from pipeline.networks import Network
from pipeline.recipe import Recipe
from pipeline.stages.dependence import network_registries, task_data
from pipeline.stages.train import architecture_of, new_network
from pipeline.work import Report, Work

if TYPE_CHECKING:
    import tf_keras as keras

    from models.network import Architecture
    from models.tasks.task import Task

FILE = "untrained.tflite"
# Enough for golden sequences and for ranges that a graph can be made with.
SEQUENCES = 8
STEPS = 400


@dataclass(frozen=True)
class Untrained(Work):
    """Exports a network with random weights, compressed as far as that needs no training."""

    recipe: Recipe
    network: Network
    scheme: SchemeSpec

    name = "untrained"

    @property
    def subject(self) -> str:
        return self.network.label

    def settings(self) -> dict[str, Any]:
        return {
            "task": self.recipe.task,
            "model": self.network.section.model_dump(
                exclude={"name", "training"}, exclude_none=True
            ),
            "seed": self.network.seed,
            "scheme": str(self._scheme),
            "fold_embedding": self.recipe.fold_embedding,
            **task_data(self.recipe),
        }

    def chosen(self) -> dict[str, tuple[str, ...]]:
        return network_registries(self.recipe, self.network)

    @property
    def _scheme(self) -> SchemeSpec:
        """The scheme without training for it, which changes weights and no graph."""
        return replace(self.scheme, qat=False)

    def build(self, folder: Path, report: Report) -> None:
        import tf_keras as keras

        from calibration.rollout import long_streams
        from convert.export import export, float_step

        keras.utils.set_random_seed(self.network.seed)
        network, architecture, task = self._network(self.recipe.load_task())
        step = float_step(network, self.recipe.fold_embedding)
        streams = long_streams(task.train.sequences, STEPS, self.network.seed, 1)
        ranges = step.calibrate(streams, lambda done, total: report(done, total, ""))
        export(network, architecture, task, self._scheme, folder / FILE, step, ranges)

    def _network(self, task: Task) -> tuple[keras.Model, Architecture, Task]:
        """Make the network, and the task with a few sequences of the channels that it reads."""
        from models.compress import rehearse
        from models.compress.structured.cut import select_channels

        architecture = architecture_of(self.recipe, self.network, task)
        network = new_network(architecture, task)
        few = task.validation.select(np.arange(min(SEQUENCES, len(task.validation))))
        task = replace(task, validation=few, test=few, metric=task.score)
        for name, section in self.network.section.compressions.items():
            network, architecture = rehearse(name, network, architecture, section.settings)
        if architecture.inputs < len(task.channels):
            # Which ones will be read is not known, and does not matter here.
            task = select_channels(task, list(range(architecture.inputs)))
        return network, architecture, task
