"""Describe a task, and compute its baselines without a recurrent network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.metrics import MetricDescription
from pipeline.recipe import Recipe
from pipeline.stages.dependence import task_data, task_registries
from pipeline.work import Report, Work

if TYPE_CHECKING:
    from models.tasks.task import Task

FACTS_FILE = "baseline.json"


@dataclass(frozen=True)
class BaselineScore:
    """The score that is possible without a recurrent network.

    It is the task's metric on the test data, also by group if the task has groups."""

    name: str
    value: float
    by_group: dict[str, float]


@dataclass(frozen=True)
class TaskFacts:
    """What reports say about a task.

    Attributes:
        sequences: how many there are for training, validation and test.
        outputs: their number in words ("9 classes").
        group_name, source, frame_period_s, frame_period_source, remarks: as in the task.
    """

    metric: MetricDescription
    baselines: list[BaselineScore]
    group_name: str
    sequences: tuple[int, int, int]
    outputs: str
    source: str
    frame_period_s: float
    frame_period_source: str
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: Task) -> TaskFacts:
        """Compute the baselines, which takes a while."""
        from models.baselines import task_baselines

        return cls(
            metric=MetricDescription(**task.score.facts()),
            baselines=[BaselineScore(**asdict(one)) for one in task_baselines(task)],
            group_name=task.group_name,
            sequences=(len(task.train), len(task.validation), len(task.test)),
            outputs=_counted(len(task.labels), "value" if task.gives_values else "class"),
            source=task.source,
            frame_period_s=task.frame_period_s,
            frame_period_source=task.frame_period_source,
            remarks=task.remarks,
        )

    @classmethod
    def load(cls, folder: Path) -> TaskFacts:
        """Read what :meth:`save` wrote into the stage's folder."""
        facts = json.loads((folder / FACTS_FILE).read_text())
        return cls(
            **{
                **facts,
                "metric": MetricDescription(**facts["metric"]),
                "baselines": [BaselineScore(**one) for one in facts["baselines"]],
                "sequences": tuple(facts["sequences"]),
                "remarks": tuple(facts["remarks"]),
            }
        )

    def save(self, folder: Path) -> None:
        facts = {**asdict(self), "metric": self.metric.facts()}
        (folder / FACTS_FILE).write_text(json.dumps(facts, indent=1))


@dataclass(frozen=True)
class Baseline(Work):
    """Computes a task's baselines."""

    recipe: Recipe

    name = "baseline"

    @property
    def subject(self) -> str:
        return self.recipe.task

    def settings(self) -> dict[str, Any]:
        return task_data(self.recipe)

    def chosen(self) -> dict[str, tuple[str, ...]]:
        return task_registries(self.recipe.task)

    def build(self, folder: Path, report: Report) -> None:
        TaskFacts.of(self.recipe.load_task()).save(folder)


def _counted(number: int, what: str) -> str:
    plural = what + ("es" if what.endswith("s") else "s")
    return f"{number} {what if number == 1 else plural}"
