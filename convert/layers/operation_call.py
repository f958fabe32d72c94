"""A computation of tensors outside of Keras' layers, in one form for tf_keras and for Keras 3.

``a + b``, ``x / 255`` and ``y[:, -1]`` are layers that nobody wrote: tf_keras keeps them as
TFOpLambda, Keras 3 as the classes of keras.ops.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.one_step import has_time

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Slot:
    """The place of a tensor among the arguments, by its number among the inputs."""

    number: int


@dataclass(frozen=True)
class OperationCall:
    """A call of an operation.

    Attributes:
        layer: its name in the model.
        function: the operation's name, "tf.math.abs" or "keras.ops Absolute".
        arguments: by name in the order of the function's own, tensors as Slots.
        shapes: of the tensors, with the axes of batch and time.
        outputs: shapes of what it gives, likewise.
    """

    layer: str
    function: str
    arguments: Mapping[str, Any]
    shapes: tuple[Shape, ...]
    outputs: tuple[Shape, ...]

    def operands(self, count: int) -> list[Any]:
        """Return the first arguments."""
        return list(self.arguments.values())[:count]

    def option(self, *names: str, default: Any = None) -> Any:
        """Return the argument with one of some names, as the frameworks call it differently."""
        found = (self.arguments[name] for name in names if name in self.arguments)
        return next((value for value in found if value is not None), default)

    def refused(self, why: str) -> UnsupportedLayerError:
        """Make the error for a call that cannot be stepped."""
        return UnsupportedLayerError(f"layer '{self.layer}' ({self.function}) {why}")


class TensorOperation(keras.layers.Layer):
    """Stands for an operation of Keras 3 in a network of tf_keras layers; it is never computed.

    Args:
        function: the class's name in keras.ops.
        arguments: as in an OperationCall.
        outputs: shapes of what it gives.
    """

    def __init__(
        self, name: str, function: str, arguments: Mapping[str, Any], outputs: Sequence[Shape]
    ) -> None:
        super().__init__(name=name)
        self.operation = function
        # In a tuple, as Keras would wrap a dict and the tuples in it.
        self.held = (lambda: arguments,)
        self.output_forms = tuple(outputs)

    def call(self, values: Any) -> Any:
        """Return tensors of the right shapes."""
        given = [
            tf.raw_ops.PlaceholderWithDefault(
                input=tf.zeros([1 if size is None else size for size in shape]), shape=shape
            )
            for shape in self.output_forms
        ]
        return given[0] if len(given) == 1 else given


def operation_call(layer: Any, node: Any) -> OperationCall:
    """Describe the call of a TFOpLambda, a SlicingOpLambda or a TensorOperation."""
    shapes = tuple(tuple(tensor.shape) for tensor in node.keras_inputs)
    outputs = tuple(tuple(tensor.shape) for tensor in tf.nest.flatten(node.outputs))
    if isinstance(layer, TensorOperation):
        name = f"keras.ops {layer.operation}"
        return OperationCall(layer.name, name, layer.held[0](), shapes, outputs)
    places = {id(tensor): number for number, tensor in reversed(list(enumerate(node.keras_inputs)))}

    def slot(tensor: Any) -> Slot | None:
        return Slot(places[id(tensor)]) if id(tensor) in places else None

    function = str(layer.get_config()["function"])
    arguments = named_arguments(layer.function, node.call_args, node.call_kwargs)
    held = with_slots(arguments, slot)
    return OperationCall(layer.name, f"tf.{function}", held, shapes, outputs)


def named_arguments(
    function: Callable[..., Any], given: Sequence[Any], named: Mapping[str, Any]
) -> dict[str, Any]:
    """Find which argument of a function each value is, in the function's order."""
    try:
        bound = inspect.signature(function).bind(*given, **named)
    except (TypeError, ValueError):
        return {f"argument {number}": value for number, value in enumerate(given)} | dict(named)
    found: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found |= value
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            found |= {f"{name} {number}": one for number, one in enumerate(value)}
        else:
            found[name] = value
    return found


def with_slots(value: Any, slot: Callable[[Any], Slot | None]) -> Any:
    """Replace the tensors within arguments, and what stands for slices in JSON."""
    if (found := slot(value)) is not None:
        return found
    if isinstance(value, Mapping):
        if set(value) == {"start", "stop", "step"}:
            return slice(*(value[key] for key in ("start", "stop", "step")))
        return {key: with_slots(item, slot) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_slots(item, slot) for item in value]
    return value


def step_axes(shape: Shape) -> tuple[int, ...]:
    """Return the axes of one step's value, without the batch."""
    return tuple(int(size or 0) for size in shape[2 if has_time(shape) else 1 :])


def with_axes(value: tf.Tensor, shape: Shape) -> tf.Tensor:
    """Give a step's value the axes of a tensor of this shape."""
    wanted = step_axes(shape)
    return value if tuple(value.shape[1:]) == wanted else tf.reshape(value, (-1, *wanted))
