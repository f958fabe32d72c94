"""One network in every framework: the same weights give the same steps, and int8 keeps to them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras as keras_3
import numpy as np
import pytest
import tf_keras

from convert.import_conversion.conversion import Conversion, prepare
from convert.import_conversion.description import Facts
from convert.importers import ImportHints, import_model
from convert.importers.imported import ImportedModel
from tests.convert.importers import same_in_keras
from tests.convert.importers.same_weights import FRAMES, INT8_RMS, KINDS, sequences_of

FRAMEWORKS = ("Keras 3", "tf_keras", "ONNX", "PyTorch")
QUICK = ("NeuralPi", "ONNX")
CASES = [
    pytest.param(
        kind,
        framework,
        marks=[
            *([] if (kind, framework) == QUICK else [pytest.mark.slow]),
            *([pytest.mark.pytorch] if framework == "PyTorch" else []),
        ],
        id=f"{kind}, {framework}",
    )
    for kind in KINDS
    for framework in FRAMEWORKS
]


def imported(kind: str, framework: str, folder: Path) -> ImportedModel:
    """Import a network from one framework's file or code."""
    if framework == "ONNX":
        onnx = pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        from tests.convert.importers import same_in_onnx

        path = folder / "net.onnx"
        onnx.save(same_in_onnx.MADE[kind](), path)
        return import_model(path)
    if framework == "PyTorch":
        pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
        frames = (("x", FRAMES[kind], "values"),)
        name = f"tests.convert.importers.same_in_torch:{kind.lower()}"
        return import_model(name, hints=ImportHints(frames=frames))
    keras = {"Keras 3": keras_3, "tf_keras": tf_keras}[framework]
    path = folder / "net.keras"
    same_in_keras.made(kind, keras).save(path)
    return import_model(path)


@functools.cache
def wanted(kind: str) -> np.ndarray[Any, Any]:
    """Return the first output for the first sequence as tf_keras itself computes it."""
    network = same_in_keras.made(kind, tf_keras)
    frames = sequences_of(kind)[0]["x"]
    if len(network.inputs) == 1:
        given = network(frames[np.newaxis], training=False)
        return np.asarray(given[0] if isinstance(given, list | tuple) else given)[0]
    shape = (1, *network.inputs[0].shape[1:])
    states = [np.zeros((1, *item.shape[1:]), np.float32) for item in network.inputs[1:]]
    rows = []
    for frame in frames:
        y, *states = network([frame.reshape(shape), *states], training=False)
        rows.append(np.asarray(y).reshape(-1))
    return np.array(rows)


def prepared(kind: str, framework: str, folder: Path) -> Conversion:
    """Prepare a network; the name of its first input is the framework's own."""
    model = imported(kind, framework, folder)
    name = model.step_graph.inputs[0].name
    given = [{name: one["x"]} for one in sequences_of(kind)]
    return prepare(model, Facts(frame_period_s=0.016), given)


@pytest.mark.parametrize(("kind", "framework"), CASES)
def test_the_same_weights_give_the_same_steps(tmp_path, kind, framework):
    conversion = prepared(kind, framework, tmp_path)
    (item,) = conversion.module.inputs
    frames = sequences_of(kind)[0]["x"]
    found = conversion.module.run({item.name: frames.reshape(len(frames), *item.shape[1:])})
    y = found[conversion.module.outputs[0]].reshape(len(frames), -1)
    target = wanted(kind).reshape(len(frames), -1)
    assert np.abs(y - target).max() <= 1e-4 * np.ptp(target)
    model = conversion.export("int8", tmp_path / "net.tflite")
    assert model.contract.metrics["held_out"]["rms"] <= INT8_RMS[kind]
