"""libedgestep steps models as LiteRT does: in int8 to the bit."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert.rows import with_rows
from device_runner.backends import backend_module, load_backend, native_calls
from device_runner.errors import (
    BadInputError,
    BadModelError,
    MissingRuntimeError,
    NotFiniteError,
)
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from device_runner.verify import verify
from tests.conftest import EACH_VARIANT, KEPT_STEP_MODELS

ROOT = Path(__file__).parents[2]
KEPT = sorted(KEPT_STEP_MODELS.glob("*.tflite"))


@pytest.fixture(autouse=True)
def needs_library():
    try:
        backend_module("native").probe()
    except MissingRuntimeError as error:
        pytest.skip(error.message)


def frames_of(stream: Stream, count: int) -> list[bytes]:
    """Seeded frames over the whole of the input's grid, or of its normal range."""
    generator = np.random.default_rng(8)
    frames = []
    for _ in range(count):
        parts = []
        for spec in stream.model.contract.inputs:
            if spec.scale is None:
                values = generator.normal(0, 2, spec.shape)
            else:
                limits = np.iinfo(spec.dtype)
                values = generator.integers(limits.min, limits.max, spec.shape, endpoint=True)
            parts.append(values.astype(spec.dtype).tobytes())
        frames.append(b"".join(parts))
    return frames


def largest_difference(path: Path, steps: int = 100) -> float:
    """Of outputs and states, in stored units, between LiteRT's steps and ours from its states."""
    litert, native = Stream(path, "litert"), Stream(path, "native")
    contract, worst = litert.model.contract, 0.0
    for frame in frames_of(litert, steps):
        native.backend.write_state(litert.state_bytes())
        given = litert.step_bytes(frame), native.step_bytes(frame)
        pairs = [(given, contract.output.dtype)]
        pairs += [
            ((litert.state_bytes()[state.name], native.state_bytes()[state.name]), state.dtype)
            for state in contract.states
        ]
        for (expected, found), dtype in pairs:
            assert len(expected) == len(found)
            both = [np.frombuffer(one, dtype).astype(np.float64) for one in (expected, found)]
            # A real value above 1 has fewer digits behind the point.
            size = np.maximum(1, np.abs(both[0])) if dtype.startswith("float") else 1.0
            worst = max(worst, float((np.abs(both[0] - both[1]) / size).max(initial=0)))
    return worst


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_models_step_as_on_litert(path):
    difference = largest_difference(path)
    assert difference <= (0 if "int8" in path.name else 1e-5)
    assert verify(Stream(path, "native")).failure is None


# One step of the grid where a sum is rounded elsewhere; 16 bits are interpolated by LiteRT.
ALLOWED = {"int8": 1, "int16x8": 64, "float32": 1e-5, "float16": 1e-5}


@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
def test_every_cell_steps_as_on_litert(step_models, cell, options):
    for scheme, allowed in ALLOWED.items():
        if scheme == "int16x8" and cell not in ("gru", "lstm", "simple-rnn", "oru"):
            continue
        path = step_models(cell, scheme, **options)
        assert largest_difference(path, 40) <= allowed, scheme
        assert verify(Stream(path, "native")).failure is None


def test_weights_of_8_bits_are_multiplied_by_real_values(step_models):
    """LiteRT rounds the values to 8 bits, too; the reference does not, and nor do we."""
    path = step_models("gru", "dynamic")
    streams = [Stream(path, name) for name in ("reference", "native")]
    x = streams[0].model.golden.x[:50]
    np.testing.assert_allclose(*[stream.run(x) for stream in streams], atol=1e-4)


@pytest.mark.parametrize("path", KEPT[:4], ids=lambda path: path.stem)
def test_real_values_go_through_as_bytes_do(path):
    stream, other = Stream(path, "native"), Stream(path, "native")
    for x in stream.model.golden.x[:30]:
        expected = other._general_step(x)
        np.testing.assert_array_equal(stream.step(x.astype(np.float64)), expected)
    assert stream.state_bytes() == other.state_bytes()
    # Whole numbers, a batch of one, a list: all that any backend takes.
    ones = np.ones(stream.model.contract.input.frame_shape)
    found = []
    for x in (ones, ones.astype(np.int16), ones[np.newaxis], list(ones)):
        stream.reset()
        found.append(stream.step(x))
    for other_way in found[1:]:
        np.testing.assert_array_equal(other_way, found[0])


def test_a_frame_that_is_refused_leaves_the_state():
    stream = Stream(KEPT[0], "native")
    stream.step(stream.model.golden.x[0])
    before = stream.state_bytes()
    for bad in (np.full_like(stream.model.golden.x[0], np.nan), np.full(3, 0.0), "frame"):
        with pytest.raises(BadInputError):
            stream.step(bad)
    assert stream.state_bytes() == before


def test_an_output_that_is_not_finite_is_told():
    stream = Stream(KEPT_STEP_MODELS / "gru-float32.tflite", "native")
    states = {
        name: np.full(len(b) // 4, np.nan, np.float32).tobytes()
        for name, b in stream.state_bytes().items()
    }
    stream.backend.write_state(states)
    with pytest.raises(NotFiniteError, match="'y' is nan"):
        stream.step(np.zeros(12, np.float32))


def test_a_state_of_litert_goes_on():
    litert, native = (Stream(KEPT[1], name) for name in ("litert", "native"))
    x = litert.model.golden.x
    litert.run(x[:10])
    native.load_state(litert.save_state())
    np.testing.assert_array_equal(native.run(x[10:20]), litert.run(x[10:20]))


def test_a_step_outlives_its_stream():
    stream = Stream(KEPT[1], "native")
    frames = frames_of(stream, 50)
    expected = [stream.step_bytes(frame) for frame in frames]
    step = Stream(KEPT[1], "native").step_bytes
    gc.collect()
    refilled = [bytes([7]) * 4096 for _ in range(1000)]
    assert [step(frame) for frame in frames] == expected
    assert refilled


def test_an_unknown_operator_is_one_line():
    """TANH (28) gets a number that the schema does not have, wherever its number may stand."""
    model = load_step_model(KEPT[1])
    messages = []
    for at in range(len(model.flatbuffer)):
        if model.flatbuffer[at : at + 4] == bytes([28, 0, 0, 0]):
            damaged = bytearray(model.flatbuffer)
            damaged[at : at + 2] = b"\xe7\x03"
            with contextlib.suppress(BadModelError):
                load_backend(replace(model, flatbuffer=bytes(damaged)), "native")
                continue
            with pytest.raises(BadModelError) as caught:
                load_backend(replace(model, flatbuffer=bytes(damaged)), "native")
            messages.append(caught.value.message)
    assert any("operator 999 of the schema is not known here" in message for message in messages)
    assert not any("\n" in message for message in messages)


MUTATE = """
import ctypes, random, sys
from device_runner.backends.native_library import load_library
library = load_library()
library.es_load.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p]
whole = open(sys.argv[1], "rb").read()
chance, loaded = random.Random(5), 0
for case in range(int(sys.argv[2])):
    data = bytearray(whole)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(data))
        size = chance.choice((1, 1, 4))
        data[at : at + size] = chance.choice((b"\\xff", b"\\x00", b"\\x7f", b"\\x80")) * size
    if chance.random() < 0.1:
        del data[chance.randrange(len(data)) :]
    model, why = ctypes.c_void_p(), ctypes.create_string_buffer(256)
    if library.es_load(bytes(data), len(data), ctypes.byref(model), why):
        assert why.value and b"\\n" not in why.value
        continue
    loaded += 1
    memory = ctypes.create_string_buffer(library.es_stream_bytes(model) + 64)
    start = ctypes.addressof(memory)
    stream = ctypes.c_void_p(library.es_open(model, ctypes.c_void_p(start + -start % 64)))
    frame = ctypes.create_string_buffer(b"\\x55" * library.es_input_bytes(model))
    given = ctypes.create_string_buffer(library.es_output_bytes(model))
    for _ in range(3):
        library.es_step_bytes(stream, frame, given)
    library.es_free(model)
print(loaded)
"""


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_damaged_files_do_not_crash(path):
    command = [sys.executable, "-c", MUTATE, str(path), "400"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) > 10


def test_what_is_compiled_calls_the_library_without_ctypes():
    """Tests below would pass by ctypes alone."""
    if importlib.util.find_spec("device_runner.native_call") is None:
        pytest.skip("Python's headers are not installed")
    stream = Stream(KEPT[0], "native")
    assert type(stream.step).__name__ == "builtin_function_or_method"
    assert type(stream.step_bytes).__name__ == "builtin_function_or_method"


def test_calls_take_what_ctypes_takes(monkeypatch):
    """Arrays of all kinds, strides, bytes and views, by both ways; and a frame that is too long."""
    generator = np.random.default_rng(3)
    for path in KEPT[:4]:
        compiled = Stream(path, "native")
        with monkeypatch.context() as patched:
            patched.setattr(native_calls, "_call_type", lambda: None)
            plain = Stream(path, "native")
        size = compiled.model.contract.input.frame_shape[0]
        wide = generator.normal(0, 2, (2 * size, 4))
        frames = [wide[:size, 0], wide[::2, 1], wide[:size, 2].astype(np.float32)]
        frames += [frames[2].astype(">f4"), np.round(frames[0]).astype(np.int8), list(frames[0])]
        for frame in frames:
            np.testing.assert_array_equal(compiled.step(frame), plain.step(frame))
        stored = frames_of(compiled, 1)[0]
        for kind in (bytes, bytearray, memoryview):
            assert compiled.step_bytes(kind(stored)) == plain.step_bytes(kind(stored))
        assert compiled.state_bytes() == plain.state_bytes()
        for wrong in (stored + b"x", b""):
            with pytest.raises(ValueError, match="different"):
                compiled.step_bytes(wrong)


def test_given_arrays_are_the_callers():
    stream = Stream(KEPT[0], "native")
    x = stream.model.golden.x[0].astype(np.float32)
    first = stream.step(x)
    kept = first.copy()
    stream.step(10 * x)
    np.testing.assert_array_equal(first, kept)
    assert first.flags.writeable
    assert first.flags.owndata


def test_calls_are_freed_with_their_stream():
    alive = weakref.WeakSet()
    for _ in range(3):
        stream = Stream(KEPT[0], "native")
        stream.step(stream.model.golden.x[0])
        alive.add(stream.backend._stream)
    del stream
    gc.collect()
    assert len(alive) == 0


def test_windows_go_through_the_call():
    path = KEPT_STEP_MODELS / "window-7-3-lanes-int8.tflite"
    stream, other = Stream(path, "native"), Stream(path, "native")
    for x in stream.model.golden.x[:40]:
        np.testing.assert_array_equal(stream.step(x), other._general_step(x))
        assert stream.answered == other.answered


@pytest.mark.parametrize(("rows", "others_run"), [(1, False), (64, True)])
def test_a_call_of_many_rows_lets_other_threads_run(monkeypatch, rows, others_run):
    """A step of this file is over before another thread could use the time; 64 rows are not."""
    given = {}
    make = native_calls._call_type()
    if make is None:
        pytest.skip("Python's headers are not installed")

    def note(**arguments):
        given.update(arguments)
        return make(**arguments)

    monkeypatch.setattr(native_calls, "_call_type", lambda: note)
    model = load_step_model(KEPT_STEP_MODELS / "gru-int8.tflite")
    Stream(with_rows(model, rows) if rows > 1 else model, "native")
    assert given["release"] is others_run
