"""Sound files of every kind that a command reads: what gets damaged.

``python -m tests.faults.originals FOLDER`` writes those that TensorFlow or another package makes.
"""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
WIDTH, UNITS, OUTPUTS = 3, 4, 2
DESCRIPTION = (
    '[[layers]]\nkind = "gru"\nweights = "rnn"\n[[layers]]\nkind = "linear"\nweights = "fc"\n'
)
RECIPE = """name = "faulty"
task = "japanese-vowels"
seeds = [1, 2]
schemes = ["float32", "int8", "int8:qat"]
targets = ["cpu"]

[training]
epochs = 3
learning_rate = 0.01

[calibration]
steps = 100

[bench]
steps = 100
backend = "litert"

[[models]]
cell = "gru"
units = [4, 5]
name = "small"

[[models]]
cell = "lstm"
units = 4
prune = { sparsity = 0.5 }
training = { epochs = 2 }

[[models]]
cell = "lstm"
units = 8
distil = { teacher = "small" }
"""
CSV = "sequence,a,b,c\n" + "\n".join(f"{n // 9},{n % 7},{n / 3:.4f},{-n}" for n in range(27)) + "\n"


def make(folder: Path) -> None:
    """Write what needs TensorFlow, Keras, ONNX, PyArrow or a measurement."""
    _make_keras(folder)
    _make_onnx(folder)
    _make_weights(folder)
    _make_data(folder)
    _make_result(folder)


def _make_keras(folder: Path) -> None:
    import keras
    import tf_keras

    for module, name in ((keras, "new"), (tf_keras, "old")):
        layers = [module.layers.GRU(UNITS, return_sequences=True), module.layers.Dense(OUTPUTS)]
        model = module.Sequential([module.Input((None, WIDTH)), *layers])
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.h5")


def _make_onnx(folder: Path) -> None:
    import onnx

    from tests.convert.importers import onnx_networks

    onnx.save(onnx_networks.sequence("GRU"), folder / "sequence.onnx")
    onnx.save(onnx_networks.step(), folder / "step.onnx")


def _make_weights(folder: Path) -> None:
    import safetensors.numpy

    rng = np.random.default_rng(1)
    shapes = {
        "rnn.weight_ih_l0": (3 * UNITS, WIDTH), "rnn.weight_hh_l0": (3 * UNITS, UNITS),
        "rnn.bias_ih_l0": (3 * UNITS,), "rnn.bias_hh_l0": (3 * UNITS,),
        "fc.weight": (OUTPUTS, UNITS), "fc.bias": (OUTPUTS,),
    }  # fmt: skip
    state = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    safetensors.numpy.save_file(state, folder / "weights.safetensors")
    # As PyTorch packs a file; its pickle holds no tensors.
    with zipfile.ZipFile(folder / "weights.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}, 2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", bytes(64))


def _make_data(folder: Path) -> None:
    import pandas as pd

    frames = np.random.default_rng(2).normal(size=(40, WIDTH)).astype(np.float32)
    np.save(folder / "frames.npy", frames)
    np.savez(folder / "frames.npz", **{f"s{n}": frames[: 10 + n] for n in range(3)})
    np.savez_compressed(folder / "packed.npz", first=frames)
    pd.read_csv(io.StringIO(CSV)).to_parquet(folder / "frames.parquet")
    (folder / "frames.csv").write_text(CSV)


def _make_result(folder: Path) -> None:
    from device_runner.measure import benchmark
    from device_runner.measure.latency import BenchSettings
    from device_runner.stream import Stream

    stream = Stream(ROOT / "tests/step_models/gru-int8.tflite", "reference")
    settings = BenchSettings(steps=2000, rounds=1, warmup_s=0)  # enough for p99
    (measured,) = benchmark.bench([stream], settings, benchmark.Circumstances())
    (folder / "result.jsonl").write_text(json.dumps(measured.result) + "\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
