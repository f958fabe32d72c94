"""Fine-tune a network's step graph for int8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.schemes.spec import SchemeSpec
from pipeline.networks import Network
from pipeline.recipe import Recipe
from pipeline.stages.calibrate import load_ranges
from pipeline.stages.channels import narrowed_task
from pipeline.stages.dependence import network_registries
from pipeline.stages.fitting import CHECKPOINT_FILE, epoch_progress, tuning_facts, tuning_settings
from pipeline.stages.history import NetworkHistory
from pipeline.work import Report, Work
from pipeline.workspace import Stage


@dataclass(frozen=True)
class QuantizationAwareTraining(Work):
    """Trains a step graph under the rounding that it will have.

    Args:
        scheme: the scheme that it is trained for.
        trained: the stage of the network that is exported.
        calibrated: the stage of its ranges.
    """

    recipe: Recipe
    network: Network
    scheme: SchemeSpec
    trained: Stage
    calibrated: Stage

    name = "qat"

    @property
    def subject(self) -> str:
        return self.network.label

    def settings(self) -> dict[str, Any]:
        return {
            "network": self.trained.key,
            "calibrate": self.calibrated.key,
            "qat": self.recipe.qat.model_dump(),
            "per_channel": self.scheme.per_channel,
            "range_method": self.scheme.range_method,
            "fold_embedding": self.recipe.fold_embedding,
            **tuning_facts(self.recipe),
        }

    def chosen(self) -> dict[str, tuple[str, ...]]:
        return network_registries(self.recipe, self.network)

    def build(self, folder: Path, report: Report) -> None:
        import tf_keras as keras

        from convert.export import float_step
        from convert.quantization_aware import save_step, train_quantization_aware
        from models.network import load_network
        from models.prediction import evaluate

        before = NetworkHistory.load(self.trained.folder)
        task = narrowed_task(self.recipe, before)
        keras.utils.set_random_seed(self.network.seed)
        network, architecture = load_network(self.trained.folder)
        section = self.recipe.qat
        checkpoint = folder / CHECKPOINT_FILE
        step, simulated, history = train_quantization_aware(
            network,
            architecture,
            float_step(network, self.recipe.fold_embedding),
            load_ranges(self.calibrated),
            task,
            tuning_settings(
                self.recipe,
                self.network,
                section.epochs,
                section.learning_rate,
                section.patience,
            ),
            checkpoint,
            epoch_progress(report, task),
            section.imitation,
            self.scheme,
        )
        save_step(folder, step)
        test_loss, test_score = evaluate(simulated, task.test, task.score)
        facts = {"test_loss": test_loss, "test_score": test_score}
        NetworkHistory.of({**history.facts(), **facts}).save(folder)
        checkpoint.unlink(missing_ok=True)
