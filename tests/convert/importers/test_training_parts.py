"""What a file says of its training keeps no model from being stepped and reaches no loader."""

from __future__ import annotations

import json
import zipfile

import keras as keras3
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras2

from convert.errors import UnsupportedLayerError
from convert.importers import import_model
from convert.importers.inference_copy import CONFIG_FILE
from convert.importers.training_parts import without_training_parts
from convert.step.keras_graph import keras_step_graph
from convert.step.step_module import StepModule
from tests.convert.importers.test_keras import stepped

STEPS, CHANNELS = 9, 3
BY_NAME = {"tf_keras": keras2, "Keras 3": keras3}
made: list[str] = []


def _own_parts(keras):
    """A constraint, an initializer, a regularizer, a loss and a schedule of the user's own, which
    write down that they are made."""

    class Clip(keras.constraints.Constraint):
        def __init__(self) -> None:
            made.append("constraint")

        def __call__(self, weight):
            return weight

        def get_config(self):
            return {}

    class Start(keras.initializers.Initializer):
        def __init__(self) -> None:
            made.append("initializer")

        def __call__(self, shape, dtype=None, **_):
            return keras.initializers.GlorotUniform(3)(shape)

        def get_config(self):
            return {}

    class Small(keras.regularizers.Regularizer):
        def __init__(self) -> None:
            made.append("regularizer")

        def __call__(self, weight):
            return 0.0 * tf.reduce_sum(weight)

        def get_config(self):
            return {}

    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __init__(self) -> None:
            made.append("schedule")

        def __call__(self, step):
            return 1e-3

        def get_config(self):
            return {}

    for part in (Clip, Start, Small, Schedule):
        keras.utils.register_keras_serializable("user")(part)

    @keras.utils.register_keras_serializable("user")
    def own_loss(wanted, given):
        return (wanted - given) ** 2

    return Clip, Start, Small, Schedule, own_loss


def _frames():
    return np.random.default_rng(1).normal(size=(4, STEPS, CHANNELS)).astype(np.float32)


def _differs_by(path, original) -> float:
    """Compare the stepped file with the saved model after a whole sequence."""
    frames = _frames()
    wanted = np.asarray(original(frames[:1], training=False))[0]
    assert np.ptp(wanted) > 1e-3
    (given,) = stepped(StepModule(import_model(path).graph), {"x": frames[0]}).values()
    return float(np.abs(given[-1] - wanted).max() / np.ptp(wanted))


@pytest.mark.parametrize(
    ("name", "suffix"), [("tf_keras", ".keras"), ("tf_keras", ".h5"), ("Keras 3", ".keras"),
                         ("Keras 3", ".h5")]
)  # fmt: skip
def test_a_compiled_model_with_parts_of_its_own_is_stepped(tmp_path, name, suffix):
    keras = BY_NAME[name]
    clip, start, small, schedule, loss = _own_parts(keras)
    model = keras.Sequential(
        [
            keras.layers.Input((None, CHANNELS)),
            keras.layers.GRU(
                4, kernel_constraint=clip(), kernel_initializer=start(), bias_regularizer=small()
            ),
            keras.layers.Dense(2, activity_regularizer=small()),
        ]
    )
    optimizer = keras.optimizers.Adam(schedule() if suffix == ".keras" else 1e-3)
    model.compile(optimizer, loss, metrics=["mae"])
    model.fit(_frames(), np.ones((4, 2), np.float32), verbose=0)
    model.save(tmp_path / f"model{suffix}")
    made.clear()
    assert _differs_by(tmp_path / f"model{suffix}", model) < 1e-5
    assert made == []


def test_parts_of_training_that_name_foreign_code_are_not_looked_up(tmp_path):
    model = keras3.Sequential(
        [keras3.layers.Input((None, CHANNELS)), keras3.layers.GRU(4), keras3.layers.Dense(2)]
    )
    model.save(tmp_path / "good.keras")
    mark = tmp_path / "run"
    evil = {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": f"touch {mark}",
    }
    with zipfile.ZipFile(tmp_path / "good.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members[CONFIG_FILE])
    config["compile_config"] = {"optimizer": evil, "loss": evil}
    config["config"]["layers"][1]["config"]["kernel_initializer"] = evil
    config["config"]["layers"][2]["config"]["dtype"] = evil
    members[CONFIG_FILE] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "evil.keras", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert _differs_by(tmp_path / "evil.keras", model) < 1e-5
    assert not mark.exists()


@pytest.mark.parametrize("name", BY_NAME)
def test_a_model_of_mixed_precision_is_computed_in_float32(tmp_path, name):
    keras = BY_NAME[name]
    model = keras.Sequential(
        [keras.layers.Input((None, CHANNELS)), keras.layers.GRU(4, dtype="mixed_float16")]
    )
    model.save(tmp_path / "model.keras")
    imported = import_model(tmp_path / "model.keras")
    assert imported.changed == ("mixed_float16: computed in float32",)
    (layer,) = (item for item in imported.graph.owner.layers if "gru" in item.name)
    assert layer.compute_dtype == "float32"


def test_weights_that_keras_has_quantized_are_refused_by_what_they_are(tmp_path):
    model = keras3.Sequential([keras3.layers.Input((None, CHANNELS)), keras3.layers.Dense(4)])
    model.quantize("int8")
    model.save(tmp_path / "model.keras")
    with pytest.raises(UnsupportedLayerError, match=r"before model\.quantize\(\)"):
        import_model(tmp_path / "model.keras")


def test_only_what_belongs_to_training_is_taken_out():
    config = {
        "config": {"units": 3, "dtype": "int32", "kernel_initializer": 1, "layers": [{"a": None}]},
        "compile_config": {"loss": 1},
    }
    assert without_training_parts(config) == (
        {"config": {"units": 3, "dtype": "int32", "layers": [{"a": None}]}}, ()
    )  # fmt: skip


def _normalized(keras, axis, at_once):
    data = 20 + 5 * _frames() * np.array([1, 2, 3], np.float32)
    options = {"mean": [20.0, 19.0, 21.0], "variance": [4.0, 9.0, 16.0]} if at_once else {}
    layer = keras.layers.Normalization(axis=axis, **options)
    if not at_once:
        layer.adapt(data)
    layers = [keras.layers.Input((None, CHANNELS)), layer, keras.layers.GRU(4)]
    return keras.Sequential(layers)


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(("axis", "at_once"), [(-1, False), (None, False), (2, False), (-1, True)])
def test_a_normalization_is_stepped_with_what_it_was_adapted_to(
    tmp_path, name, suffix, axis, at_once
):
    if (name, suffix, axis) == ("Keras 3", ".h5", None):
        pytest.skip("Keras 3 cannot load that file itself: it takes the axis for the default one")
    model = _normalized(BY_NAME[name], axis, at_once)
    model.save(tmp_path / f"model{suffix}")
    assert _differs_by(tmp_path / f"model{suffix}", model) < 1e-5


def test_a_normalization_of_other_axes_is_refused():
    layer = keras2.layers.Normalization(axis=1, mean=np.zeros(STEPS), variance=np.ones(STEPS))
    network = keras2.Sequential([keras2.layers.InputLayer((STEPS, CHANNELS)), layer])
    with pytest.raises(UnsupportedLayerError, match=r"normalizes axis \(1,\)"):
        StepModule(keras_step_graph(network))
