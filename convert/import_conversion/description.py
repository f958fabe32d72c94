"""Collect what the contract of an imported model says, from the model and from the user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calibration.data import Sequences
from convert.errors import ContractViolationError
from convert.importers.imported import VALUES, ImportedModel
from convert.step.step_module import StepModule
from convert.step_model_facts import StepModelFacts
from device_runner.model.golden import Golden
from device_runner.operators.multiply_adds import mean_multiply_adds

RANDOM_WARNING = (
    "calibrated on random numbers, not on data: ranges and the golden sequences say nothing of "
    "real use; convert again with --data"
)


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
    meaning, cells = imported.output_meaning, imported.cells
    for what, names, wanted in (
        ("labels", facts.labels, outputs),
        ("channels", facts.channels, channels),
    ):
        if names and len(names) != wanted:
            raise ContractViolationError(f"{len(names)} {what} are given, the model has {wanted}")
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
        parameters=imported.parameters,
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
        # Of a window's golden outputs only the answers are numbers.
        spread=float(np.nanmax(golden.y) - np.nanmin(golden.y)) or 1.0,
        classifies=meaning != VALUES and outputs > 1,
        streams=sequences,
        evaluate=lambda stream: {
            **facts_of_import,
            "multiply_adds": mean_multiply_adds(stream.model),
        },
    )


def with_facts(description: StepModelFacts, facts: dict[str, Any]) -> StepModelFacts:
    """Add further facts to the step model's metrics."""
    return replace(description, evaluate=lambda stream: {**description.evaluate(stream), **facts})
