"""Settings of quantization-aware training, declared here alone."""

from __future__ import annotations

from dataclasses import dataclass

from models.setting import check_settings, setting


@dataclass(frozen=True)
class QATSettings:
    """How a step graph is fine-tuned for int8.

    Args:
        epochs, learning_rate, patience: for the fine-tuning; see
            :class:`models.training_settings.TrainingSettings`.
        imitation: share of the loss that compares with the float network's outputs instead of the
            task's targets, from 0 to 1.

    Raises:
        ModelsError: a value is outside its range.
    """

    epochs: int = setting(20, ge=1)
    learning_rate: float = setting(5e-4, gt=0)
    patience: int = setting(10, ge=1)
    imitation: float = setting(0.5, ge=0, le=1)

    def __post_init__(self) -> None:
        check_settings(self)
