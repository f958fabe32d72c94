"""One time step of layers that compute a step from that step alone."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf
import tf_keras as keras

from convert.layers.rule import Scaled, StepRule, stateless
from models.network import Normalization, TokenEmbedding


def same(layer: keras.layers.Layer, node: Any) -> StepRule:
    """A layer that works on the last axis alone and so computes a step as it does a sequence."""
    return stateless(layer)


def removed(layer: keras.layers.Layer, node: Any) -> StepRule:
    """A layer that does nothing when a trained network is used."""
    return stateless(lambda value: value, takes_scaled=True)


def normalization(layer: Normalization, node: Any) -> StepRule:
    """Our normalization of the inputs, left to the layer behind it where that can fold it in."""
    return stateless(lambda value: Scaled(value, layer.scale, layer.shift))


def token_embedding(layer: TokenEmbedding, node: Any) -> StepRule:
    """Token ids [1, 1] -> [1, width]."""
    return stateless(lambda ids: tf.gather(layer.table, tf.reshape(ids, (1,))))


def add(layer: keras.layers.Layer, node: Any) -> StepRule:
    """The sum of two or more layers."""
    return stateless(lambda *values: functools.reduce(tf.add, values))
