"""Export a trained network as a step model file that carries its contract and its own proof."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from calibration.ranges import Ranges
from convert.errors import ContractViolationError
from convert.evaluation import drift
from convert.model_metrics import Drift
from convert.recording import record_run
from convert.schemes import apply_scheme, load_scheme, parse_scheme, parts_in_float
from convert.schemes.scheme import FloatStep
from convert.schemes.spec import SchemeSpec
from convert.step.contract_fields import contract_fields
from convert.step.keras_graph import keras_step_graph
from convert.step.phase_signatures import with_phases
from convert.step.step_module import StepModule, to_float_graph
from convert.step_model_facts import StepModelFacts, facts_of_task
from convert.tolerance import float_step_of, held_to, on_grid, tolerance_of
from device_runner.atomic_write import write_atomically
from device_runner.errors import VerificationError
from device_runner.model.contract import Contract, Tolerance
from device_runner.model.flatbuffer import read_graph
from device_runner.model.graph_checks import check_contract, check_phases, phase_graphs
from device_runner.model.step_file import StepModel, pack
from device_runner.model.window import Window
from device_runner.stream import Stream
from device_runner.verify import Verification, verify
from models.item_scores import ItemScores
from models.network import Architecture
from models.tasks.task import Task
from models.tensorflow_log import quiet

# The contract records the versions of these packages.
VERSIONED = ("edgestep", "tensorflow", "tf_keras", "litert-quantizer", "ai-edge-litert")


def float_step(network: keras.Model, fold_embedding: bool | None = None) -> FloatStep:
    """Lower a network to its float32 step graph (see convert.step.step_module.StepModule)."""
    return step_of(StepModule(keras_step_graph(network), fold_embedding, named=False))


def step_of(
    module: StepModule, window: Window | None = None, one_row: bytes | None = None
) -> FloatStep:
    """Convert a step module to its float32 step graph; ``window`` and ``one_row`` as there."""
    return FloatStep(
        to_float_graph(module),
        module.state_bounds,
        initial=module.initial,
        vocabularies=module.vocabularies,
        layers=module.layers if module.named else (),
        float_states=module.float_states,
        inputs=tuple(item.name for item in module.inputs),
        outputs=module.outputs,
        periods=module.periods,
        window=window,
        one_row=one_row,
        first_phase=module.first_phase,
    )


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
    keep: Callable[[ItemScores], None] | None = None,
) -> StepModel:
    """Write a step model file and prove it on the spot.

    Before the file is written, the result is stepped on LiteRT through the golden sequences
    and the whole validation and test sets. The contract records these metrics, and the drift
    from the float model over a long stream of validation data.

    Args:
        network: the float network, [batch, steps, inputs] -> [batch, steps, outputs]; it computes
            the golden outputs.
        step: the network's float step graph; made here if None.
        scheme: a parsed scheme, or its name.
        ranges: ranges calibrated on ``step``; integer schemes need them.
        training_facts: further metrics for the contract.
        keep: called with the score of each test sequence (models.item_scores).

    Raises:
        UnknownSchemeError, SchemeWordsError: there is no such scheme.
        ContractViolationError: the graph does not keep the step contract.
        VerificationError: the converted model does not compute what the network does.
    """
    step = step or float_step(network)
    facts = facts_of_task(network, architecture, task, step, training_facts or {}, keep)
    return export_step(step, facts, scheme, path, ranges, recipe_hash)


def export_step(
    step: FloatStep,
    facts: StepModelFacts,
    scheme: str | SchemeSpec,
    path: Path,
    ranges: Ranges | None = None,
    recipe_hash: str = "",
) -> StepModel:
    """Export a step graph that belongs to none of our tasks; see :func:`export`."""
    spec = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    if spec.qat and step.limits is None:
        raise ContractViolationError(f"{spec} needs a step graph that was trained for it")
    scheme_graph = apply_scheme(spec, step, ranges)
    wanted = load_scheme(spec.base)
    parts = parts_in_float(spec, step)
    wanted.check_dtypes(read_graph(scheme_graph), mixed=bool(parts.operators))
    flatbuffer = with_phases(scheme_graph, step.periods)
    spread, classifies = facts.spread, facts.classifies
    draft = draft_model(
        step, facts, flatbuffer, path, spec,
        tolerance_of(wanted.limit, spread, classifies), recipe_hash,
    )  # fmt: skip
    grid = draft.contract.output.scale or float_step_of(float(np.nanmax(np.abs(facts.golden.y))))
    limit = on_grid(draft.contract.tolerance, grid)
    draft = replace(draft, contract=replace(draft.contract, tolerance=limit))
    with quiet():
        stream = Stream(draft, "litert")
    verification = verify(stream)
    strayed = None if scheme_graph == step.flatbuffer else drift(stream, step, facts.streams)
    if verification.failure:
        if not (strayed and _close_call(verification, strayed, limit)):
            raise _refused(path, spec, verification)
        limit = replace(limit, argmax_agreement=0.0)
    metrics = facts.evaluate(stream)
    if parts.reasons:
        metrics["mixed"] = dict(parts.reasons)
    if strayed:
        metrics["drift"] = strayed.to_json()
    least = on_grid(tolerance_of(wanted.tolerance, spread, classifies), grid)
    tolerance = held_to(least, verification, limit)
    contract = replace(draft.contract, metrics=metrics, tolerance=tolerance)
    recorded = record_run(stream)
    packed = pack(flatbuffer, contract, facts.labels, facts.golden, recorded)
    write_atomically(path, packed)
    return replace(draft, contract=contract, file_bytes=len(packed), recorded=recorded)


def _close_call(found: Verification, strayed: Drift, limit: Tolerance) -> bool:
    """Tell whether nothing but the decisions of the golden steps are amiss, and only there.

    They are few, and in one sequence the same two classes may be close all along: what tells
    whether a scheme decides as the float model does is a long stream.
    """
    others = replace(found, argmax_agreement=1.0)
    return not others.failure and strayed.argmax_agreement >= limit.argmax_agreement


def _refused(path: Path, spec: SchemeSpec, found: Verification) -> VerificationError:
    """What to say of a file that fails where it is made: there the scheme is at fault."""
    if spec.base == "float32":
        return found.error(path)
    return VerificationError(
        f"{path.name}: {found.failure}; {spec} is too coarse for this network. Take int16x8 or "
        "float32, train it further in int8 (qat), or bring the input's values to one size: they "
        "share a scale"
    )


def draft_model(
    step: FloatStep,
    facts: StepModelFacts,
    flatbuffer: bytes,
    path: Path,
    spec: SchemeSpec,
    tolerance: Tolerance,
    recipe_hash: str = "",
) -> StepModel:
    """Make a step model that can be stepped but has no metrics and no file yet."""
    graph = read_graph(flatbuffer)
    contract = Contract(
        **contract_fields(graph, step),
        first_phase=step.first_phase,
        task=facts.task,
        cell=facts.cell,
        units=facts.units,
        scheme=str(spec),
        frame_period_s=facts.frame_period_s,
        frame_period_source=facts.frame_period_source,
        channels=facts.channels,
        input_units=facts.input_units,
        output_meaning=facts.output_meaning,
        normalization=facts.normalization,
        metrics={},
        parameters=facts.parameters,
        tolerance=tolerance,
        model_sha256=hashlib.sha256(flatbuffer).hexdigest(),
        recipe_hash=recipe_hash,
        versions={name: importlib.metadata.version(name) for name in VERSIONED},
        front_end=facts.front_end,
        window=step.window,
    )
    contract.validate()
    check_contract(graph, contract)
    check_phases(phase_graphs(flatbuffer, graph, contract), contract)
    return StepModel(path, flatbuffer, 0, graph, contract, facts.labels, facts.golden)
