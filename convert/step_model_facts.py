"""Collect what a step model's contract says beyond its graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tf_keras as keras
from numpy.typing import NDArray

from convert.evaluation import evaluate_step_model
from convert.golden_sequences import golden_of_network
from convert.schemes.scheme import FloatStep
from convert.step.contract_fields import contract_fields
from device_runner.model.flatbuffer import read_graph
from device_runner.model.golden import Golden
from device_runner.operators.multiply_adds import mean_multiply_adds
from device_runner.stream import Stream
from models.item_scores import ItemScores
from models.network import Architecture, count_parameters
from models.prediction import evaluate
from models.tasks.task import Task


@dataclass(frozen=True)
class StepModelFacts:
    """What a step model's contract says beyond its graph, and what the model is held to.

    Attributes:
        task, cell, units, frame_period_s, frame_period_source, channels, input_units,
            output_meaning, normalization, parameters, front_end: as in the contract.
        labels: what each value of the first output stands for.
        golden: sequences with the float model's outputs.
        spread: spread of the first output; errors are counted as shares of it.
        classifies: whether the largest of the first output's values is a decision.
        evaluate: computes the metrics of a stream's step model.
        streams: sequences, as ``Stream.run`` takes them, to be chained to measure the drift.
    """

    task: str
    cell: str
    units: tuple[int, ...]
    parameters: int
    labels: tuple[str, ...]
    channels: tuple[str, ...]
    input_units: str
    frame_period_s: float
    frame_period_source: str
    output_meaning: str
    normalization: dict[str, list[float]]
    golden: Golden
    spread: float
    classifies: bool
    streams: Sequence[Any]
    evaluate: Callable[[Stream], dict[str, Any]]
    front_end: dict[str, Any] | None = None


def facts_of_task(
    network: keras.Model,
    architecture: Architecture,
    task: Task,
    step: FloatStep,
    training_facts: dict[str, Any],
    keep: Callable[[ItemScores], None] | None = None,
) -> StepModelFacts:
    """Collect the facts of a network that was trained on a task.

    The golden sequences and the streams are validation data: what is held to them, or chosen by
    them, has not seen the test data.

    Args:
        network: the float network, [batch, steps, inputs] -> [batch, steps, outputs]; it computes
            the golden outputs.
        step: its float step graph.
        training_facts: further metrics for the contract.
        keep: as :func:`convert.evaluation.evaluate_step_model` has it.
    """
    outputs = [spec.name for spec in contract_fields(read_graph(step.flatbuffer), step)["outputs"]]
    golden = golden_of_network(network, task.validation, outputs)
    spread = float(golden.y.max() - golden.y.min())
    if task.gives_values:
        # If hardly anything can be predicted, the outputs hardly move. Then the size of an error
        # beside the target values counts.
        spread = max(spread, float(task.value_spread[1].max()))
    mean, deviation = task.normalization
    metric = task.score

    def score(stream: Stream) -> dict[str, Any]:
        return {
            "metric": metric.facts(),
            **_float_scores(network, task),
            **evaluate_step_model(stream, task, keep),
            "multiply_adds": mean_multiply_adds(stream.model),
            **training_facts,
        }

    return StepModelFacts(
        task=task.name,
        cell=architecture.cell,
        units=architecture.units,
        parameters=count_parameters(architecture.build()),
        labels=task.labels,
        channels=task.channels,
        input_units=task.units,
        frame_period_s=task.frame_period_s,
        frame_period_source=task.frame_period_source,
        output_meaning=task.output_meaning,
        normalization={"mean": _rounded(mean), "deviation": _rounded(deviation)},
        golden=golden,
        spread=spread,
        classifies=not task.gives_values,
        streams=task.validation.sequences,
        evaluate=score,
        front_end=task.front_end,
    )


def _float_scores(network: keras.Model, task: Task) -> dict[str, float]:
    metric = task.score
    sides = {"float": task.test, "float_validation": task.validation}
    return {
        f"{name}_{metric.key}": metric.rounded(evaluate(network, data, metric)[1])
        for name, data in sides.items()
    }


def _rounded(values: NDArray[Any]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
