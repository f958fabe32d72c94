"""Compute an imported model's outputs in its own framework, to compare a step with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.data import Sequences
from convert.importers.imported import ImportedModel
from convert.step.step_graph import Kind
from convert.step.step_module import StepModule
from device_runner.model.golden import Golden, golden_input
from models.tensorflow_log import quiet

GOLDEN_SEQUENCES, GOLDEN_STEPS = 3, 16

# By input or output name, each [steps, values].
ByName = dict[str, NDArray[Any]]


def original_outputs(imported: ImportedModel, module: StepModule, sequence: ByName) -> ByName:
    """Return the original's outputs after every step of a sequence, [steps, outputs] by name.

    If the original gives one result per sequence, it is asked for each of its beginnings.
    """
    steps = len(sequence[module.inputs[0].name])

    def run(length: int) -> list[NDArray[Any]]:
        return run_original(
            imported, module, [{name: values[:length] for name, values in sequence.items()}]
        )

    kinds = [module.output_kinds[name] for name in module.outputs]
    whole = run(steps)
    found = {
        name: value[0] if kind is Kind.STEP else np.repeat(value, steps, 0)
        for name, kind, value in zip(module.outputs, kinds, whole, strict=True)
    }
    if Kind.SUMMARY in kinds:
        for length in range(1, steps):
            for name, kind, value in zip(module.outputs, kinds, run(length), strict=True):
                if kind is Kind.SUMMARY:
                    found[name][length - 1] = value[0]
    return found


def run_original(
    imported: ImportedModel, module: StepModule, sequences: Sequence[ByName]
) -> list[NDArray[Any]]:
    """Compute sequences of equal length in one batch.

    Returns:
        The outputs in the network's order, each [sequences, steps, values], or
        [sequences, values] if the model gives one result per sequence.
    """
    inputs = []
    for item in module.inputs:
        values = np.stack([sequence[item.name] for sequence in sequences])
        if item.kind is Kind.CONSTANT:
            values = values[:, 0]
        elif item.vocabulary is not None and not item.id_axis:
            values = values[..., 0]
        inputs.append(values)
    with quiet():
        return imported.reference(inputs)


def golden_of(imported: ImportedModel, module: StepModule, sequences: Sequences) -> Golden:
    """Take the beginnings of some sequences from all over the data.

    Real inputs are rounded to float16 where it can hold them.
    """
    places = np.unique(np.linspace(0, len(sequences) - 1, GOLDEN_SEQUENCES).astype(int))
    chosen = []
    for index in places:
        chosen.append(
            {name: golden_input(values[:GOLDEN_STEPS]) for name, values in sequences[index].items()}
        )
    outputs = [original_outputs(imported, module, item) for item in chosen]
    return Golden(
        {item.name: np.concatenate([one[item.name] for one in chosen]) for item in module.inputs},
        {
            name: np.concatenate([one[name] for one in outputs]).astype(np.float32)
            for name in module.outputs
        },
        tuple(len(one[module.inputs[0].name]) for one in chosen),
    )
