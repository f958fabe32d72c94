"""The step rule of TimeDistributed: what is within, a layer or a whole network, sees one frame."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.frame import frame_shape
from convert.layers.layer_rule import StepRule, described, plain, stateless
from convert.layers.one_step import has_time


def time_distributed(layer: keras.layers.TimeDistributed, node: Any) -> StepRule:
    """Step the layer or network within, which sees one step at a time anyway.

    Over the rows of one frame or of a summary, it is computed for all rows at once."""
    shape = tuple(node.input_shapes)
    frame = frame_shape(shape, layer)
    if has_time(shape):
        return rule_within(layer, layer.layer, (shape[0], *frame))
    rule = rule_within(layer, layer.layer, (shape[0], *frame[1:]))

    def step(value: Any) -> tf.Tensor:
        (given,), _ = rule.step((tf.reshape(plain(value), (-1, *frame[1:])),), ())
        given = plain(given)
        return tf.reshape(given, (-1, frame[0], *given.shape[1:]))

    return stateless(step, float_only=rule.float_only, changed=rule.changed)


def rule_within(wrapper: Any, inner: Any, shape: tuple[Any, ...]) -> StepRule:
    """Find the rule of a layer within a wrapper, for frames of a shape (batch, *frame).

    Raises:
        UnsupportedLayerError: it has none, or needs more than the frame.
    """
    from convert.layers import step_rule

    if isinstance(inner, keras.Model):
        return network_within(wrapper, inner)
    rule = step_rule(inner, InnerNode(shape, inner))
    if rule.states or rule.sums_up is True:
        raise UnsupportedLayerError(
            f"{described(wrapper)} runs the layer '{inner.name}' ({type(inner).__name__}) anew at "
            "every step; only layers without a time axis can be stepped within it"
        )
    return rule


def network_within(wrapper: Any, network: keras.Model) -> StepRule:
    """Make one rule of all layers of a network that sees one frame."""
    from convert.step.keras_graph import flattened

    for tensor in network.inputs:
        if None in tensor.shape[1:]:
            raise UnsupportedLayerError(
                f"{described(wrapper)} holds the model '{network.name}', whose input has the shape "
                f"{tuple(tensor.shape)}; give it a size for each axis of a frame"
            )
    instructions = list(flattened(network, {}, ()))
    for item in instructions:
        if item.rule.states or item.rule.sums_up is True:
            raise UnsupportedLayerError(
                f"{described(wrapper)} runs the layer '{item.layer}' of the model "
                f"'{network.name}' anew at every step; only layers without a time axis can be "
                "stepped within it"
            )

    def step(*inputs: Any) -> Any:
        places = (((), id(tensor)) for tensor in network.inputs)
        values: dict[Any, Any] = dict(zip(places, inputs, strict=True))
        for item in instructions:
            given = tuple(values[place] for place in item.inputs)
            if not item.rule.takes_deferred:
                given = tuple(plain(value) for value in given)
            results, _ = item.rule.step(given, ())
            values.update(zip(item.outputs, results, strict=True))
        (output,) = network.outputs
        return values[((), id(output))]

    if len(network.outputs) != 1:
        raise UnsupportedLayerError(
            f"{described(wrapper)} holds the model '{network.name}' with {len(network.outputs)} "
            "outputs; one can be stepped"
        )
    reasons = [item.rule.float_only for item in instructions if item.rule.float_only]
    return stateless(step, takes_deferred=True, float_only=reasons[0] if reasons else "")


class InnerNode:
    """What rules need of a node, for a layer that is within another.

    Attributes:
        input_shapes: (batch, *frame).
    """

    def __init__(self, shape: tuple[Any, ...], layer: Any) -> None:
        self.input_shapes = shape
        self.keras_inputs: list[Any] = [None]
        self.call_kwargs: dict[str, Any] = {}
        self._layer = layer

    @property
    def output_shapes(self) -> tuple[Any, ...]:
        return tuple(self._layer.compute_output_shape(self.input_shapes))
