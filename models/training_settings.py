"""How networks are fitted: settings, declared here alone; recipes take defaults and ranges from
here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.augmentation import Augmentation
from models.setting import check_settings, setting


@dataclass(frozen=True)
class TrainingSettings:
    """How to fit a network.

    Args:
        epochs: passes over the training data, at most.
        batch_size: sequences a step.
        learning_rate: of Adam, at the start; it falls to a hundredth along a cosine over
            ``epochs``.
        clip_norm: global norm that gradients are clipped to.
        patience: epochs without a lower validation loss after which training stops.
        seed: of the order of the sequences and of the augmentation.
        augmentation: how the training data are varied in every epoch; None leaves them as they
            are. Validation data are never varied.
        group_lengths: whether a batch has sequences of about one length and is cut at its longest,
            which saves the steps of padding where most sequences are short; else batches are drawn
            at random and are as long as the longest sequence of all.
        loss_from: of a sequence whose class is told, how large a share of its steps is over before
            its loss counts; 0: every step counts, so that there is a good answer early. Where the
            answer is wanted at the end alone, 0.75 spares the network the guessing before.
        keep: whose weights stay, those of the epoch with the lowest validation loss ("best") or of
            the last one ("last").

    Raises:
        ModelsError: a value is outside its range.
    """

    epochs: int = setting(100, ge=1)
    batch_size: int = setting(32, ge=1)
    learning_rate: float = setting(2e-3, gt=0)
    clip_norm: float = setting(1.0, gt=0)
    patience: int = setting(25, ge=1)
    seed: int = 1
    augmentation: Augmentation | None = None
    group_lengths: bool = False
    loss_from: float = setting(0.0, ge=0, lt=1)
    keep: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class DistillationSettings:
    """What a student learns from. The loss of a step is::

        (1 - soft_weight) * cross entropy with the label
        + soft_weight * temperature^2 * KL(teacher || student), both softened by the temperature
        + hint_weight * mean squared error of the mapped hidden states

    Args:
        temperature: what the logits are divided by before the softmax; the factor temperature^2
            keeps the size of the gradients.
        soft_weight: share of the teacher against the labels, in [0, 1].
        hint_weight: of the hidden states; 0 leaves them out.

    Raises:
        ModelsError: a value is outside its range.
    """

    temperature: float = setting(2.0, gt=0)
    soft_weight: float = setting(0.9, ge=0, le=1)
    hint_weight: float = setting(0.0, ge=0)

    def __post_init__(self) -> None:
        check_settings(self)
