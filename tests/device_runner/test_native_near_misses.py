"""What is nearly a cell is computed as it is written, fused or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_runner.backends import backend_module, load_backend
from device_runner.errors import MissingRuntimeError
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from tests.conftest import KEPT_STEP_MODELS
from tests.device_runner.near_misses import CHANGES, near_miss
from tests.device_runner.written_integers import WrittenStep

NAMES = ("lstm-float32", "lstm-int8", "gru-float32", "gru-int8")
MODELS = [KEPT_STEP_MODELS / f"{name}.tflite" for name in NAMES]
STEPS = 6


@pytest.fixture(autouse=True)
def needs_library():
    try:
        backend_module("native").probe()
    except MissingRuntimeError as error:
        pytest.skip(error.message)


def check(path: Path, flatbuffer: bytes, seed: int) -> None:
    """Step from the same states, each time with those that the specification gives."""
    model = replace(load_step_model(path), flatbuffer=flatbuffer)
    contract, chance = model.contract, np.random.default_rng(seed)
    native = load_backend(model, "native")
    written = WrittenStep(flatbuffer, [state.name for state in contract.states])
    state = dict(contract.initial_state())
    for _ in range(STEPS):
        if contract.input.scale is None:
            x = chance.normal(0, 1, contract.input.shape).astype(np.float32).tobytes()
        else:
            x = chance.integers(-128, 128, contract.input.shape).astype(np.int8).tobytes()
        native.write_state(state)
        y = native.step(x)
        expected, after = written.step(x, state)
        found = [y, *(native.read_state()[name] for name in after)]
        for one, other in zip(found, [expected, *after.values()], strict=True):
            if contract.input.scale is None:
                a, b = (np.frombuffer(data, np.float32) for data in (one, other))
                np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)
            else:
                assert one == other
        state = after


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_cells_themselves(path):
    check(path, load_step_model(path).flatbuffer, 0)


@pytest.mark.parametrize("seed", range(12))
def test_near_misses(seed):
    path = MODELS[seed % len(MODELS)]
    check(path, near_miss(load_step_model(path).flatbuffer, seed)[0], seed)


@pytest.mark.slow
def test_300_near_misses():
    made = set()
    for seed in range(100, 400):
        path = MODELS[seed % len(MODELS)]
        flatbuffer, names = near_miss(load_step_model(path).flatbuffer, seed)
        check(path, flatbuffer, seed)
        made.update(names)
    assert made == {change.__name__ for change in CHANGES}


def block_sparse(flatbuffer: bytes) -> bytes:
    """Make three of four blocks of 16 units and one input zero."""
    data, chance = bytearray(flatbuffer), np.random.default_rng(4)
    for tensor in read_graph(flatbuffer).tensors:
        if tensor.constant_bytes and len(tensor.shape) == 2 and tensor.shape[0] % 16 == 0:
            begin, end = tensor.constant_start, tensor.constant_start + tensor.constant_bytes
            weights = np.frombuffer(flatbuffer[begin:end], tensor.dtype).reshape(tensor.shape)
            kept = chance.random((tensor.shape[0] // 16, tensor.shape[1])) < 0.25
            data[begin:end] = (weights * np.repeat(kept, 16, 0).astype(tensor.dtype)).tobytes()
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["float32", "int8"])
@pytest.mark.parametrize("units", [160, 192])  # blocks that are summed alone, and together
def test_block_sparse_matrices(tmp_path, vowels, scheme, units):
    from calibration.rollout import long_streams
    from convert.export import export, float_step
    from models.network import Architecture

    architecture = Architecture("gru", (units,), len(vowels.channels), len(vowels.labels))
    network = architecture.build()
    network.get_layer("normalization").adapt(*vowels.normalization)
    step = float_step(network)
    ranges = step.calibrate(long_streams(vowels.train.sequences, 200, 1))
    path = tmp_path / "gru.tflite"
    export(network, architecture, vowels, scheme, path, step, ranges)
    check(path, block_sparse(load_step_model(path).flatbuffer), 3)
