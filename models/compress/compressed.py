"""What a compression gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import tf_keras as keras

from models.history import TrainingHistory
from models.network import Architecture

#: In a network's history on disk: indices of the task's channels that it reads.
CHANNELS_KEPT = "channels_kept"


@dataclass(frozen=True)
class Compressed:
    """A compressed and fine-tuned network.

    Attributes:
        network: a new one, without the wrappers of its training.
        architecture: of that network.
        history: of the fine-tuning.
        facts: what else is to be told of the result, ready for JSON; what a model's contract takes
            from it is named in the compression's entry.
        channels: indices of the task's channels that the network reads, to narrow the task by
            (:func:`models.compress.structured.cut.select_channels`); None stands for all.
    """

    network: keras.Model
    architecture: Architecture
    history: TrainingHistory
    facts: dict[str, Any] = field(default_factory=dict)
    channels: tuple[int, ...] | None = None

    def history_facts(self) -> dict[str, Any]:
        """Give history and facts as one JSON object, as a stage writes it."""
        kept = {} if self.channels is None else {CHANNELS_KEPT: list(self.channels)}
        return {**self.history.facts(), **self.facts, **kept}
