"""The GPU backend on a real Vulkan driver: right, with the state kept on the device."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.tensor_buffer import TensorBuffer

from convert.rows import with_rows
from device_runner.backends import litert_gpu
from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream, Streams
from device_runner.verify import verify
from models.cells import CELLS

STEPS = 200
TOLERANCE = 1e-4
EVERY_GRAPH = [*((cell, {}) for cell in CELLS), ("gru", {"reset_after": False})]

needs_gpu = pytest.mark.gpu


@pytest.fixture(params=EVERY_GRAPH, ids=lambda it: "-".join([it[0], *map(str, it[1].values())]))
def every_model(request, step_models):
    cell, options = request.param
    return load_step_model(step_models(cell, "float32", **options))


@needs_gpu
def test_every_cell_matches_the_cpu_with_its_state_on_the_device(every_model, frames, monkeypatch):
    touched = []
    write, read = TensorBuffer.write, TensorBuffer.read
    # Before the stream is there, which binds them.
    monkeypatch.setattr(
        TensorBuffer, "write", lambda self, *args: (touched.append(self), write(self, *args))[1]
    )
    monkeypatch.setattr(
        TensorBuffer, "read", lambda self, *args: (touched.append(self), read(self, *args))[1]
    )
    gpu, cpu = Stream(every_model, "litert-gpu"), Stream(every_model, "litert")
    gpu.reset()
    placement = gpu.backend.placement()
    assert placement.delegated == tuple(op.name for op in every_model.graph.operators)
    assert placement.on_cpu == ()
    assert gpu.backend.state_on_device

    touched.clear()
    on_gpu = gpu.run(frames[:STEPS])
    monkeypatch.undo()
    assert len({id(buffer) for buffer in touched}) == 2, "more than x and y crossed the bus"
    assert len(touched) == 2 * STEPS

    on_cpu = cpu.run(frames[:STEPS])
    assert np.abs(on_gpu - on_cpu).max() <= TOLERANCE
    assert on_cpu.std(axis=0).min() > 10 * TOLERANCE, "the outputs hardly ever change"
    for state in every_model.contract.states:
        ours, theirs = (
            np.frombuffer(stream.state_bytes()[state.name], state.dtype) for stream in (gpu, cpu)
        )
        assert np.abs(ours - theirs).max() <= TOLERANCE
        assert theirs.std() > 10 * TOLERANCE


@needs_gpu
def test_each_row_of_each_cell_is_the_float_model(every_model):
    stream = Stream(with_rows(every_model, 5), "litert-gpu")
    found = verify(stream)
    assert found.failure is None
    assert found.max_abs <= TOLERANCE
    assert stream.backend.state_on_device


@needs_gpu
def test_state_is_saved_and_loaded_on_both_sides(step_models, frames):
    model = load_step_model(step_models("lstm", "float32"))
    gpu, cpu = Stream(model, "litert-gpu"), Stream(model, "litert")
    # An odd number of steps: the buffers have changed sides.
    gpu.run(frames[:7])
    saved = gpu.save_state()
    expected = gpu.run(frames[7:50])
    other = Stream(model, "litert-gpu")
    other.load_state(saved)
    np.testing.assert_array_equal(other.run(frames[7:50]), expected)
    cpu.load_state(saved)
    np.testing.assert_allclose(cpu.run(frames[7:50]), expected, atol=TOLERANCE)
    gpu.reset()
    gpu.run(frames[:7])
    assert gpu.save_state() == saved


@needs_gpu
def test_streams_on_one_model_do_not_share_their_state(step_models, frames):
    streams = Streams(step_models("gru", "float32"), "litert-gpu")
    signed = [(streams.open(), sign) for sign in (1, -1)]
    steps = [[stream.step(sign * frame) for stream, sign in signed] for frame in frames[:21]]
    together = np.array(steps).swapaxes(0, 1)
    assert not np.array_equal(*together)
    for (stream, sign), interleaved in zip(signed, together, strict=True):
        stream.reset()
        np.testing.assert_array_equal(stream.run(sign * frames[:21]), interleaved)


@needs_gpu
def test_tensors_are_bound_by_name(workshop, float32_file, frames):
    """With a second signature before 'step', and the names of 'step' in another order."""
    from ai_edge_litert.schema_py_generated import SignatureDefT

    def edit(tree):
        step = tree.signatureDefs[0]
        step.inputs.reverse()
        step.outputs.reverse()
        other = SignatureDefT()
        other.signatureKey, other.subgraphIndex = b"other", 0
        other.inputs, other.outputs = step.inputs[::-1], step.outputs[::-1]
        tree.signatureDefs = [other, step]

    original = load_step_model(float32_file)
    workshop = replace(workshop, model=original)
    model = load_step_model(workshop.write(workshop.with_graph(edit)))
    assert [signature.key for signature in model.graph.signatures] == ["other", "step"]
    expected = Stream(original, "litert").run(frames)
    assert np.abs(Stream(model, "litert-gpu").run(frames) - expected).max() <= TOLERANCE


@needs_gpu
def test_int8_is_right_and_said_to_go_through_host_memory(int8_file):
    stream = Stream(int8_file, "litert-gpu")
    assert verify(stream).failure is None
    assert "host memory" in stream.backend.placement().accelerator
    assert not stream.backend.state_on_device


@needs_gpu
def test_a_graph_that_only_partly_fits_is_refused(step_models):
    with pytest.raises(BadModelError) as caught:
        Stream(step_models("gru", "int16x8"), "litert-gpu")
    assert "remaining" in caught.value.message
    assert "use another backend" in caught.value.message
    assert len(caught.value.message.splitlines()) == 1


@needs_gpu
def test_probe_names_the_gpu():
    version, _, adapter = litert_gpu.probe().partition(" on ")
    assert version[0].isdigit()
    assert adapter
    assert "does not name" not in adapter


@needs_gpu
def test_verify_command(float32_file, run_python, pytestconfig):
    done = run_python(
        "-m", "device_runner", "verify", "--json", "--backend", "litert-gpu", float32_file,
        cwd=pytestconfig.rootpath,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verification = json.loads(done.stdout)
    assert verification["failure"] is None
    assert verification["backend"] == "litert-gpu"


def test_probe_model_is_what_is_said_of_it():
    graph = read_graph(litert_gpu._PROBE_MODEL)
    assert [operator.name for operator in graph.operators] == ["TANH"]
    assert {tensor.shape for tensor in graph.tensors} == {(1, 4)}


def test_without_a_driver_one_line_says_so(float32_file, run_python, pytestconfig):
    done = run_python(
        "-m", "device_runner", "verify", "--backend", "litert-gpu", float32_file,
        cwd=pytestconfig.rootpath, VK_DRIVER_FILES="/nonexistent", VK_ICD_FILENAMES="/nonexistent",
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("Error: LiteRT")
    assert "docs/gpu.md" in done.stderr
