"""Read data with what is wanted of it: a task's test data, or a user's own files."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calibration.data import InputShape, load_sequences
from calibration.errors import one_line
from device_runner.model.array_files import check_array_file
from device_runner.model.step_file import StepModel
from models.metrics import usual_metric
from models.tasks.sequence_set import SequenceSet
from pipeline.errors import PipelineError
from pipeline.robustness.disturbances import Frames
from pipeline.robustness.trial import Labelled

if TYPE_CHECKING:
    from models.tasks.task import Task


def of_task(model: StepModel, name: str | None = None) -> Labelled:
    """Load the test data of a task.

    Args:
        name: of the task, or a recipe's file, whose task it is; None for the task that the model
            was trained for.

    Raises:
        PipelineError: the task is none of ours, or the model takes or gives something else.
        UnknownNameError: there is no task of that name.
    """
    from models.tasks import TASKS, load_task

    contract = model.contract
    if name is None and contract.task not in TASKS:
        raise PipelineError(
            f"the model's task '{contract.task}' is none of edgestep's, so its test data is not "
            "known; give --data FILE and --wanted FILE, or --task RECIPE.toml"
        )
    if name and Path(name).suffix == ".toml":
        from pipeline.recipe import load_recipe

        return of_test_data(model, load_recipe(Path(name)).load_task(), named=True)
    return of_test_data(model, load_task(name or contract.task), named=bool(name))


def of_test_data(model: StepModel, task: Task, named: bool = False) -> Labelled:
    """Take the channels that a model reads out of a task's test data.

    Args:
        named: whether the task is another one than the model's own.

    Raises:
        PipelineError: the model takes or gives something else.
    """
    contract = model.contract
    missing = [name for name in contract.channels if name not in task.channels]
    if missing:
        raise PipelineError(
            f"the model takes '{missing[0]}', which the task {task.name} does not have; give "
            "--data FILE and --wanted FILE"
        )
    if named and model.labels and tuple(model.labels) != task.labels:
        raise PipelineError(
            f"the model's outputs are not those of the task {task.name} ({', '.join(task.labels)})"
        )
    # A pruned network may read fewer channels than the task has.
    chosen = [task.channels.index(name) for name in contract.channels]
    key = contract.input.name
    frames: list[Frames] = [{key: one[:, chosen]} for one in task.test.sequences]
    return Labelled(frames, task.test, task.score, f"test data of {task.name}: {task.source}")


def of_files(model: StepModel, data: str, wanted: Path) -> Labelled:
    """Read sequences and what is wanted of them.

    Args:
        data: as ``edgestep convert --data``.
        wanted: ``.npy`` or ``.csv`` with a class for each sequence, as an index or as a label of
            the model; or ``.npz`` with an array for each sequence, in order: class indices at each
            step (integers; -1 where none is wanted), or values [steps, outputs] (floats).

    Raises:
        PipelineError: what is wanted cannot be read or does not fit.
        CalibrationError: the data cannot be read or does not fit the model.
    """
    contract = model.contract
    frames = frames_of_file(model, data)
    first = [one[contract.input.name] for one in frames]
    given = _read(wanted)
    if len(given) != len(frames):
        raise PipelineError(
            f"{wanted}: {len(given)} answers are wanted of {len(frames)} sequences; give one for "
            "each sequence"
        )
    count = len(frames)
    classes, groups = np.zeros(count, np.int64), np.arange(count)
    if isinstance(given, list):
        outputs = int(np.prod(contract.output.frame_shape))
        answers = _at_each_step(given, first, outputs, wanted)
        made = SequenceSet(first, classes, groups, **answers)
    else:
        made = SequenceSet(first, _classes(given, model, wanted), groups)
    return Labelled(frames, made, usual_metric(made), f"{data}, {wanted}")


def frames_of_file(model: StepModel, data: str) -> list[Frames]:
    """Read sequences for a step model from a file or a function, as ``edgestep convert --data``.

    Raises:
        PipelineError: an array would take more memory than the file can fill.
        CalibrationError: the data cannot be read or does not fit the model.
    """
    if Path(data).is_file():
        try:
            check_array_file(data)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise PipelineError(f"{data}: cannot be read ({one_line(error)})") from error
    inputs = model.contract.inputs
    shapes = [InputShape(spec.name, spec.frame_shape, spec.vocabulary) for spec in inputs]
    return [dict(one) for one in load_sequences(data, shapes)]


def _read(path: Path) -> list[NDArray[Any]] | NDArray[Any]:
    if path.suffix not in (".npy", ".npz", ".csv"):
        raise PipelineError(f"{path}: what is wanted is a .npy, .csv or .npz file")
    try:
        check_array_file(path)
        if path.suffix == ".csv":
            return np.array([line.strip() for line in path.read_text("utf-8").splitlines()])
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        with np.load(path, allow_pickle=False) as archive:
            return [np.asarray(archive[name]) for name in archive.files]
    # NumPy raises many types for damaged files.
    except Exception as error:
        raise PipelineError(f"{path}: cannot be read ({one_line(error)})") from error


def _at_each_step(
    given: list[NDArray[Any]], frames: list[NDArray[Any]], outputs: int, path: Path
) -> dict[str, list[NDArray[Any]]]:
    """Answers at each step as a SequenceSet takes them: classes or values."""
    for number, (answers, steps) in enumerate(zip(given, frames, strict=True)):
        where = f"{path}: sequence {number}"
        if answers.ndim == 0 or len(answers) != len(steps):
            raise PipelineError(f"{where} has {len(steps)} steps and {_count(answers)} answers")
        if answers.dtype.kind not in "iuf":
            raise PipelineError(f"{where}: answers are integers or floats, not {answers.dtype}")
    if all(one.dtype.kind in "iu" for one in given):
        for number, answers in enumerate(given):
            if answers.ndim > 1 or answers.min() < -1 or answers.max() >= outputs:
                raise PipelineError(
                    f"{path}: sequence {number}: classes are numbers from 0 to {outputs - 1}, one "
                    "for each step, and -1 where none is wanted"
                )
        return {"step_labels": [one.astype(np.int64) for one in given]}
    values = [one.reshape(len(one), -1).astype(np.float32) for one in given]
    for number, answers in enumerate(values):
        if answers.shape[1] != outputs or not np.isfinite(answers).all():
            raise PipelineError(
                f"{path}: sequence {number}: values are {outputs} finite numbers for each step"
            )
    return {"values": values}


def _count(answers: NDArray[Any]) -> str:
    return str(len(answers)) if answers.ndim else "no"


def _classes(given: NDArray[Any], model: StepModel, path: Path) -> NDArray[np.int64]:
    """Class indices of numbers or of the model's labels."""
    labels = list(model.labels)
    outputs = int(np.prod(model.contract.output.frame_shape))
    if given.ndim != 1:
        raise PipelineError(f"{path}: shape {given.shape}; give one class for each sequence")
    found = [_index(str(one), labels, path) for one in given]
    if min(found, default=0) < 0 or max(found, default=0) >= outputs:
        raise PipelineError(f"{path}: a class is outside of the model's {outputs} outputs")
    return np.array(found, np.int64)


def _index(text: str, labels: Sequence[str], path: Path) -> int:
    if text in labels:
        return labels.index(text)
    try:
        return int(text)
    except ValueError:
        raise PipelineError(
            f"{path}: '{text}' is neither an index nor one of the model's labels "
            f"({', '.join(labels[:5]) or 'it has none'})"
        ) from None
