"""What a refused layer's line advises is stepped as Keras computes it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from convert.errors import UnsupportedLayerError
from convert.import_conversion.conversion import prepare
from convert.import_conversion.description import Facts
from convert.import_conversion.proof import float_stream, outputs_of
from convert.importers import import_model

WORDS = 20


def tied(layers, ops):
    """A language model whose output product is its embedding, with a scaled root mean square."""
    ids = keras.Input((None,), dtype="int32")
    embedding = layers.Embedding(WORDS, 8)
    y = layers.Identity()(embedding(ids))
    y = layers.GRU(8, return_sequences=True)(y)
    y = y * ops.rsqrt(ops.mean(ops.square(y), -1, keepdims=True) + 1e-6)
    table = embedding(ops.arange(WORDS))
    return keras.Model(ids, ops.matmul(y, ops.transpose(table)))


def test_tied_weights_and_a_root_mean_square_of_operations_are_stepped(tmp_path):
    model = tied(keras.layers, keras.ops)
    model.save(tmp_path / "model.keras")
    ids = np.random.default_rng(1).integers(0, WORDS, (15, 1)).astype(np.int32)
    conversion = prepare(import_model(tmp_path / "model.keras"), Facts(), None)
    (name,) = conversion.module.outputs
    stream = float_stream(conversion.step, conversion.description)
    given = outputs_of(stream, {conversion.module.inputs[0].name: ids})[name]
    wanted = np.asarray(model(ids.T))[0]
    np.testing.assert_allclose(given.reshape(wanted.shape), wanted, atol=1e-4 * np.ptp(wanted))


@pytest.mark.parametrize("kind", ["ReversibleEmbedding", "RMSNormalization", "EinsumDense"])
def test_a_layer_that_can_be_written_otherwise_says_how(kind, tmp_path):
    layer = getattr(keras.layers, kind, None)
    if layer is None:
        pytest.skip(f"this Keras has no {kind}")
    given = keras.Input((None,), dtype="int32")
    made = {
        "ReversibleEmbedding": lambda: layer(WORDS, 8)(given),
        "RMSNormalization": lambda: layer()(keras.layers.Embedding(WORDS, 8)(given)),
        "EinsumDense": lambda: layer("abc,cd->abd", (None, 4))(
            keras.layers.Embedding(WORDS, 8)(given)
        ),
    }[kind]()
    model = keras.Model(given, keras.layers.GRU(4, return_sequences=True)(made))
    model.save(tmp_path / "model.keras")
    with pytest.raises(UnsupportedLayerError, match=f"{kind}\\) can be written"):
        import_model(tmp_path / "model.keras")
