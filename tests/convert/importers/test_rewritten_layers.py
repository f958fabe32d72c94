"""Layers of old Keras and of training tools are read as the layers that compute the same."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras
from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM
from tf_keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading

from convert.errors import UnsupportedLayerError
from convert.importers import import_model
from tests.convert.importers.float_steps import largest_error

layers = tf_keras.layers


def _random(model):
    generator = np.random.default_rng(2)
    # A variance is positive.
    model.set_weights([generator.uniform(0, 0.4, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize(("kind", "same"), [(CuDNNLSTM, "LSTM"), (CuDNNGRU, "GRU")])
def test_layers_of_graphics_cards_are_read_with_their_weights(kind, same, tmp_path):
    made = _random(tf_keras.Sequential([tf_keras.Input((None, 3)), kind(4, return_sequences=True)]))
    made.save(tmp_path / "old.h5")
    found = import_model(tmp_path / "old.h5")
    assert found.changed == (f"{kind.__name__}: computed as the {same} with the same weights",)
    assert largest_error(found) < 1e-4
    plain = tf_keras.Sequential(
        [tf_keras.Input((None, 3)), getattr(layers, same)(4, return_sequences=True)]
    )
    plain.set_weights(preprocess_weights_for_loading(plain.layers[0], made.get_weights()))
    x = np.random.default_rng(0).normal(size=(1, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(found.reference([x])[0], plain(x).numpy(), atol=1e-6)


def _wrapped(sparsity):
    prune, schedule = sparsity.prune_low_magnitude, sparsity.ConstantSparsity(0.5, 0)
    return _random(
        tf_keras.Sequential(
            [
                tf_keras.Input((None, 3)),
                prune(layers.Dense(6, activation="relu"), pruning_schedule=schedule),
                layers.BatchNormalization(),
                layers.GRU(4, return_sequences=True),
                prune(layers.Dense(2), pruning_schedule=schedule),
            ]
        )
    )


def test_pruned_layers_are_read_without_their_wrapper(tmp_path):
    sparsity = pytest.importorskip("tensorflow_model_optimization").sparsity.keras
    made = _wrapped(sparsity)
    made.save(tmp_path / "pruned.h5")
    found = import_model(tmp_path / "pruned.h5")
    x = np.random.default_rng(0).normal(size=(1, 6, 3)).astype(np.float32)
    wanted = sparsity.strip_pruning(made)(x).numpy()
    np.testing.assert_allclose(found.reference([x])[0], wanted, atol=1e-6)
    assert largest_error(found) < 1e-4


def test_what_prepares_text_says_where_to_put_it(tmp_path):
    words = layers.TextVectorization(20, output_sequence_length=9)
    words.adapt(["a b c", "b c d"])
    text = tf_keras.Input((1,), dtype="string")
    model = tf_keras.Model(text, layers.LSTM(3)(layers.Embedding(20, 4)(words(text))))
    model.save(tmp_path / "text.keras")
    with pytest.raises(UnsupportedLayerError, match=r"TextVectorization.*without it.*token ids"):
        import_model(tmp_path / "text.keras")
