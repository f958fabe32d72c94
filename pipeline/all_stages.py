"""Run all stages of a recipe in order, each with what it needs from the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.schemes.spec import SchemeSpec
from models.item_scores import ItemScores
from pipeline.files import place, read_json_lines
from pipeline.networks import Network, networks_of
from pipeline.recipe import Recipe
from pipeline.recipe_check import check_names
from pipeline.robustness.study import ModelStudy
from pipeline.stages import STOPS
from pipeline.stages.baseline import Baseline, TaskFacts
from pipeline.stages.bench import PACED_FILE, RESULTS_FILE, Bench
from pipeline.stages.calibrate import Calibrate
from pipeline.stages.check import Check
from pipeline.stages.compress import Compress
from pipeline.stages.convert import ITEMS_FILE, Convert, keep_items, load_items
from pipeline.stages.qat import QuantizationAwareTraining
from pipeline.stages.robustness import Robustness, load_study
from pipeline.stages.train import Train
from pipeline.stages.verify import VERIFICATION_FILE, RuntimeAnswer, Verify, load_answers
from pipeline.work import Tracker, Workshop
from pipeline.workspace import Stage, Workspace


@dataclass(frozen=True)
class Outcome:
    """What a run left behind, for the report: finished stages by network, files, results, and by
    file how it did on each test sequence."""

    recipe: Recipe
    folder: Path
    trained: dict[str, Stage]
    calibrated: dict[str, Stage]
    files: list[Path]
    task: TaskFacts
    results: list[dict[str, Any]]
    verification: list[RuntimeAnswer]
    studies: list[ModelStudy]
    items: dict[str, ItemScores]


def run_stages(recipe: Recipe, workspace: Workspace, until: str, track: Tracker) -> Outcome:
    """Run a recipe's stages up to and including ``until``; finished ones are skipped.

    Args:
        until: a name in pipeline.stages.STOPS.
        track: shows a stage while it runs.

    Raises:
        click.ClickException: a name in the recipe is unknown, or something in it cannot work (both
            raised before any network is trained); or a stage fails.
    """
    return _Run(recipe, Workshop(workspace, track), STOPS.index(until)).outcome()


@dataclass(frozen=True)
class _Run:
    """A run of a recipe.

    Args:
        last: index of the last stage in STOPS.
    """

    recipe: Recipe
    workshop: Workshop
    last: int

    def _wants(self, name: str) -> bool:
        return self.last >= STOPS.index(name)

    def outcome(self) -> Outcome:
        recipe, networks = self.recipe, networks_of(self.recipe)
        check_names(recipe)
        self.workshop.do(Check(recipe))
        task = TaskFacts.load(self.workshop.do(Baseline(recipe)).folder)
        trained: dict[str, Stage] = {}
        for network in networks:
            trained[network.label] = self._train(network, trained)
        calibrated = {}
        if self._wants("calibrate"):
            for network in networks:
                stage = trained[network.label]
                calibrated[network.label] = self.workshop.do(Calibrate(recipe, network, stage))
        tuned = self._fine_tune(networks, trained, calibrated)
        files: list[Path] = []
        items: dict[str, ItemScores] = {}
        if self._wants("convert"):
            for network in networks:
                label = network.label
                convert = Convert(recipe, network, trained[label], calibrated[label], tuned[label])
                made, scores = self._convert(convert)
                files += made
                items.update(scores)
            keep_items(self.workshop.workspace.folder / ITEMS_FILE, items)
        verification = self._verify(files) if self._wants("verify") else []
        results = self._bench(files) if self._wants("bench") else []
        studies = self._disturb(networks) if self._wants("robustness") else []
        folder = self.workshop.workspace.folder
        return Outcome(
            recipe, folder, trained, calibrated, files, task, results, verification, studies, items
        )

    def _train(self, network: Network, trained: dict[str, Stage]) -> Stage:
        """Train a network and compress it."""
        distil, teachers = network.section.distil, []
        if distil:
            seeds = self.recipe.seeds if distil.ensemble else [network.seed]
            teachers = [trained[f"{distil.teacher}-s{seed}"] for seed in seeds]
        stage = self.workshop.do(Train(self.recipe, network, tuple(teachers)))
        for name in network.section.compressions:
            if self._wants(name):
                stage = self.workshop.do(Compress(self.recipe, network, name, stage))
        return stage

    def _fine_tune(
        self, networks: list[Network], trained: dict[str, Stage], calibrated: dict[str, Stage]
    ) -> dict[str, dict[SchemeSpec, Stage]]:
        """Fine-tune step graphs for int8, by network and scheme."""
        if not self._wants("qat"):
            return {}
        return {
            network.label: {
                scheme: self.workshop.do(
                    QuantizationAwareTraining(
                        self.recipe,
                        network,
                        scheme,
                        trained[network.label],
                        calibrated[network.label],
                    )
                )
                for scheme in self.recipe.schemes_of(network.section)
                if scheme.qat
            }
            for network in networks
        }

    def _convert(self, convert: Convert) -> tuple[list[Path], dict[str, ItemScores]]:
        """Export a network and copy its files to the top of the run's folder; return them, and by
        file how it did on each test sequence."""
        stage, top = self.workshop.do(convert), self.workshop.workspace.folder
        for name in convert.file_names:
            place(stage.folder / name, top / name)
        paths = [top / name for name in convert.file_names]
        return paths, load_items(stage.folder / ITEMS_FILE)

    def _verify(self, files: list[Path]) -> list[RuntimeAnswer]:
        stage = self.workshop.do(Verify(tuple(files)))
        path = self.workshop.workspace.folder / VERIFICATION_FILE
        place(stage.folder / VERIFICATION_FILE, path)
        return load_answers(path)

    def _bench(self, files: list[Path]) -> list[dict[str, Any]]:
        stage = self.workshop.do(Bench(tuple(files), self.recipe.bench))
        folder = self.workshop.workspace.folder
        for name in (RESULTS_FILE, PACED_FILE):
            place(stage.folder / name, folder / name)
        return read_json_lines(folder / RESULTS_FILE)

    def _disturb(self, networks: list[Network]) -> list[ModelStudy]:
        """Judge the files of the first seed on disturbed data, if the recipe asks for it."""
        recipe, folder = self.recipe, self.workshop.workspace.folder
        if recipe.robustness is None:
            return []
        return [
            load_study(
                self.workshop.do(Robustness(recipe, folder / network.file_name(scheme))).folder
            )
            for network in networks
            if network.seed == recipe.seeds[0] and not network.section.is_control
            for scheme in recipe.schemes
        ]
