"""Evaluate a step model as the device steps it: on a task's validation and test data, and against
the float model over a long stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.rollout import long_streams
from convert.errors import ContractViolationError
from convert.model_metrics import Drift
from convert.schemes.scheme import FloatStep
from convert.step.contract_fields import contract_fields
from convert.step.phase_signatures import with_phases
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import StepModel
from device_runner.stream import Stream
from device_runner.verify import compare
from models.item_scores import ItemScores, item_scores
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task
from models.tensorflow_log import quiet

DRIFT_STEPS = 10_000
# With a window nothing is older than it: so many answers tell.
DRIFT_ANSWERS = 1000
DRIFT_SEED = 7
# The stream is judged in so many parts, one after another.
DRIFT_PARTS = 20


def evaluate_step_model(
    stream: Stream, task: Task, keep: Callable[[ItemScores], None] | None = None
) -> dict[str, Any]:
    """Compute the task's metric on its validation and test data, and per group if the task has
    groups.

    What is chosen later, such as a scheme, is chosen by the validation data. The test data only
    say how good the result is.

    Args:
        keep: called with the score of each test sequence, where the metric has such.

    Returns:
        The metric under its own key ("accuracy", "mean_absolute_error"), and for the validation
        data under the same with "validation_" before it. If the task has groups, also a dict from
        group to metric, under that key with "_by_" and the group's name appended.
    """
    metric = task.score
    held_out = metric.compute(step_outputs(stream, task.validation), task.validation)
    data = task.test
    outputs = step_outputs(stream, data)
    metrics: dict[str, Any] = {
        f"validation_{metric.key}": metric.rounded(held_out),
        "validation_sequences": len(task.validation),
        metric.key: metric.rounded(metric.compute(outputs, data)),
    }
    of_items = item_scores(metric, outputs, data)
    if keep is not None and of_items is not None:
        keep(of_items)
    if task.group_name:
        by_group = {}
        for group in np.unique(data.groups):
            chosen = np.flatnonzero(data.groups == group)
            score = metric.compute(outputs[chosen], data.select(chosen))
            by_group[str(group)] = metric.rounded(score)
        metrics[f"{metric.key}_by_{task.group_name}"] = by_group
    return metrics


def step_outputs(stream: Stream, data: SequenceSet) -> NDArray[np.float32]:
    """Step every sequence from the initial state.

    Returns:
        The first output of every step, float32 [sequences, longest, outputs]. Steps after the
        end of a sequence are zeros.

    Raises:
        ContractViolationError: there are no sequences.
    """
    outputs = None
    for index, sequence in enumerate(data.sequences):
        stream.reset()
        given = first_output(stream.run_by_name(sequence))
        if outputs is None:
            outputs = np.zeros((len(data), data.lengths.max(), given.shape[-1]), np.float32)
        outputs[index, : len(given)] = given
    stream.reset()
    if outputs is None:
        raise ContractViolationError("there is no data to step through; give a sequence or more")
    return outputs


def drift(stream: Stream, step: FloatStep, sequences: Sequence[Any]) -> Drift:
    """Measure how far a quantized model strays from the float one over DRIFT_STEPS steps without
    resetting the state.

    Args:
        stream: a stream of the quantized model.
        step: the float step graph.
        sequences: sequences as ``Stream.run`` takes them; they are chained until long enough.

    """
    window = step.window
    steps = DRIFT_STEPS
    if window is not None:
        steps = min(steps, window.steps + DRIFT_ANSWERS * window.hop)
    frames = long_streams(sequences, steps, DRIFT_SEED, streams=1)[0]
    if isinstance(frames, dict):
        frames = {name: values[:steps] for name, values in frames.items()}
    else:
        frames = frames[:steps]
    reference = _run_float(step, stream.model, frames)
    stream.reset()
    outputs = first_output(stream.run_by_name(frames))
    stream.reset()
    if window is not None:
        answered = list(window.answered_frames(steps))
        outputs, reference = outputs[answered], reference[answered]
    spread = float(reference.max() - reference.min()) or 1.0
    tenth = max(1, len(reference) // 10)
    rms, largest, agreement = compare(outputs, reference)
    return Drift(
        steps=steps,
        rms=round(rms / spread, 5),
        rms_first_tenth=round(compare(outputs[:tenth], reference[:tenth])[0] / spread, 5),
        rms_last_tenth=round(compare(outputs[-tenth:], reference[-tenth:])[0] / spread, 5),
        max_abs=round(largest / spread, 5),
        argmax_agreement=round(agreement, 4),
        rms_by_part=tuple(
            round(compare(ours, theirs)[0] / spread, 5)
            for ours, theirs in zip(
                np.array_split(outputs, DRIFT_PARTS),
                np.array_split(reference, DRIFT_PARTS),
                strict=True,
            )
            if len(ours)
        ),
    )


def first_output(outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Return the first of a stream's outputs, which is the one the task trains."""
    return next(iter(outputs.values()))


def float_stream_of(step: FloatStep, quantized: StepModel) -> Stream:
    """Open a stream of the float step that a step model was made of.

    Args:
        step: the float step.
        quantized: the step model, whose window and shapes it takes.
    """
    flatbuffer = with_phases(step.flatbuffer, step.periods)
    graph = read_graph(flatbuffer)
    contract = replace(quantized.contract, **contract_fields(graph, step))
    model = replace(quantized, flatbuffer=flatbuffer, graph=graph, contract=contract)
    with quiet():
        return Stream(model, "litert")


def _run_float(step: FloatStep, quantized: StepModel, frames: Any) -> NDArray[np.float32]:
    """Step the float graph through ``frames`` without a reset and return its outputs."""
    return first_output(float_stream_of(step, quantized).run_by_name(frames))
