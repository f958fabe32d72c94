"""The exporting runtime's recorded run: wrong integer models fail, and right ones do not."""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import replace

import numpy as np
import pytest

from convert.portable_kernels import PortableBackend
from convert.recording import record_run
from convert.tflite_editor import TfliteEditor
from convert.verify import verify_on_runtimes
from device_runner.backends.kernels import PORTABLE
from device_runner.errors import BadModelError
from device_runner.model.recorded_run import STEPS, RecordedRun
from device_runner.model.step_file import load_step_model, pack
from device_runner.stream import Stream
from device_runner.verify import verify
from tests.conftest import slow_but_some_cells
from tests.wrong_models import signed, wrong_models


def recorded(path):
    model = load_step_model(path)
    return replace(model, recorded=record_run(Stream(model, "litert")))


def portable(model):
    """A stream whose backend computes what TensorFlow Lite Micro does."""
    stream = Stream(model, "litert")
    stream._shared.backend = PortableBackend(stream.model)
    stream.backend.kernels = PORTABLE
    return stream


STREAMS = {
    "litert": lambda model: Stream(model, "litert"),
    "native": lambda model: Stream(model, "native"),
    "portable": portable,
}


@pytest.mark.parametrize(
    ("cell", "runtime"),
    [
        ("lstm", "litert"),
        ("lstm", "native"),
        *(pytest.param("lstm", one, marks=pytest.mark.slow) for one in ("portable",)),
        *(pytest.param("gru", one, marks=pytest.mark.slow) for one in STREAMS),
    ],
)
def test_wrong_models_fail(step_models, cell, runtime):
    if runtime == "native" and importlib.util.find_spec("device_runner.libedgestep") is None:
        pytest.skip("libedgestep is not compiled")
    right, load = recorded(step_models(cell, "int8")), STREAMS[runtime]
    replay = verify(load(right)).replay
    assert replay.must_be_same
    assert replay.same_bits
    passed, count = [], 0
    for what, wrong in wrong_models(right):
        count += 1
        try:
            failure = verify(load(wrong)).failure
        except BadModelError:
            continue
        if failure is None:
            passed.append(what)
    assert count == 28
    assert len(passed) <= 2, passed


@pytest.mark.parametrize("cell", slow_but_some_cells(["lstm", "window-attention", "gru"]))
def test_a_file_holds_what_was_recorded_in_two_kilobytes(step_models, cell, tmp_path):
    model = recorded(step_models(cell, "int8"))
    parts = (model.flatbuffer, model.contract, model.labels, model.golden)
    plain, packed = pack(*parts), pack(*parts, model.recorded)
    assert 0 < len(packed) - len(plain) <= 2000
    path = tmp_path / "model.tflite"
    path.write_bytes(packed)
    read = load_step_model(path)
    assert read.recorded == model.recorded
    assert np.array_equal(read.recorded.samples, model.recorded.samples)
    replay = verify(Stream(read, "litert")).replay
    assert replay.same_bits
    assert replay.must_be_same
    assert replay.steps == STEPS >= 200
    path.write_bytes(plain)
    older = verify(Stream(path, "litert"))
    assert older.replay is None
    assert older.failure is None


def test_kernels_that_are_not_known_are_held_to_a_few_steps(step_models):
    model = recorded(step_models("gru", "int8"))
    stream = Stream(model, "litert")
    stream.backend.kernels = None
    few = model.recorded.samples.copy()
    few[:5] ^= 0x40
    foreign = RecordedRun({"others": bytes(8)}, few)
    stream.model = replace(model, recorded=foreign)
    near = verify(stream)
    assert not near.replay.same_bits
    assert near.replay.off == pytest.approx(5 / len(few))
    assert near.failure is None
    few[:100] ^= 0x40
    assert "off by more than a few steps" in verify(stream).failure


def with_many_ties(model):
    """A GRU whose candidate's sum is (3 x + 2 y) / 4, exactly a half at a quarter of all values.

    A third, to which y is scaled, has no end in binary: how it was rounded decides each half.
    """
    operators, tensors = model.graph.operators, model.graph.tensors
    products = {operator.outputs[0] for operator in operators if operator.name == "MUL"}
    (total,) = [operator.inputs[0] for operator in operators if operator.name == "TANH"]
    (operands,) = [set(operator.inputs) for operator in operators if total in operator.outputs]
    (product,), (given,) = operands & products, operands - products
    # In 24 bits, divisible by three.
    fraction, exponent = np.frexp(tensors[given].scales[0])
    scale = np.ldexp(float(fraction * 2**24 // 3 * 3), exponent - 24)
    # Those that are split from one tensor have its scale.
    alike = [t.index for t in tensors if t.scales == tensors[given].scales]
    editor = TfliteEditor(model.flatbuffer)
    stored = editor.tree.subgraphs[0].tensors
    for index in alike:
        stored[index].quantization.scale = np.array([scale], np.float32)
    stored[product].quantization.scale = np.array([scale * 2 / 3], np.float32)
    stored[total].quantization.scale = np.array([scale * 4 / 3], np.float32)
    return signed(model, editor.flatbuffer())


@pytest.mark.skipif(
    importlib.util.find_spec("tflite_runtime") is None,
    reason="tflite-runtime is not installed; it has no wheels for Python 3.12 and newer",
)
def test_a_sum_that_tflite_runtime_rounds_otherwise_is_right(step_models, tmp_path):
    model = with_many_ties(load_step_model(step_models("gru", "int8")))
    record = record_run(Stream(model, "litert"))
    path = tmp_path / "ties.tflite"
    path.write_bytes(pack(model.flatbuffer, model.contract, model.labels, model.golden, record))
    (facts,) = verify_on_runtimes([path], ["tflite-runtime"])
    assert facts["failure"] is None
    # On Arm it has the form of the sum that LiteRT has everywhere.
    assert facts["replay"]["same_bits"] == (platform.machine() != "x86_64")


def test_a_damaged_record_is_refused_in_one_line(step_models, tmp_path):
    model = recorded(step_models("gru", "int8"))
    data = model.recorded.to_bytes()
    for damaged in (
        b"",
        data[:-1],
        data[:20],
        b"\xff\xff" + data[2:],
        data.replace(b"int8", b"int9"),
    ):
        with pytest.raises(BadModelError, match=r"recorded\.bin"):
            RecordedRun.from_bytes(damaged)
