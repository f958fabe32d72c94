"""One time step of a network as a list of computations, whichever framework it comes from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import tensorflow as tf

from convert.errors import UnsupportedLayerError
from convert.layers.layer_rule import State, StepRule

# A place in the graph that holds a value: any key, such as the name of an ONNX value.
Place = Hashable


class Kind(Enum):
    """What a value of a network stands for.

    STEP is one step, SUMMARY a whole sequence up to its end. CONSTANT is an input that does not
    change over the sequence."""

    STEP = "step"
    SUMMARY = "summary"
    CONSTANT = "constant"


@dataclass(frozen=True)
class Timing:
    """When a value's elements come.

    Attributes:
        delay: the step, from 0, at which the first one comes.
        period: steps from one to the next.
    """

    delay: int = 0
    period: int = 1


@dataclass(frozen=True)
class Instruction:
    """One call of a layer.

    It reads the values at ``inputs`` and writes those at ``outputs``. ``states`` are the layer's,
    named as in the signature."""

    layer: str
    rule: StepRule
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    states: tuple[State, ...] = ()


@dataclass(frozen=True)
class StepInput:
    """An input of the step.

    Attributes:
        name: as in the signature.
        place: where the instructions read it.
        shape: [1, *frame shape]: one step's values with a batch axis.
        vocabulary: the number of token ids, if it takes them.
        kind: STEP or CONSTANT.
        id_axis: whether the network takes token ids as [batch, steps, 1], not [batch, steps].
    """

    name: str
    place: Place
    shape: tuple[int, ...]
    vocabulary: int | None = None
    kind: Kind = Kind.STEP
    id_axis: bool = False

    @property
    def spec(self) -> tf.TensorSpec:
        dtype = tf.float32 if self.vocabulary is None else tf.int32
        return tf.TensorSpec(self.shape, dtype, name=self.name)


@dataclass(frozen=True)
class CarriedState:
    """A state that the network itself takes as an input and gives as an output.

    Attributes:
        state: its name in the signature, shape and initial values.
        taken: where the instructions read it.
        given: where they leave the new one.
    """

    state: State
    taken: Place
    given: Place


@dataclass(frozen=True)
class StepGraph:
    """One time step of a network.

    Attributes:
        inputs: what the step takes, in order; states are not among them.
        instructions: the computations in order.
        outputs: names of the step's outputs and where their values are, in order.
        carried: states that are inputs and outputs of the network itself; those of layers are in
            the instructions.
        timings: when each output comes, by name, if not all come at each step.
        first_phase: the phase of the cycle that a sequence begins with.
        owner: keeps the trained variables that the instructions read, for tf.Module to track.
    """

    inputs: tuple[StepInput, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[tuple[str, Place], ...]
    carried: tuple[CarriedState, ...] = ()
    timings: Mapping[str, Timing] = field(default_factory=dict)
    first_phase: int = 0
    owner: Any = None

    @property
    def states(self) -> dict[str, State]:
        """States by name, in the order of the signature."""
        of_layers = [state for item in self.instructions for state in item.states]
        return {state.name: state for state in (*(one.state for one in self.carried), *of_layers)}

    def timing(self, output: str) -> Timing:
        """Return when an output comes."""
        return self.timings.get(output, Timing())

    def check_names(self) -> None:
        """Raise UnsupportedLayerError if two inputs, outputs or states have the same name."""
        names = [item.name for item in self.inputs] + [name for name, _ in self.outputs]
        names += [one.state.name for one in self.carried]
        names += [state.name for item in self.instructions for state in item.states]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UnsupportedLayerError(
                f"two inputs, outputs or states of the step are called '{twice}'; rename the layer"
            )

    def output_kinds(self) -> dict[str, Kind]:
        """Find what each output stands for, by its name.

        Raises:
            UnsupportedLayerError: a layer joins a step with what only the sequence's end tells, or
                begins with what changes.
        """
        kinds = {item.place: item.kind for item in self.inputs}
        kinds |= {one.taken: Kind.STEP for one in self.carried}
        for item in self.instructions:
            first = len(item.inputs) - item.rule.begins_with
            if any(kinds[place] is not Kind.CONSTANT for place in item.inputs[first:]):
                raise UnsupportedLayerError(
                    f"layer '{item.layer}' begins with another layer's state (initial_state) that "
                    "changes over the sequence; a step model begins with zeros, or with what does "
                    "not change: feed that layer's output as a further input of every step"
                )
            given = {kinds[place] for place in item.inputs[:first]}
            if {Kind.STEP, Kind.SUMMARY} <= given:
                raise UnsupportedLayerError(
                    f"layer '{item.layer}' joins a step with the summary of the whole sequence, "
                    "which is known at its end alone; set return_sequences=True in front of it"
                )
            kind = next((k for k in (Kind.SUMMARY, Kind.STEP) if k in given), Kind.CONSTANT)
            sums_up = item.rule.sums_up
            for number, place in enumerate(item.outputs):
                sums = sums_up[number] if isinstance(sums_up, tuple) else sums_up
                if sums and kind is not Kind.STEP:
                    raise UnsupportedLayerError(
                        f"layer '{item.layer}' runs over time, but its input has no steps left; "
                        "set return_sequences=True in front of it"
                    )
                kinds[place] = Kind.SUMMARY if sums else kind
        return {name: kinds[place] for name, place in self.outputs}
