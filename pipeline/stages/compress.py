"""Compress a trained network in one way, with its fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.compress import COMPRESSIONS
from pipeline.networks import Network
from pipeline.recipe import CompressionSection, Recipe
from pipeline.stages.channels import narrowed_task
from pipeline.stages.dependence import network_registries
from pipeline.stages.fitting import CHECKPOINT_FILE, epoch_progress, tuning_facts, tuning_settings
from pipeline.stages.history import NetworkHistory
from pipeline.work import Report, Work
from pipeline.workspace import Stage


@dataclass(frozen=True)
class Compress(Work):
    """Compresses a network as one table of its model says.

    Args:
        name: the compression's name in models.compress.COMPRESSIONS.
        before: the stage whose network is compressed.
    """

    recipe: Recipe
    network: Network
    name: str
    before: Stage

    @property
    def subject(self) -> str:
        return self.network.label

    @property
    def section(self) -> CompressionSection:
        return self.network.section.compressions[self.name]

    def settings(self) -> dict[str, Any]:
        return {
            "network": self.before.key,
            self.name: self.section.model_dump(),
            **tuning_facts(self.recipe),
        }

    def chosen(self) -> dict[str, tuple[str, ...]]:
        own = {"models.compress": (self.name,)}
        return {**network_registries(self.recipe, self.network), **own}

    def build(self, folder: Path, report: Report) -> None:
        import tf_keras as keras

        from models.compress import compression
        from models.compress.structured.cut import select_channels
        from models.network import load_network, save_network
        from models.prediction import evaluate

        before = NetworkHistory.load(self.before.folder)
        task = narrowed_task(self.recipe, before)
        keras.utils.set_random_seed(self.network.seed)
        original, architecture = load_network(self.before.folder)
        tuning, checkpoint = self.section.tuning, folder / CHECKPOINT_FILE
        compressed = compression(self.name)(
            original,
            architecture,
            task,
            self.section.settings,
            tuning_settings(self.recipe, self.network, tuning.epochs, tuning.learning_rate),
            epoch_progress(report, task),
            checkpoint,
        )
        save_network(folder, compressed.network, compressed.architecture)
        if compressed.channels is not None:
            task = select_channels(task, compressed.channels)
        test_loss, test_score = evaluate(compressed.network, task.test, task.score)
        carried = {**compression_facts(before), "channels_kept": before.channels_kept}
        facts = {"test_loss": test_loss, "test_score": test_score}
        NetworkHistory.of({**carried, **compressed.history_facts(), **facts}).save(folder)
        checkpoint.unlink(missing_ok=True)


def compression_facts(history: NetworkHistory) -> dict[str, Any]:
    """Return what the compressions that were done say of the result, by name, for its contract."""
    names = [name for entry in COMPRESSIONS.values() for name in entry.facts]
    return {name: history.fact(name) for name in names if history.fact(name)}
