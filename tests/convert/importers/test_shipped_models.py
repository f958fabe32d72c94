"""Models of the kinds that people ship come through both versions of Keras, and int8 is sound."""

from __future__ import annotations

import keras as keras_3
import numpy as np
import pytest
import tf_keras

from convert.file_conversion import convert_file
from convert.import_conversion.proof import FLOAT_TOLERANCE
from device_runner.stream import Stream
from models.tasks import load_task
from tests.convert.importers.shipped_models import SHIPPED

FRAMEWORKS = {"Keras 3": keras_3, "tf_keras": tf_keras}
pytestmark = pytest.mark.slow
CASES = [
    pytest.param(framework, name, id=f"{name}, {framework}")
    for name in SHIPPED
    for framework in FRAMEWORKS
]


def _data(path, model):
    """Real sequences in the shape of the model's first input, several windows long."""
    shape = tuple(model.inputs[0].shape[1:])
    frame = shape if len(shape) == 1 else shape[1:]
    sequences = load_task("japanese-vowels").train.sequences
    joined = np.concatenate(sequences[:60])[:800]
    if "int" in str(model.inputs[0].dtype):
        values = np.clip(15 + 7 * joined[:, 0], 1, 29).astype(np.int32)
        np.save(path, values.reshape(4, 200))
        return path
    size = int(np.prod(frame))
    values = np.tile(joined, -(-size // joined.shape[1]))[:, :size].astype(np.float32)
    np.save(path, values.reshape(4, 200, *frame))
    return path


@pytest.mark.parametrize(("framework", "name"), CASES)
def test_it_is_stepped_exactly_and_quantized(tmp_path, framework, name):
    keras = FRAMEWORKS[framework]
    keras.utils.set_random_seed(3)
    model = SHIPPED[name](keras)
    path = tmp_path / "model.keras"
    model.save(path)
    data = _data(tmp_path / "data.npy", model)
    made = convert_file(
        path, "cpu", data, scheme="float32", output=tmp_path / "f.tflite", frame_period_s=0.02
    )
    assert made.float_error <= FLOAT_TOLERANCE
    assert not [one["failure"] for one in made.verified if one["failure"]]
    small = convert_file(path, "cpu", data, output=tmp_path / "s.tflite", frame_period_s=0.02)
    assert not [one["failure"] for one in small.verified if one["failure"]]
    # A fresh stream of the written file, as its user opens it.
    frames = np.load(data)[0][:, np.newaxis] if np.load(data).ndim == 2 else np.load(data)[0]
    given = Stream(made.path).run(frames)
    values = next(iter(given.values())) if isinstance(given, dict) else given
    assert np.isfinite(values[-1]).all()
