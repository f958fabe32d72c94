"""What is known of a value while a graph is traced, and what an operator's rule says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convert.errors import UnsupportedLayerError
from convert.importers.onnx.network import Node
from convert.layers.layer_rule import LayerValues, State
from convert.step.step_graph import Kind


class Frames(NamedTuple):
    """How a value's frames lie along time.

    It has ``left`` frames more at the start than the sequence, and ``right`` more at the end;
    negative where it has fewer. ``front`` of them were put in front of the first one that comes
    from the sequence; ``zeros`` tells whether those are 0. From one frame to the next are
    ``period`` steps of the sequence; all three count those."""

    left: int = 0
    right: int = 0
    zeros: bool = True
    period: int = 1
    front: int = 0

    @property
    def delay(self) -> int:
        """The step at which the first frame comes that was not put in front."""
        return self.front - self.left

    @property
    def place(self) -> tuple[int, int, int, int]:
        """What two values must share to be joined step by step."""
        return self.left, self.right, self.period, self.front

    def cut_off(self, count: int) -> Frames:
        """Leave out frames at the start."""
        gone = count * self.period
        return self._replace(left=self.left - gone, front=max(self.front - gone, 0))

    def count(self, steps: int) -> int:
        """Return how many frames there are in a sequence of ``steps``."""
        return max((steps - 1 + self.left + self.right) // self.period + 1, 0)


# Exactly those of the sequence.
ALL_FRAMES = Frames()


@dataclass(frozen=True)
class Value:
    """A value of the graph.

    Attributes:
        name: where it is found.
        shape: its shape in one step: the axis of time has size 1.
        dtype: as in the ONNX graph.
        axis: the axis of time; None if it has none.
        constant: its values, if no input changes them; of a whole sequence, if time has a part in
            it.
        kind: what it stands for.
        frames: how its frames lie along time.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axis: int | None = None
    constant: NDArray[Any] | None = None
    kind: Kind = Kind.STEP
    frames: Frames = ALL_FRAMES

    def full_shape(self, steps: int) -> tuple[int, ...]:
        """Return its shape over a whole sequence of ``steps``."""
        length = self.frames.count(steps)
        return tuple(length if axis == self.axis else n for axis, n in enumerate(self.shape))


# (operands, states) -> (outputs, new states).
Compute = Callable[[tuple[Any, ...], LayerValues], tuple[Sequence[Any], LayerValues]]


@dataclass(frozen=True)
class Plan:
    """How one call of an operator is computed in a step.

    Attributes:
        compute: takes all operands in the node's order (None where one is left out).
        axes: the axis of time of each output.
        frames: how the outputs' frames lie along time.
        states: what the step keeps.
        sums_up: whether an output stands for the whole sequence so far; one entry per output if
            they differ.
        operands: constants to use instead of the node's own, by position.
        takes_deferred: whether ``compute`` takes values that are joined later
            (:class:`convert.layers.layer_rule.Joined`).
        float_only: why it cannot be computed in integers, and what to do; "" if it can.
        rowwise: whether ``compute`` takes an axis of rows in front (:func:`.rows.with_rows`).
        cell: kind and units, if it is a recurrence.
        bounds: largest magnitudes of the outputs that the equations allow, where they are known.
        begins_anew: whether its states must have their initial values at its input's first frame.
        target: for a change of shape that time passes through, the new shape of a whole sequence of
            any length.
    """

    compute: Compute
    axes: tuple[int | None, ...]
    frames: Frames = ALL_FRAMES
    states: tuple[State, ...] = ()
    sums_up: bool | tuple[bool, ...] = False
    operands: dict[int, NDArray[Any]] = field(default_factory=dict)
    takes_deferred: bool = False
    float_only: str = ""
    rowwise: bool = False
    cell: tuple[str, int] | None = None
    bounds: tuple[float | None, ...] = ()
    begins_anew: bool = True
    target: tuple[int, ...] | None = None


class Known(NamedTuple):
    """What an operator gives if that does not depend on the inputs' values."""

    arrays: tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Call:
    """A node with what is known of its inputs.

    Attributes:
        values: its inputs; None where one is left out.
        steps: length of the sequences that constants with an axis of time are for.
        opset: version of the standard's operators.
    """

    node: Node
    values: tuple[Value | None, ...]
    steps: int
    opset: int

    def refusal(self, reason: str) -> UnsupportedLayerError:
        """Make the error that says why the node has no step."""
        return UnsupportedLayerError(f"{self.node.described} {reason}")

    def value(self, position: int = 0) -> Value:
        """Return an input that must be there."""
        value = self.optional(position)
        if value is None:
            raise self.refusal(f"lacks its input {position}; export the network again")
        return value

    def optional(self, position: int) -> Value | None:
        """Return an input, or None if it is left out."""
        return self.values[position] if position < len(self.values) else None

    def constant(self, position: int, default: Any = None) -> NDArray[Any]:
        """Return the values of an input that must not depend on the network's inputs."""
        value = self.optional(position)
        if value is None and default is not None:
            return np.asarray(default)
        value = self.value(position)
        if value.constant is None:
            raise self.refusal(
                "takes a size, an axis or a weight that depends on the network's inputs; give it "
                "with --bind INPUT=VALUE if it is an input that stays the same"
            )
        return value.constant

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.node.attributes.get(name, default)

    def integers(self, name: str, position: int) -> list[int] | None:
        """Return numbers that are an attribute in old opsets and an input in new ones."""
        given = self.attribute(name)
        if given is None and self.optional(position) is not None:
            given = self.constant(position).ravel().tolist()
        if given is None:
            return None
        return [int(item) for item in (given if isinstance(given, list) else [given])]

    def axis_of(self, axis: int, rank: int | None = None) -> int:
        """Return an axis counted from the front."""
        rank = len(self.value().shape) if rank is None else rank
        if not -rank <= axis < max(rank, 1):
            raise self.refusal(f"names axis {axis} of a value with {rank} axes")
        return axis % rank if rank else 0

    def varying(self) -> list[tuple[int, Value]]:
        """List the inputs that depend on the network's, with their positions."""
        return [
            (position, value)
            for position, value in enumerate(self.values)
            if value is not None and value.constant is None
        ]

    def at_frames(self, value: Value) -> Value:
        """Return a value that has the frames of the sequence, perhaps from a later one on.

        Raises:
            UnsupportedLayerError: it begins earlier or ends elsewhere.
        """
        right, front = value.frames.right, value.frames.front
        if right > 0:
            raise self.refusal(
                f"needs {right} step{'s' * (right > 1)} of the future, which a stream does not "
                "have; pad the convolution before it at the start alone, or cut its end off"
            )
        if front or right:
            raise self.refusal(
                f"takes a sequence that {'begins' if front else 'ends'} {abs(front or right)} "
                "steps early; pad the convolution before it with (size - 1) * dilation zeros at "
                "the start, or cut off what is too much there"
            )
        return value


def stateless(function: Callable[..., Any], axis: int | None, **facts: Any) -> Plan:
    """Make the plan of an operator with one output that needs only the current step."""
    return Plan(lambda operands, _: ((function(*operands),), ()), (axis,), **facts)


def front(x: Any, rank: int) -> tuple[int, ...]:
    """Return the sizes of the axes that a value has in front of its own: its rows, if it has any.

    Args:
        rank: number of its axes in one sequence.
    """
    return tuple(int(size) for size in x.shape[: len(x.shape) - rank])


def moved(value: Value, name: str) -> Value:
    """Return a value under another name."""
    return replace(value, name=name)
