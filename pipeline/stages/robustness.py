"""Judge a step model on disturbed data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import digests
from pipeline.recipe import Recipe
from pipeline.robustness.study import ModelStudy
from pipeline.stages.dependence import task_data
from pipeline.work import Report, Work

if TYPE_CHECKING:
    from device_runner.model.step_file import StepModel
    from pipeline.robustness.trial import Labelled

SCORES_FILE = "scores.jsonl"
STUDY_FILE = "study.json"


@dataclass(frozen=True)
class Robustness(Work):
    """Tries all disturbances on one file, with the test data of the recipe's task."""

    recipe: Recipe
    file: Path

    name = "robustness"

    @property
    def subject(self) -> str:
        return self.file.stem

    def settings(self) -> dict[str, Any]:
        section = self.recipe.robustness
        return {
            **task_data(self.recipe),
            "files": digests([self.file]),
            "task": self.recipe.task,
            "robustness": section.model_dump() if section else {},
        }

    def chosen(self) -> dict[str, tuple[str, ...]]:
        return {"models.tasks": (self.recipe.task,)}

    def build(self, folder: Path, report: Report) -> None:
        from device_runner.model.step_file import load_step_model
        from pipeline.files import write_json
        from pipeline.robustness.labelled import of_test_data
        from pipeline.robustness.study import Kept, study

        section = self.recipe.robustness
        seeds = section.seeds if section else 1
        model = load_step_model(self.file)
        kept = Kept(folder / SCORES_FILE)
        task = self.recipe.load_task()

        def load(model: StepModel) -> Labelled:
            return of_test_data(model, task)

        (found,) = study([model], load, seeds, "auto", kept, report)
        write_json(folder / STUDY_FILE, found.to_json())


def load_study(folder: Path) -> ModelStudy:
    """Read what a finished stage found."""
    from pipeline.files import read_json

    return ModelStudy.read(read_json(folder / STUDY_FILE))
