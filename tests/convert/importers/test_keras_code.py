"""Files of Keras weights alone, with the user's own code that builds the model."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from convert.errors import SourceModelError
from convert.importers import ImportHints, import_model
from tests.convert.importers.float_steps import largest_error

MODULE = "tests.convert.importers.keras_networks"
FRAMES = (("x", (3,), "values"),)


def made(name, path, seed=3):
    """Save the weights of a model with values of its own, and return what it computes."""
    module = importlib.import_module(MODULE)
    model = getattr(module, name)()
    x = np.random.default_rng(seed).normal(size=(2, 6, 3)).astype(np.float32)
    model(x)
    generator = np.random.default_rng(seed + 1)
    model.set_weights([generator.normal(0, 0.4, w.shape) for w in model.get_weights()])
    model.save_weights(path)
    return x, np.asarray(model(x, training=False))


def imported(name, path, frames=FRAMES):
    return import_model(path, hints=ImportHints(model_code=f"{MODULE}:{name}", frames=frames))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("with_own_layer", "m.weights.h5"),
        pytest.param("OldTagger", "m.index", marks=pytest.mark.slow),
        pytest.param("in_keras_3", "m.weights.h5", marks=pytest.mark.slow),
        pytest.param("in_tf_keras", "m.weights.h5", marks=pytest.mark.slow),
        pytest.param("in_tf_keras", "m.h5", marks=pytest.mark.slow),
        pytest.param("in_tf_keras", "m.index", marks=pytest.mark.slow),
        pytest.param("Tagger", "m.weights.h5", marks=pytest.mark.slow),
        pytest.param("OldTagger", "m.h5", marks=pytest.mark.slow),
        pytest.param("with_own_weights", "m.weights.h5", marks=pytest.mark.slow),
    ],
)
def test_weights_are_loaded_into_the_model_that_code_builds(name, file, tmp_path):
    x, wanted = made(name, str(tmp_path / file).removesuffix(".index"))
    model = imported(name, tmp_path / file)
    assert model.name == "m"
    np.testing.assert_allclose(model.reference([x])[0], wanted, atol=1e-6)
    assert largest_error(model) < 1e-4


@pytest.mark.parametrize(
    ("name", "frames", "said"),
    [
        pytest.param(
            "nothing", FRAMES, "no model was made .the function gives int", marks=pytest.mark.slow
        ),
        pytest.param("absent", FRAMES, "no model was made .AttributeError", marks=pytest.mark.slow),
        pytest.param(
            "Tagger", (), "give --data, or build it with an Input", marks=pytest.mark.slow
        ),
        pytest.param(
            "in_keras_3", FRAMES, "the weights do not fit this model", marks=pytest.mark.slow
        ),
    ],
)
def test_code_that_does_not_fit_is_refused_in_one_line(name, frames, said, tmp_path):
    made("with_own_layer", tmp_path / "m.weights.h5")
    with pytest.raises(SourceModelError, match=said) as raised:
        imported(name, tmp_path / "m.weights.h5", frames)
    assert "\n" not in raised.value.message
    assert raised.value.message.startswith(f"{tmp_path / 'm.weights.h5'} with {MODULE}:{name}: ")


def test_weights_alone_name_the_option(tmp_path):
    made("in_keras_3", tmp_path / "m.weights.h5")
    with pytest.raises(SourceModelError, match="--model-code module:function"):
        import_model(tmp_path / "m.weights.h5")
    made("in_tf_keras", str(tmp_path / "c"))
    with pytest.raises(SourceModelError, match="--model-code module:function"):
        import_model(tmp_path / "c.index")


def test_the_option_is_for_weights_of_keras(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch")
    with pytest.raises(SourceModelError, match="--model-code names the code of a Keras model"):
        imported("in_keras_3", tmp_path / "net.onnx")
