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
from device_runner.model.window import Window
from models.tensorflow_log import quiet

GOLDEN_SEQUENCES, GOLDEN_STEPS = 3, 16
# About how many golden frames a model with a window has, unless its window is longer.
GOLDEN_FRAMES = 96
# How many windows the original computes in one batch.
WINDOW_BATCH = 64

# By input or output name, each [steps, values].
ByName = dict[str, NDArray[Any]]


def original_outputs(imported: ImportedModel, module: StepModule, sequence: ByName) -> ByName:
    """Return the original's outputs after every step of a sequence, [steps, *output shape] by name.

    If the original gives one result per sequence, it is asked for each of its beginnings. Between
    two answers the last one holds. Before its first answer the original gives nothing; the step's
    own outputs stand there.
    """
    steps = len(sequence[module.inputs[0].name])

    def run(length: int) -> list[NDArray[Any]]:
        return run_original(
            imported, module, [{name: values[:length] for name, values in sequence.items()}]
        )

    timings = [module.graph.timing(name) for name in module.outputs]
    delay = max(timing.delay for timing in timings)
    found: ByName = {}
    if delay:
        found = module.run({name: values[:delay] for name, values in sequence.items()})
    if steps <= delay:
        return found
    kinds = [module.output_kinds[name] for name in module.outputs]
    asked = {steps: run(steps)}
    if Kind.SUMMARY in kinds:
        asked |= {length: run(length) for length in range(delay + 1, steps)}
    for place, (name, kind, timing) in enumerate(zip(module.outputs, kinds, timings, strict=True)):
        rows = []
        for step in range(delay, steps):
            if kind is Kind.STEP:
                rows.append(asked[steps][place][0][(step - timing.delay) // timing.period])
            else:
                length = step + 1 if kind is Kind.SUMMARY else steps
                rows.append(asked[length][place][0])
        found[name] = np.concatenate([found.get(name, np.array(rows)[:0]), np.array(rows)])
    return found


def outputs_of_original(
    imported: ImportedModel, module: StepModule, sequence: ByName, window: Window | None
) -> ByName:
    """Return what the stream must give, asked window by window if there is a window."""
    if window is None:
        return original_outputs(imported, module, sequence)
    return windowed_outputs(imported, module, window, sequence)


def steps_to_compare(module: StepModule) -> int:
    """Return how many steps of a sequence hold several answers of every output."""
    timings = [module.graph.timing(name) for name in module.outputs]
    return GOLDEN_STEPS + max(timing.delay + 4 * (timing.period - 1) for timing in timings)


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


def window_answers(
    imported: ImportedModel, module: StepModule, windows: Sequence[ByName]
) -> ByName:
    """Ask the original for windows of equal length.

    Returns:
        Its answer at the end of each window, [windows, *output shape] by output.
    """
    batches = [
        run_original(imported, module, windows[start : start + WINDOW_BATCH])
        for start in range(0, len(windows), WINDOW_BATCH)
    ]
    found = {}
    for position, name in enumerate(module.outputs):
        values = np.concatenate([batch[position] for batch in batches])
        found[name] = values[:, -1] if module.output_kinds[name] is Kind.STEP else values
    return found


def windowed_outputs(
    imported: ImportedModel, module: StepModule, window: Window, sequence: ByName
) -> ByName:
    """Ask the original for the window at each frame of a sequence that has an answer.

    Returns:
        [steps, *output shape] by output, NaN at the other frames.
    """
    steps = len(sequence[module.inputs[0].name])
    ends = window.answered_frames(steps)
    windows = [
        {name: values[end + 1 - window.steps : end + 1] for name, values in sequence.items()}
        for end in ends
    ]
    outputs = {}
    for name, answers in window_answers(imported, module, windows).items():
        outputs[name] = np.full((steps, *answers.shape[1:]), np.nan, np.float32)
        outputs[name][list(ends)] = answers
    return outputs


def window_sequences(module: StepModule, sequences: Sequences, window: Window) -> Sequences:
    """Choose frames for a few golden sequences, each long enough for several answers.

    Sequences that are too short, such as single windows, are chained. Inputs that do not change
    over a sequence keep the values of the first.
    """
    answers = max(3, min(8, 1 + GOLDEN_FRAMES // window.hop))
    length = window.steps + (answers - 1) * window.hop
    count = max(1, min(GOLDEN_SEQUENCES, GOLDEN_FRAMES // length))
    places = np.unique(np.linspace(0, len(sequences) - 1, count).astype(int))
    chosen = [chained_from(sequences, int(place), length) for place in places]
    for item in module.inputs:
        if item.kind is Kind.CONSTANT:
            for one in chosen:
                one[item.name] = np.repeat(one[item.name][:1], length, 0)
    return chosen


def chained_from(sequences: Sequences, place: int, length: int) -> ByName:
    """Return ``length`` frames that begin with a sequence, followed by those after it."""
    pieces: list[ByName] = []
    frames = 0
    while frames < length:
        piece = sequences[place % len(sequences)]
        pieces.append(piece)
        frames += len(next(iter(piece.values())))
        place += 1
    return {name: np.concatenate([piece[name] for piece in pieces])[:length] for name in pieces[0]}


def golden_of(
    imported: ImportedModel,
    module: StepModule,
    sequences: Sequences,
    window: Window | None = None,
) -> Golden:
    """Take the beginnings of some sequences from all over the data.

    Real inputs are rounded to float16 where it can hold them.
    """
    if window is None:
        steps = steps_to_compare(module)
        places = np.unique(np.linspace(0, len(sequences) - 1, GOLDEN_SEQUENCES).astype(int))
        found = [
            {name: values[:steps] for name, values in sequences[index].items()} for index in places
        ]
    else:
        found = window_sequences(module, sequences, window)
    chosen = [{name: golden_input(values) for name, values in one.items()} for one in found]
    outputs = [outputs_of_original(imported, module, item, window) for item in chosen]
    return Golden(
        {item.name: np.concatenate([one[item.name] for one in chosen]) for item in module.inputs},
        {
            name: np.concatenate([one[name] for one in outputs]).astype(np.float32)
            for name in module.outputs
        },
        tuple(len(one[module.inputs[0].name]) for one in chosen),
    )
