"""A causal self-attention network, as a teacher for recurrent ones.

After every step it has looked back at all frames so far, while a recurrent network must carry in
its state what it needs of them. So it cannot run step by step at a constant cost: it is trained and
it teaches (:mod:`models.compress.distillation`), but it is neither exported nor put on a device.

Sources: A. Vaswani et al., "Attention is all you need" (2017), its decoder without the attention to
an encoder; layer normalization in front of each sublayer: R. Xiong et al., "On layer normalization
in the transformer architecture" (ICML 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from models.errors import ModelsError
from models.layers import Normalization, SensorNoise

# Of the feed-forward layers, in widths of the network (Vaswani et al.: 2048 to 512).
FEED_FORWARD_FACTOR = 4
# The longest wavelength of the positions is this times 2 pi steps (Vaswani et al.).
LONGEST_WAVELENGTH = 10_000.0


@keras.utils.register_keras_serializable(package="edgestep")
class SinusoidalPositions(keras.layers.Layer):
    """Adds to every step where it stands: [batch, steps, width] -> the same shape.

    The first half of the channels gets sines and the second one cosines of the step's number, in
    wavelengths from 2 pi to nearly 10000 * 2 pi steps (Vaswani et al. interleave the two). Nothing
    is learned, so sequences may be longer than those of the training.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        half = inputs.shape[-1] // 2
        frequencies = LONGEST_WAVELENGTH ** (-np.arange(half, dtype=np.float32) / half)
        steps = tf.range(tf.shape(inputs)[1], dtype=inputs.dtype)
        angles = steps[:, tf.newaxis] * frequencies
        return inputs + tf.concat([tf.sin(angles), tf.cos(angles)], -1)


@dataclass(frozen=True)
class AttentionArchitecture:
    """Everything that rebuilds an attention network but its weights.

    Args:
        width: channels between the blocks, even and a multiple of ``heads``.
        inputs, outputs: channels of a frame, classes.
        blocks: of self-attention and feed-forward layers.
        heads: of each self-attention, width / heads channels each.
        input_noise, input_offset: standard deviations on the normalized inputs, see
            :class:`models.layers.SensorNoise`.
        dropout: share of what each sublayer adds that is set to zero; like the noise in training
            only.

    Raises:
        ModelsError: a value outside its range.
    """

    width: int
    inputs: int
    outputs: int
    blocks: int = 2
    heads: int = 4
    input_noise: float = 0.0
    input_offset: float = 0.0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("width", "inputs", "outputs", "blocks", "heads"):
            if getattr(self, name) < 1:
                raise ModelsError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.width % 2 or self.width % self.heads:
            raise ModelsError(
                f"the width is {self.width}; it must be even and a multiple of the "
                f"{self.heads} heads"
            )
        if not 0 <= self.dropout < 1:
            raise ModelsError(f"dropout is {self.dropout}; it must be in 0 ... 1, below 1")

    def build(self) -> keras.Model:
        """Make a new network with random weights: [batch, steps, inputs] -> logits [batch, steps,
        outputs]. The logits of a step depend on the frames up to it alone."""
        inputs = keras.Input((None, self.inputs))
        value = Normalization(name="normalization")(inputs)
        if self.input_noise or self.input_offset:
            value = SensorNoise(self.input_noise, self.input_offset, name="sensor_noise")(value)
        value = keras.layers.Dense(self.width, name="embedding")(value)
        value = SinusoidalPositions(name="positions")(value)
        for block in range(self.blocks):
            value = self._block(value, block)
        value = keras.layers.LayerNormalization(name="final_norm")(value)
        logits = keras.layers.Dense(self.outputs, name="head")(value)
        return keras.Model(inputs, logits, name="attention")

    def _block(self, value: Any, block: int) -> Any:
        """Self-attention, then two dense layers, each added to what it reads."""
        read = keras.layers.LayerNormalization(name=f"attention_norm_{block}")(value)
        # The mask also keeps the padding, which stands at a sequence's end, from all real steps.
        attended = keras.layers.MultiHeadAttention(
            self.heads, self.width // self.heads, name=f"attention_{block}"
        )(read, read, use_causal_mask=True)
        value += keras.layers.Dropout(self.dropout, name=f"attention_dropout_{block}")(attended)
        read = keras.layers.LayerNormalization(name=f"feed_forward_norm_{block}")(value)
        hidden = keras.layers.Dense(
            FEED_FORWARD_FACTOR * self.width, "relu", name=f"feed_forward_in_{block}"
        )(read)
        added = keras.layers.Dense(self.width, name=f"feed_forward_out_{block}")(hidden)
        return value + keras.layers.Dropout(self.dropout, name=f"feed_forward_dropout_{block}")(
            added
        )
