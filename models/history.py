"""What a training leaves behind besides the weights: losses, scores and times, epoch by epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a training.

    Attributes:
        loss: mean over the batches of what was minimized.
        validation_loss: the task's loss on the validation data.
        validation_score: the task's metric on the validation data.
        gradient_norm: mean global norm over the batches, before clipping.
        seconds: how long the epoch took.
    """

    loss: float
    validation_loss: float
    validation_score: float
    gradient_norm: float
    seconds: float


@dataclass
class TrainingHistory:
    """All epochs of a training, one list for each field of :class:`EpochRecord`.

    Attributes:
        best_epoch: index of the epoch with the lowest validation loss.
        teacher_validation_score: the teacher's score on the validation data, where there was one.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int = 0
    teacher_validation_score: float | None = None

    def __len__(self) -> int:
        """Number of epochs."""
        return len(self.loss)

    def append(self, epoch: EpochRecord) -> None:
        """Add an epoch at the end."""
        for name, value in asdict(epoch).items():
            getattr(self, name).append(value)

    def extend(self, later: TrainingHistory) -> None:
        """Add the epochs of a training that went on from this one; its best epoch is the best."""
        self.best_epoch = len(self) + later.best_epoch
        for item in fields(EpochRecord):
            getattr(self, item.name).extend(getattr(later, item.name))

    def facts(self) -> dict[str, Any]:
        """Write it as JSON; :meth:`from_facts` reads it back."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> TrainingHistory:
        """Read what :meth:`facts` gave; other entries are left alone.

        Raises:
            KeyError: an entry is missing.
            TypeError, ValueError: an entry is malformed.
        """
        lists = {item.name: list(map(float, facts[item.name])) for item in fields(EpochRecord)}
        return cls(
            **lists,
            best_epoch=int(facts["best_epoch"]),
            teacher_validation_score=facts.get("teacher_validation_score"),
        )
