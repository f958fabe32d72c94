"""Collect what the contract of an imported model says, from the model and from the user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tf_keras as keras

from calibration.data import Sequences
from convert.errors import ContractViolationError
from convert.importers.imported import ImportedModel
from convert.step.step_module import StepModule
from convert.step_model_facts import StepModelFacts
from device_runner.model.golden import Golden
from device_runner.model.names import INPUT_NAME
from device_runner.operators.multiply_adds import mean_multiply_adds
from models.layers import Recurrence
from models.network import count_parameters

RANDOM_WARNING = (
    "calibrated on random numbers, not on data: ranges and the golden sequences say nothing of "
    "real use; convert again with --data"
)
# What the outputs mean, by the activation of the layer that computes them.
MEANINGS = {"softmax": "probabilities", "sigmoid": "probabilities"}
VALUES = "values"


@dataclass(frozen=True)
class Facts:
    """Facts that the user gives, as the model file does not hold them.

    Attributes:
        labels: what each value of the first output stands for; () if unknown.
        frame_period_s: seconds between two frames; None if unknown.
    """

    labels: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    units: str = ""
    frame_period_s: float | None = None


def description_of(
    imported: ImportedModel,
    module: StepModule,
    facts: Facts,
    sequences: Sequences,
    golden: Golden,
    is_random: bool,
) -> StepModelFacts:
    """Describe an imported model for its contract.

    Args:
        sequences: the data that the drift is measured on.
        is_random: whether they are random numbers, which the file must warn about.

    Raises:
        ContractViolationError: the number of labels or channels is not the model's.
    """
    outputs, channels = golden.y.shape[-1], golden.x.shape[-1]
    meaning = _meaning(imported.network)
    cells = _recurrences(imported.network)
    for what, names, wanted in (
        ("labels", facts.labels, outputs),
        ("channels", facts.channels, channels),
    ):
        if names and len(names) != wanted:
            raise ContractViolationError(f"{len(names)} {what} are given, the model has {wanted}")
    if INPUT_NAME not in golden.inputs:
        raise ContractViolationError("the step has no input x")
    warnings = {"calibration_warning": RANDOM_WARNING} if is_random else {}
    changed = [*imported.changed, *module.changed]
    facts_of_import: dict[str, Any] = {
        "imported_from": imported.framework,
        **({"changed": changed} if changed else {}),
        **warnings,
    }
    return StepModelFacts(
        task=imported.name,
        cell="+".join(dict.fromkeys(kind for kind, _ in cells)) or "none",
        units=tuple(size for _, size in cells) or (outputs,),
        parameters=count_parameters(imported.network),
        labels=facts.labels or tuple(map(str, range(outputs))),
        channels=facts.channels
        or (("token",) if module.inputs[0].vocabulary else tuple(map(str, range(channels)))),
        input_units=facts.units,
        frame_period_s=facts.frame_period_s or 1.0,
        frame_period_source="given at conversion"
        if facts.frame_period_s
        else "not given; 1 s stands for it",
        output_meaning=meaning,
        normalization={},
        golden=golden,
        spread=float(np.ptp(golden.y)) or 1.0,
        classifies=meaning != "values" and outputs > 1,
        streams=sequences,
        evaluate=lambda stream: {
            **facts_of_import,
            "multiply_adds": mean_multiply_adds(stream.model),
        },
    )


def with_facts(description: StepModelFacts, facts: dict[str, Any]) -> StepModelFacts:
    """Add further facts to the step model's metrics."""
    return replace(description, evaluate=lambda stream: {**description.evaluate(stream), **facts})


def _meaning(network: keras.Model) -> str:
    """Say what the first output is: probabilities after a softmax or sigmoid, else values."""
    layer = getattr(getattr(network.outputs[0], "_keras_history", None), "layer", None)
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    if isinstance(layer, keras.layers.Softmax):
        activation = "softmax"
    return MEANINGS.get(activation, VALUES)


def _recurrences(network: keras.Model) -> list[tuple[str, int]]:
    """List the kind and width of each recurrent layer, lowest first."""
    found = []
    for layer in network._flatten_layers(include_self=False):
        if isinstance(layer, Recurrence):
            found.append((layer.cell_name, layer.cell.units))
        elif isinstance(layer, keras.layers.RNN):
            cells = getattr(layer.cell, "cells", [layer.cell])
            found += [(type(c).__name__.removesuffix("Cell").lower(), c.units) for c in cells]
    return found
