"""Step a model that can only compute its whole window: the state is the window's last frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import tensorflow as tf
from numpy.typing import NDArray

from convert.errors import UnsupportedLayerError
from convert.layers.layer_rule import LayerValues, State, StepRule, look_up
from convert.step.step_graph import Instruction, Kind, StepGraph, StepInput

# The state that holds a window's frames; with several inputs their names are appended.
FRAMES = "frames"
# How many recurrent steps a graph may hold. Each is some fifteen operators, and the converter's
# time grows faster than their number.
MOST_STEPS = 1024


class Unrolled(NamedTuple):
    """A model without a loop over time.

    Attributes:
        compute: inputs [1, steps, ...] -> outputs [1, ...].
        variables: the trained ones that it reads, for tf.Module to track.
    """

    compute: Callable[[list[tf.Tensor]], Sequence[tf.Tensor]]
    variables: Sequence[tf.Variable]


@dataclass(frozen=True)
class WholeModel:
    """A model that computes a whole window.

    Attributes:
        inputs: what one frame of each input is, in the model's order.
        outputs: names of what the model gives, in its order.
        recurrences: how many cells run over time, in either direction.
        unrolled: makes the model without a loop.
        tables: for inputs of token ids, the vectors [vocabulary, width] that are looked up by them,
            by the input's name. The window holds vectors, and so does what ``unrolled`` takes.
    """

    inputs: tuple[StepInput, ...]
    outputs: tuple[str, ...]
    recurrences: int
    unrolled: Callable[[], Unrolled]
    tables: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def whole_window_graph(model: WholeModel, steps: int) -> StepGraph:
    """Make the step that computes a model anew over its last frames.

    Its states hold the last ``steps`` frames, [1, steps, ...]; each step shifts them by one.

    Raises:
        UnsupportedLayerError: the graph would be too large, or an input is token ids.
    """
    _check_size(model, steps)
    in_time = [item for item in model.inputs if item.kind is Kind.STEP]
    tables = {name: tf.constant(table, tf.float32) for name, table in model.tables.items()}
    states = tuple(
        State(
            FRAMES if len(in_time) == 1 else f"{FRAMES}_{item.name}",
            (steps, *(tables[item.name].shape if item.name in tables else item.shape)[1:]),
        )
        for item in in_time
    )
    compute, variables = model.unrolled()

    def step(values: LayerValues, held: LayerValues) -> tuple[LayerValues, LayerValues]:
        frames = iter(held)
        given: list[Any] = []
        new = []
        for item, value in zip(model.inputs, values, strict=True):
            if item.name in tables:
                value = look_up(tables[item.name], value)
                if item.kind is not Kind.STEP:
                    value = value[:, tf.newaxis]
            if item.kind is Kind.STEP:
                value = tf.concat([next(frames)[:, 1:], value[:, tf.newaxis]], 1)
                new.append(value)
            given.append(value)
        return tuple(compute(given)), tuple(new)

    places = tuple((FRAMES, name) for name in model.outputs)
    rule = StepRule(step, states, sums_up=True)
    call = Instruction("window", rule, tuple(item.place for item in model.inputs), places, states)
    outputs = tuple(zip(model.outputs, places, strict=True))
    return StepGraph(model.inputs, (call,), outputs, owner=list(variables))


def _check_size(model: WholeModel, steps: int) -> None:
    unrolled = steps * model.recurrences
    if unrolled > MOST_STEPS:
        raise UnsupportedLayerError(
            f"computed anew over {steps} steps it would hold {unrolled:,} recurrent steps, "
            f"{MOST_STEPS:,} at most; use a shorter window, or train without the layers that need "
            "the whole window"
        )
    tokens = [
        item.name
        for item in model.inputs
        if item.vocabulary is not None and item.name not in model.tables
    ]
    if tokens:
        raise UnsupportedLayerError(
            f"input '{tokens[0]}' takes token ids, of which no window is kept unless one Embedding "
            "without mask_zero reads them; put it in front of the model, and feed the model its "
            "vectors"
        )
