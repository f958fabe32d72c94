"""What a worker does for a trial: a job, as an object for JSON, to an answer, as another.

A job names its ``phase``:

- ``untrained``: convert the network with random weights, check it for targets;
- ``trained``: the stages of a recipe up to the file, judged on the validation data;
- ``judged``: the same file, judged on the test data; for the front, at the end.

Stages that are done are found in the sweep's folder. So a job that was killed goes on where its
running stage was.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from device_runner.errors import one_line
from device_runner.model.step_file import StepModel, load_step_model
from models.errors import ModelsError
from models.item_scores import ItemScores
from pipeline.errors import RecipeError
from pipeline.networks import Network, networks_of
from pipeline.source_trace import Tracer
from pipeline.stages.calibrate import Calibrate
from pipeline.stages.compress import Compress
from pipeline.stages.convert import ITEMS_FILE, Convert, load_items
from pipeline.stages.history import NetworkHistory
from pipeline.stages.qat import QuantizationAwareTraining
from pipeline.stages.train import Train
from pipeline.sweep.log import FAILED, IMPOSSIBLE, PRUNED
from pipeline.sweep.space import TrialRecipe, impossible, trial_recipe
from pipeline.sweep.untrained import FILE, Untrained
from pipeline.work import Report, Workshop
from pipeline.workspace import SharedWorkspace, Stage

if TYPE_CHECKING:
    from models.history import EpochRecord

UNTRAINED, TRAINED, JUDGED = "untrained", "trained", "judged"
DONE = "done"
# When a training is held against others, as shares of its epochs.
CHECKPOINTS = (0.25, 0.5, 0.75)


class HopelessError(Exception):
    """A training is behind all that are smaller and faster."""


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job; errors become answers whose ``state`` says that there is no result."""
    start = time.monotonic()
    try:
        answer = _run(job)
    except HopelessError as error:
        answer = {"state": PRUNED, "reason": str(error)}
    except (RecipeError, ModelsError) as error:
        kind = IMPOSSIBLE if job["phase"] == UNTRAINED else FAILED
        answer = {"state": kind, "reason": error.message}
    except click.ClickException as error:
        answer = {"state": FAILED, "reason": error.message}
    except (ValueError, TypeError, IndexError, MemoryError) as error:
        # A cell or layer did not say in its own words what it takes; where, the worker's log says.
        traceback.print_exc()
        answer = {"state": FAILED, "reason": f"{type(error).__name__}: {one_line(error)}"}
    if "file" in answer:
        answer["file"] = Path(answer["file"]).relative_to(job["folder"]).as_posix()
    return {**answer, "phase": job["phase"], "seconds": round(time.monotonic() - start, 2)}


def _run(job: dict[str, Any]) -> dict[str, Any]:
    recipe = trial_recipe(job["recipe"], "the trial")
    problem = impossible(recipe)
    if problem:
        return {"state": IMPOSSIBLE, "reason": problem}
    workshop = Workshop(SharedWorkspace(Path(job["folder"])), _silently, _tracer())
    if job["phase"] == UNTRAINED:
        return _untrained(recipe, workshop, job["targets"])
    if job["phase"] == JUDGED:
        return _judged(recipe, workshop)
    watch = _Watch(job["bars"], job["higher_is_better"]) if job.get("bars") else None
    return _trained(recipe, workshop, watch)


def _untrained(recipe: TrialRecipe, workshop: Workshop, targets: list[str]) -> dict[str, Any]:
    from convert.targets.check import check_file

    network = networks_of(recipe)[0]
    stage = workshop.do(Untrained(recipe, network, recipe.schemes[0]))
    path = stage.folder / FILE
    refused = {}
    for target in targets:
        report = check_file(path, target)
        if not report.fits:
            refused[target] = report.error().message
    return {**_file_facts(path), "label": _label(network, recipe), "refused": refused}


def _trained(recipe: TrialRecipe, workshop: Workshop, watch: _Watch | None) -> dict[str, Any]:
    """Train, convert and judge each seed's network; the file is the first seed's."""
    networks, items, curves, paths = networks_of(recipe), [], [], []
    for index, network in enumerate(networks):
        # What one seed says of a network decides for the others.
        stages = _chain(recipe, workshop, network, None if index else watch)
        stage = workshop.do(Convert(recipe, network, *stages))
        name = network.file_name(recipe.schemes[0])
        paths.append(stage.folder / name)
        items.append(load_items(stage.folder / ITEMS_FILE)[name])
        curves.append(_curve(recipe, workshop, network))
    return {
        **_file_facts(paths[0]),
        **_score(items),
        "label": _label(networks[0], recipe),
        "curve": curves[0],
    }


def _judged(recipe: TrialRecipe, workshop: Workshop) -> dict[str, Any]:
    """Judge the trial's files on the test data, which no stage before this has seen."""
    last = recipe.model_copy(update={"judged_on_test": True})
    items, paths = [], []
    for network in networks_of(recipe):
        stage = workshop.do(Convert(last, network, *_chain(recipe, workshop, network)))
        name = network.file_name(recipe.schemes[0])
        paths.append(stage.folder / name)
        items.append(load_items(stage.folder / ITEMS_FILE)[name])
    return {**_file_facts(paths[0]), **_score(items), "name": paths[0].name}


def _chain(
    recipe: TrialRecipe, workshop: Workshop, network: Network, watch: _Watch | None = None
) -> tuple[Stage, Stage, dict[Any, Stage]]:
    """Do all stages before the conversion."""
    stage = workshop.do(Train(recipe, network, watch=watch))
    for name in network.section.compressions:
        stage = workshop.do(Compress(recipe, network, name, stage))
    calibrated = workshop.do(Calibrate(recipe, network, stage))
    tuned = {
        scheme: workshop.do(QuantizationAwareTraining(recipe, network, scheme, stage, calibrated))
        for scheme in recipe.schemes
        if scheme.qat
    }
    return stage, calibrated, tuned


class _Watch:
    """Ends a training that is behind the training of every network that is smaller and faster.

    Args:
        bars: what each of these had scored at CHECKPOINTS.
    """

    def __init__(self, bars: list[list[float]], higher_is_better: bool) -> None:
        self.bars, self.sign = bars, 1 if higher_is_better else -1
        self.best = -float("inf")

    def __call__(self, epoch: int, epochs: int, record: EpochRecord) -> None:
        self.best = max(self.best, self.sign * record.validation_score)
        for index, share in enumerate(CHECKPOINTS):
            if epoch != max(1, round(share * epochs)):
                continue
            least = min(self.sign * bar[index] for bar in self.bars)
            if self.best < least:
                raise HopelessError(
                    f"after {epoch} of {epochs} epochs it is at {self.sign * self.best:.4g}; the "
                    f"smaller and faster networks were at {self.sign * least:.4g} or better"
                )


def checkpoint_scores(
    curve: list[float], epochs: int, higher_is_better: bool, margin: float
) -> list[float]:
    """Return a bar for others: the best score up to each of CHECKPOINTS, less a margin.

    Args:
        curve: the score of each epoch; shorter than ``epochs`` where training ended early.
        margin: as a share of the score.
    """
    sign = 1 if higher_is_better else -1
    found = []
    for share in CHECKPOINTS:
        best = max(sign * score for score in curve[: max(1, round(share * epochs))])
        found.append(sign * (best - margin * abs(best)))
    return found


def _curve(recipe: TrialRecipe, workshop: Workshop, network: Network) -> list[float]:
    """Return the validation score of each epoch of the training, before any compression."""
    trained = workshop.do(Train(recipe, network))
    scores = NetworkHistory.load(trained.folder).training.validation_score
    return [round(score, 6) for score in scores]


def _score(items: list[ItemScores]) -> dict[str, Any]:
    """Score over the seeds, with an interval over seeds and sequences."""
    from models.confidence import paired_difference

    nothing = [ItemScores(np.zeros(len(one)), one.wanted) for one in items]
    found = paired_difference(items, nothing)
    return {"score": found.value, "interval": [found.low, found.high],
            "by_seed": [one.score for one in items]}  # fmt: skip


def _file_facts(path: Path) -> dict[str, Any]:
    model = load_step_model(path)
    return {
        "state": DONE,
        "file": str(path),
        "sha256": model.sha256,
        "bytes": graph_bytes(model),
        "file_bytes": model.file_bytes,
        "parameters": model.contract.parameters,
        "frame_period_s": model.contract.frame_period_s,
    }


def graph_bytes(model: StepModel) -> int:
    """Return how large a file's network is, without the golden sequences beside it."""
    return len(model.flatbuffer)


def _label(network: Network, recipe: TrialRecipe) -> str:
    return f"{network.section.label} {recipe.schemes[0]}"


@cache
def _tracer() -> Tracer:
    return Tracer()


@contextlib.contextmanager
def _silently(subject: str, stage: str) -> Iterator[Report]:
    yield lambda done, total, remark: None
