"""What training leaves beside a network: ``history.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from models.history import TrainingHistory

HISTORY_FILE = "history.json"


@dataclass(frozen=True)
class NetworkHistory:
    """How a network was trained, fine-tuned or compressed, and with what result.

    Attributes:
        training: epoch by epoch; scores are values of the task's metric.
        test_loss, test_score: loss and score of the result on the test data.
        gradient_norms_at_start, gradient_norms_after_training: |d loss(last) / d state(t)| by step,
            for each layer; empty if it cannot be computed.
        sparsity_reached: share of zeros of each matrix that was pruned.
        channels_kept: indices of the task's channels that structured pruning left; None for all.
        facts: what else compressions say about the result ("energy_kept", "rounds"), by name.
    """

    training: TrainingHistory
    test_loss: float
    test_score: float
    gradient_norms_at_start: list[list[float]] = field(default_factory=list)
    gradient_norms_after_training: list[list[float]] = field(default_factory=list)
    sparsity_reached: dict[str, float] = field(default_factory=dict)
    channels_kept: list[int] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: dict[str, Any]) -> NetworkHistory:
        """Make a history from JSON-ready facts."""
        own = {one.name for one in fields(cls)} - {"training", "facts"}
        of_epochs = {one.name for one in fields(TrainingHistory)}
        others = {name: facts[name] for name in facts if name not in own | of_epochs}
        known = {name: facts[name] for name in own if name in facts}
        return cls(TrainingHistory.from_facts(facts), facts=others, **known)

    @classmethod
    def load(cls, folder: Path) -> NetworkHistory:
        """Read what :meth:`save` wrote into a stage's folder."""
        return cls.of(json.loads((folder / HISTORY_FILE).read_text()))

    def save(self, folder: Path) -> None:
        """Write history.json, without what is empty."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        del own["training"], own["facts"]
        told = {name: value for name, value in own.items() if value not in ({}, None)}
        facts = {**self.facts, **self.training.facts(), **told}
        (folder / HISTORY_FILE).write_text(json.dumps(facts, indent=1))

    def fact(self, name: str) -> Any:
        """Return what a compression says about the result under this name, or None."""
        return self.sparsity_reached or None if name == "sparsity_reached" else self.facts.get(name)
