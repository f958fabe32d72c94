"""From a trained network to a step model file that carries its contract and its own proof."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from calibration.ranges import Ranges
from calibration.rollout import long_streams
from convert.errors import ContractViolationError
from convert.schemes import apply_scheme, load_scheme, parse_scheme
from convert.schemes.scheme import FloatStep, Scheme, ToleranceShare
from convert.schemes.spec import SchemeSpec
from convert.step.contract_fields import border
from convert.step.phase_signatures import with_phases
from convert.step.step_module import StepModule, to_float_graph
from device_runner.atomic_write import write_atomically
from device_runner.model.contract import Contract, Tolerance
from device_runner.model.flatbuffer import Graph, read_graph
from device_runner.model.frames import StepValues
from device_runner.model.golden import Golden, golden_input
from device_runner.model.graph_checks import check_contract, check_phases, phase_graphs
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME
from device_runner.model.step_file import StepModel, pack
from device_runner.operators.multiply_adds import mean_multiply_adds
from device_runner.stream import Stream
from device_runner.verify import Verification, compare, verify
from models.network import Architecture, count_parameters
from models.prediction import evaluate
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task
from models.tensorflow_log import quiet

# Enough to see a wrong state, few enough not to weigh on a small model's file.
GOLDEN_STEPS = 32
GOLDEN_SEQUENCES = 3
DRIFT_STEPS = 10_000
DRIFT_SEED = 7
VERSIONED = ("edgestep", "tensorflow", "tf_keras", "litert-quantizer", "ai-edge-litert")


def float_step(network: keras.Model, fold_embedding: bool | None = None) -> FloatStep:
    """Lower a network to its float32 step graph (see convert.step.step_module.StepModule)."""
    return step_of(StepModule(network, fold_embedding))


def step_of(module: StepModule) -> FloatStep:
    """The float32 step graph of a step module."""
    return FloatStep(
        to_float_graph(module),
        module.state_bounds,
        initial=module.initial,
        vocabularies=module.vocabularies,
        float_only=module.float_only,
        periods=module.periods,
    )


@dataclass(frozen=True)
class Description:
    """What a step model's contract says beyond its graph, and what the model is held to.

    Attributes:
        task, cell, units, frame_period_s, frame_period_source, channels, input_units,
            output_meaning, normalization, parameters, front_end: as in the contract.
        labels: what each value of the first output stands for.
        golden: sequences with the float model's outputs.
        spread: of the first output, in whose shares errors are counted.
        classifies: whether the largest of the first output's values is a decision.
        evaluate: metrics of the step model that the stream holds.
        streams: sequences, as ``Stream.run`` takes them, that are chained to measure the drift.
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


def export(
    network: keras.Model,
    architecture: Architecture,
    task: Task,
    scheme: str | SchemeSpec,
    path: Path,
    step: FloatStep | None = None,
    ranges: Ranges | None = None,
    training_facts: dict[str, Any] | None = None,
    recipe_hash: str = "",
) -> StepModel:
    """Write a step model file and prove it on the spot.

    The result is stepped through the golden sequences and the whole test set on LiteRT before
    the file is written; its accuracy and its drift from the float model over a long stream are
    part of its contract.

    Args:
        network: the float network, [batch, steps, inputs] -> [batch, steps, outputs]; the golden
            outputs are its own.
        step: the network's float step graph, if it is there already.
        scheme: a scheme, or its name.
        ranges: calibrated on ``step``; needed by quantizing schemes.
        training_facts: further metrics for the contract.

    Raises:
        UnknownSchemeError, SchemeWordsError: there is no such scheme.
        ContractViolationError: the graph does not keep the step contract.
        VerificationError: the converted model computes something else than the network.
    """
    step = step or float_step(network)
    outputs = [spec.name for spec in border(read_graph(step.flatbuffer), step)["outputs"]]
    golden = _golden(network, task, outputs)
    spread = float(golden.y.max() - golden.y.min())
    if task.gives_values:
        # Where hardly anything can be foretold the outputs hardly move, and what counts is the
        # size of an error beside the values that are wanted.
        spread = max(spread, float(task.value_spread[1].max()))
    mean, deviation = task.normalization
    metric = task.score

    def score(stream: Stream) -> dict[str, Any]:
        return {
            "metric": metric.facts(),
            f"float_{metric.key}": metric.rounded(evaluate(network, task.test, metric)[1]),
            **evaluate_step_model(stream, task),
            "multiply_adds": mean_multiply_adds(stream.model),
            **(training_facts or {}),
        }

    description = Description(
        task=task.name,
        cell=architecture.cell,
        units=architecture.units,
        parameters=count_parameters(architecture.build()),
        labels=task.labels,
        channels=task.channels,
        input_units=task.units,
        frame_period_s=task.frame_period_s,
        frame_period_source=task.frame_period_source,
        output_meaning="values" if task.gives_values else "logits",
        normalization={"mean": _rounded(mean), "deviation": _rounded(deviation)},
        golden=golden,
        spread=spread,
        classifies=not task.gives_values,
        streams=task.test.sequences,
        evaluate=score,
        front_end=task.front_end,
    )
    return export_step(step, description, scheme, path, ranges, recipe_hash)


def export_step(
    step: FloatStep,
    description: Description,
    scheme: str | SchemeSpec,
    path: Path,
    ranges: Ranges | None = None,
    recipe_hash: str = "",
) -> StepModel:
    """As :func:`export`, of a step graph that belongs to no task of ours."""
    spec = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    if spec.qat and step.limits is None:
        raise ContractViolationError(f"{spec} needs a step graph that was trained for it")
    scheme_graph = apply_scheme(spec, step, ranges)
    wanted = load_scheme(spec.base)
    check_dtypes(read_graph(scheme_graph), wanted)
    flatbuffer = with_phases(scheme_graph, step.periods)
    spread, classifies = description.spread, description.classifies
    draft = draft_model(
        step, description, flatbuffer, path, spec,
        _tolerance(wanted.limit, spread, classifies), recipe_hash,
    )  # fmt: skip
    with quiet():
        stream = Stream(draft, "litert")
    verification = verify(stream)
    if verification.failure:
        raise verification.error(path)
    metrics = description.evaluate(stream)
    if scheme_graph != step.flatbuffer:
        metrics["drift"] = drift(stream, step, description.streams)
    least = _tolerance(wanted.tolerance, spread, classifies)
    tolerance = _held_to(least, verification, draft.contract.tolerance)
    contract = replace(draft.contract, metrics=metrics, tolerance=tolerance)
    packed = pack(flatbuffer, contract, description.labels, description.golden)
    write_atomically(path, packed)
    return replace(draft, contract=contract, file_bytes=len(packed))


def draft_model(
    step: FloatStep,
    description: Description,
    flatbuffer: bytes,
    path: Path,
    spec: SchemeSpec,
    tolerance: Tolerance,
    recipe_hash: str = "",
) -> StepModel:
    """A step model, ready to be stepped, that is not written and has no metrics yet."""
    graph = read_graph(flatbuffer)
    contract = Contract(
        **border(graph, step),
        task=description.task,
        cell=description.cell,
        units=description.units,
        scheme=str(spec),
        frame_period_s=description.frame_period_s,
        frame_period_source=description.frame_period_source,
        channels=description.channels,
        input_units=description.input_units,
        output_meaning=description.output_meaning,
        normalization=description.normalization,
        metrics={},
        parameters=description.parameters,
        tolerance=tolerance,
        model_sha256=hashlib.sha256(flatbuffer).hexdigest(),
        recipe_hash=recipe_hash,
        versions={name: importlib.metadata.version(name) for name in VERSIONED},
        front_end=description.front_end,
    )
    contract.validate()
    check_contract(graph, contract)
    check_phases(phase_graphs(flatbuffer, graph, contract), contract)
    return StepModel(path, flatbuffer, 0, graph, contract, description.labels, description.golden)


def _tolerance(share: ToleranceShare, spread: float, classifies: bool) -> Tolerance:
    # Which of several values is the largest means nothing.
    agreement = share.argmax_agreement if classifies else 0.0
    return Tolerance(share.rms * spread, share.max_abs * spread, agreement)


def _held_to(least: Tolerance, measured: Verification, limit: Tolerance) -> Tolerance:
    """Twice the error on the exporting runtime, but between ``least`` and ``limit``."""
    disagreement = 2 * (1 - measured.argmax_agreement)
    return Tolerance(
        rms=min(limit.rms, max(least.rms, 2 * measured.rms)),
        max_abs=min(limit.max_abs, max(least.max_abs, 2 * measured.max_abs)),
        argmax_agreement=max(limit.argmax_agreement, min(least.argmax_agreement, 1 - disagreement)),
    )


def check_dtypes(graph: Graph, scheme: Scheme) -> None:
    """Assert that the graph has only the scheme's dtypes, and no conversion between dtypes."""
    if scheme.all_dtypes is None:
        return
    for tensor in graph.tensors:
        if tensor.dtype not in scheme.all_dtypes:
            raise ContractViolationError(
                f"tensor '{tensor.name}' is {tensor.dtype} in scheme {scheme.name}"
            )
    for operator in graph.operators:
        if operator.name in ("QUANTIZE", "DEQUANTIZE", "CAST"):
            raise ContractViolationError(f"{operator.name} in the {scheme.name} step graph")


def evaluate_step_model(stream: Stream, task: Task) -> dict[str, Any]:
    """The task's metric on the test data, stepped as on the device; by group too where the task
    has groups."""
    data, metric = task.test, task.score
    outputs = step_outputs(stream, data)
    metrics: dict[str, Any] = {metric.key: metric.rounded(metric.compute(outputs, data))}
    if task.group_name:
        by_group = {}
        for group in np.unique(data.groups):
            chosen = np.flatnonzero(data.groups == group)
            score = metric.compute(outputs[chosen], data.select(chosen))
            by_group[str(group)] = metric.rounded(score)
        metrics[f"{metric.key}_by_{task.group_name}"] = by_group
    return metrics


def step_outputs(stream: Stream, data: SequenceSet) -> np.ndarray:
    """Step every sequence from the initial state; the outputs of every step, float32
    [sequences, longest, outputs], zeros after a sequence's end."""
    outputs = None
    for index, sequence in enumerate(data.sequences):
        stream.reset()
        given = first_output(stream.run(sequence))
        if outputs is None:
            outputs = np.zeros((len(data), data.lengths.max(), given.shape[-1]), np.float32)
        outputs[index, : len(given)] = given
    stream.reset()
    if outputs is None:
        raise ContractViolationError("there is no data to step through; give a sequence or more")
    return outputs


def drift(stream: Stream, step: FloatStep, sequences: Sequence[Any]) -> dict[str, float]:
    """How far a quantized model is from the float one after a long stream of sequences without
    reset: errors of the outputs over the first and over the last tenth of DRIFT_STEPS steps, as
    shares of the float outputs' spread, and the share of equal decisions."""
    frames = long_streams(sequences, DRIFT_STEPS, DRIFT_SEED, streams=1)[0]
    if isinstance(frames, dict):
        frames = {name: values[:DRIFT_STEPS] for name, values in frames.items()}
    else:
        frames = frames[:DRIFT_STEPS]
    reference = _run_float(step, stream.model, frames)
    stream.reset()
    outputs = first_output(stream.run(frames))
    stream.reset()
    spread = float(reference.max() - reference.min()) or 1.0
    tenth = DRIFT_STEPS // 10
    rms, largest, agreement = compare(outputs, reference)
    return {
        "steps": DRIFT_STEPS,
        "rms": round(rms / spread, 5),
        "rms_first_tenth": round(compare(outputs[:tenth], reference[:tenth])[0] / spread, 5),
        "rms_last_tenth": round(compare(outputs[-tenth:], reference[-tenth:])[0] / spread, 5),
        "max_abs": round(largest / spread, 5),
        "argmax_agreement": round(agreement, 4),
    }


def first_output(outputs: StepValues) -> np.ndarray:
    """Of what a stream gives the first output, which is the task's."""
    return outputs[OUTPUT_NAME] if isinstance(outputs, dict) else outputs


def _run_float(step: FloatStep, quantized: StepModel, frames: Any) -> np.ndarray:
    """Outputs of the float step graph on ``frames`` without reset."""
    flatbuffer = with_phases(step.flatbuffer, step.periods)
    graph = read_graph(flatbuffer)
    contract = replace(quantized.contract, **border(graph, step))
    model = replace(quantized, flatbuffer=flatbuffer, graph=graph, contract=contract)
    with quiet():
        stream = Stream(model, "litert")
    return first_output(stream.run(frames))


def _golden(network: keras.Model, task: Task, outputs: Sequence[str]) -> Golden:
    """The first test sequences of different labels (or, where they have none, some from all over
    the test data), cut to a few dozen steps in all; ``outputs`` names what the network gives, in
    its order. Of long sequences there are fewer: at their beginnings alone, as before a word is
    spoken, there is nothing to decide on, and the decisions of a tie say nothing of a runtime.

    The inputs are rounded to float16 where it holds them, which halves their size in the file; the
    network computes the outputs from the rounded values, so the pairs are exact. Token ids stay as
    they are.
    """
    _, first = np.unique(task.test.labels, return_index=True)
    if len(first) < GOLDEN_SEQUENCES:
        first = np.unique(np.linspace(0, len(task.test) - 1, GOLDEN_SEQUENCES).astype(int))
    whole = GOLDEN_STEPS // int(np.median(task.test.lengths))
    count = min(max(1, whole), GOLDEN_SEQUENCES)
    # A single one is of a label in the middle: the first may be "silence", or "none of them".
    chosen = first[:count] if count > 1 else first[len(first) // 2 :][:1]
    sequences = []
    for index in chosen:
        sequences.append(golden_input(task.test.sequences[index][: GOLDEN_STEPS // count]))
    found: dict[str, list[np.ndarray]] = {name: [] for name in outputs}
    for sequence in sequences:
        results = network(sequence[np.newaxis], training=False)
        values = results if isinstance(results, list | tuple) else [results]
        for name, value in zip(outputs, values, strict=True):
            found[name].append(value.numpy()[0])
    return Golden(
        {INPUT_NAME: np.concatenate(sequences)},
        {name: np.concatenate(parts) for name, parts in found.items()},
        tuple(len(s) for s in sequences),
    )


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
