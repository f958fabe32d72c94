"""The state loop: equal to a loop through the runtime's own interface, and safe to hold."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runner.errors import BadInputError
from device_runner.model.step_file import StepModel, load_step_model
from device_runner.stream import Stream, Streams
from device_runner.verify import compare

DRIFT_STEPS = 10_000


@pytest.fixture(
    scope="module", params=[("gru", "float32"), ("gru", "int8"), ("lstm", "int8")], ids="-".join
)
def model(request, step_models) -> StepModel:
    return load_step_model(step_models(*request.param))


@pytest.fixture
def stream(model) -> Stream:
    return Stream(model, "litert")


@pytest.fixture
def int8_stream(int8_file) -> Stream:
    return Stream(int8_file, "litert")


@pytest.fixture
def float32_stream(float32_file) -> Stream:
    return Stream(float32_file, "litert")


def loop_by_hand(model: StepModel, frames: np.ndarray) -> np.ndarray:
    """Return the stored outputs, using only the interpreter's set_tensor and get_tensor."""
    interpreter = Interpreter(model_content=model.flatbuffer)
    interpreter.allocate_tensors()
    contract = model.contract
    signature = model.graph.signature("step")
    states = {
        state.name: np.frombuffer(state.initial_bytes(), state.dtype).reshape(state.shape)
        for state in contract.states
    }
    outputs = []
    for frame in frames:
        x = contract.input.quantize(frame[np.newaxis])
        interpreter.set_tensor(signature.inputs["x"], x)
        for name, value in states.items():
            interpreter.set_tensor(signature.inputs[name], value)
        interpreter.invoke()
        states = {name: interpreter.get_tensor(signature.outputs[name]) for name in states}
        outputs.append(interpreter.get_tensor(signature.outputs["y"])[0])
    return np.array(outputs)


def test_step_and_run_equal_a_loop_by_hand(stream, frames):
    by_hand = stream.model.contract.output.dequantize(loop_by_hand(stream.model, frames))
    stepped = np.array([stream.step(frame) for frame in frames])
    stream.reset()
    run = stream.run(frames)
    assert run.dtype == stepped.dtype == np.float32
    np.testing.assert_array_equal(run, by_hand)
    np.testing.assert_array_equal(stepped, by_hand)
    assert len(np.unique(run, axis=0)) > len(frames) / 2, "the outputs hardly ever change"


def test_step_bytes_are_the_stored_outputs(stream, frames):
    spec = stream.model.contract.input
    stored = [stream.step_bytes(spec.quantize(frame).tobytes()) for frame in frames]
    assert b"".join(stored) == loop_by_hand(stream.model, frames).tobytes()


def test_run_goes_on_where_the_last_one_ended(stream, frames):
    whole = stream.run(frames)
    stream.reset()
    parts = np.concatenate([stream.run(part) for part in np.split(frames, [1, 7, 150])])
    np.testing.assert_array_equal(parts, whole)


def test_state_is_carried(stream, frames):
    first = stream.step(frames[0])
    assert not np.array_equal(stream.step(frames[0]), first)


def test_reset_restores_the_beginning_exactly(stream, frames):
    initial = stream.state_bytes()
    first = stream.run(frames[:20])
    assert stream.state_bytes() != initial
    stream.reset()
    assert stream.state_bytes() == initial
    np.testing.assert_array_equal(stream.run(frames[:20]), first)


def test_initial_state_is_the_contracts(stream):
    states = stream.model.contract.states
    assert stream.state_bytes() == {state.name: state.initial_bytes() for state in states}


def test_state_is_the_output_tensors_bytes(stream, frames):
    signature = stream.model.graph.signature("step")
    for frame in frames[:20]:
        stream.step(frame)
        carried = stream.state_bytes()
        assert len(carried) == len(stream.model.contract.states) > 0
        for name, content in carried.items():
            stored = stream.backend.interpreter.get_tensor(signature.outputs[name])
            assert (
                content == bytes(stream.backend.memories["step"].outputs[name]) == stored.tobytes()
            )


def test_two_streams_of_a_model_do_not_share_their_state(model, frames):
    alone = Stream(model, "litert").run(frames[:10])
    one, other = Stream(model, "litert"), Stream(model, "litert")
    interleaved = []
    for frame in frames[:10]:
        interleaved.append(one.step(frame))
        other.step(-frame)
    np.testing.assert_array_equal(interleaved, alone)


def test_outputs_stay_as_they_were(stream, frames):
    first = stream.step(frames[0])
    kept = first.copy()
    stream.step(frames[1])
    np.testing.assert_array_equal(first, kept)


def test_a_row_and_other_number_types_are_taken(stream, frames):
    whole = np.rint(frames[:5] * 3)
    expected = stream.run(whole)
    for kind in (np.int8, np.int64, np.float16, np.float64):
        stream.reset()
        taken = [stream.step(frame.astype(kind)[np.newaxis]) for frame in whole]
        np.testing.assert_array_equal(taken, expected)


def test_step_and_run_agree_on_float64(int8_stream):
    """Values half between two stored ones, off by less than float32 can tell: step and run must
    round the same number."""
    spec = int8_stream.model.contract.input
    rng = np.random.default_rng(3)
    halves = (rng.integers(-100, 100, (2000, spec.shape[-1])) + 0.5) * spec.scale
    frames = halves * (1 + rng.integers(-2, 3, halves.shape) * 2.0**-25)
    run = int8_stream.run(frames)
    int8_stream.reset()
    stepped = np.array([int8_stream.step(frame) for frame in frames])
    np.testing.assert_array_equal(stepped, run)


def test_no_frames_give_no_outputs(stream, frames):
    before = stream.state_bytes()
    assert stream.run(frames[:0]).shape == (0, stream.model.contract.output.shape[-1])
    assert stream.state_bytes() == before


# Refused inputs


def with_value(value: float) -> np.ndarray:
    frame = np.zeros(12)
    frame[7] = value
    return frame


BAD_FRAMES = {
    "nan": (with_value(math.nan), "nan"),
    "infinity": (with_value(math.inf), "inf"),
    "minus-infinity": (with_value(-math.inf), "inf"),
    "nan-float32": (with_value(math.nan).astype(np.float32), "nan"),
    "both-infinities": (np.array([math.inf, -math.inf] * 6), "inf"),
    "short": (np.zeros(11), "(11,)"),
    "long": (np.zeros(13), "(13,)"),
    "number": (np.float32(1), "()"),
    "empty": (np.zeros(0), "(0,)"),
    "column": (np.zeros((12, 1)), "(12, 1)"),
    "two-frames": (np.zeros((2, 12)), "(2, 12)"),
    "texts": (np.array(["1"] * 12), "dtype"),
    "objects": (np.array([None] * 12), "dtype"),
    "complex": (np.zeros(12, complex), "dtype"),
    "dates": (np.zeros(12, "datetime64[s]"), "dtype"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frame_is_refused_and_changes_nothing(name, stream, frames):
    frame, part = BAD_FRAMES[name]
    expected = stream.run(frames[:6])
    stream.reset()
    stream.run(frames[:5])
    before = stream.state_bytes()
    with pytest.raises(BadInputError) as caught:
        stream.step(frame)
    assert part in caught.value.message
    assert "\n" not in caught.value.message
    assert stream.state_bytes() == before
    np.testing.assert_array_equal(stream.step(frames[5]), expected[5])


@pytest.mark.parametrize(
    ("sequence", "part"),
    [
        (np.array([with_value(0), with_value(math.nan)]), "nan at step 1, channel 7"),
        (np.array([with_value(math.inf), with_value(0)]), "inf at step 0, channel 7"),
        (np.zeros((4, 11)), "(4, 11)"),
        (np.zeros(12), "(12,)"),
        (np.zeros((1, 4, 12)), "(1, 4, 12)"),
        (np.full((4, 12), "1"), "dtype"),
    ],
)
def test_bad_sequence_is_refused_whole(sequence, part, stream, frames):
    stream.run(frames[:5])
    before = stream.state_bytes()
    with pytest.raises(BadInputError) as caught:
        stream.run(sequence)
    assert part in caught.value.message
    assert "\n" not in caught.value.message
    assert stream.state_bytes() == before


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("value", [1e39, -1e300])
@pytest.mark.parametrize("method", ["step", "run"])
def test_value_beyond_float32_is_refused(method, value, float32_stream):
    frame = with_value(value)
    with pytest.raises(BadInputError):
        float32_stream.step(frame) if method == "step" else float32_stream.run(frame[np.newaxis])


@pytest.mark.parametrize("method", ["step", "run"])
def test_ragged_input_is_refused(method, int8_stream):
    with pytest.raises(BadInputError):
        getattr(int8_stream, method)([[1.0, 2.0], [3.0]])


@pytest.mark.filterwarnings("ignore:overflow")
def test_large_finite_values_saturate(int8_stream):
    limits = int8_stream.model.contract.input.dequantize(np.array([-128, 127], np.int8))
    at_limits = int8_stream.step(np.where(np.arange(12) % 2, limits[0], limits[1]))
    int8_stream.reset()
    beyond = int8_stream.step(np.where(np.arange(12) % 2, np.float32(-1e38), np.float32(1e38)))
    np.testing.assert_array_equal(beyond, at_limits)


# Long streams


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_int8_does_not_run_away_from_float_in_a_long_stream(cell, step_models, vowels):
    frames = np.concatenate(vowels.test.sequences).astype(np.float32)
    frames = np.concatenate([frames] * math.ceil(DRIFT_STEPS / len(frames)))[:DRIFT_STEPS]
    quantized, exact = (
        Stream(step_models(cell, scheme), "litert") for scheme in ("int8", "float32")
    )
    reference, outputs = exact.run(frames), quantized.run(frames)
    assert np.isfinite(outputs).all()
    tolerance = quantized.model.contract.tolerance
    tail = DRIFT_STEPS // 10
    for part in (slice(0, tail), slice(DRIFT_STEPS - tail, None)):
        rms, largest, agreement = compare(outputs[part], reference[part])
        assert rms <= tolerance.rms
        assert largest <= tolerance.max_abs
        assert agreement >= tolerance.argmax_agreement
    for state in quantized.model.contract.states:
        stored = np.frombuffer(quantized.state_bytes()[state.name], state.dtype)
        real = np.frombuffer(exact.state_bytes()[state.name], np.float32)
        assert np.mean((stored == -128) | (stored == 127)) < 0.3, "saturated"
        off = np.abs(state.dequantize(stored) - real.ravel())
        assert off.mean() < 0.1 * (real.max() - real.min())


# States that are saved


def test_a_saved_state_goes_on_in_another_stream(stream, model, frames):
    stream.run(frames[:20])
    saved = stream.save_state()
    other = Stream(model, "litert")
    other.load_state(saved)
    np.testing.assert_array_equal(other.run(frames[20:40]), stream.run(frames[20:40]))


def test_another_models_state_is_refused(int8_stream, float32_stream):
    before = float32_stream.state_bytes()
    with pytest.raises(BadInputError, match="saved from another model"):
        float32_stream.load_state(int8_stream.save_state())
    assert float32_stream.state_bytes() == before


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_state_is_refused(int8_file, frames, data):
    int8_stream = Stream(int8_file, "litert")
    int8_stream.run(frames[:5])
    saved = bytearray(int8_stream.save_state())
    if data.draw(st.booleans()):
        saved = saved[: data.draw(st.integers(0, len(saved) - 1))]
    else:
        saved[data.draw(st.integers(0, len(saved) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    before = int8_stream.state_bytes()
    with pytest.raises(BadInputError):
        int8_stream.load_state(bytes(saved))
    assert int8_stream.state_bytes() == before


# Many streams on one model


@pytest.mark.parametrize("backend", ["litert", "native"])
def test_streams_do_not_disturb_each_other(model, frames, backend):
    streams = Streams(model, backend)
    several = [streams.open() for _ in range(3)]
    expected = [Stream(model, backend).run(frames[start : start + 40]) for start in (0, 40, 80)]
    found: list[list[np.ndarray]] = [[], [], []]
    for step in range(40):
        for stream, start, outputs in zip(several, (0, 40, 80), found, strict=True):
            outputs.append(stream.step(frames[start + step]))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("backend", ["litert", "native"])
def test_a_stream_that_waits_can_be_reset_and_saved(model, frames, backend):
    streams = Streams(model, backend)
    one, other = streams.open(), streams.open()
    one.run(frames[:10])
    waiting = one.save_state()
    expected = one.run(frames[10:20])
    other.run(frames[:5])
    one.reset()
    assert one.state_bytes() == Stream(model, backend).state_bytes()
    one.load_state(waiting)
    np.testing.assert_array_equal(one.run(frames[10:20]), expected)


@pytest.mark.parametrize("backend", ["litert", "native"])
def test_streams_may_be_stepped_from_several_threads(model, frames, backend):
    streams = Streams(model, backend)
    expected = Stream(model, backend).run(frames)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(streams.open().run, frames) for _ in range(8)]
        for run in runs:
            np.testing.assert_array_equal(run.result(60), expected)


@pytest.mark.parametrize("saved", [None, "text", 5, [1, 2], {}, b"", bytearray(b"x"), object()])
def test_anything_but_a_saved_state_is_refused(float32_stream, saved):
    with pytest.raises(BadInputError, match="saved state"):
        float32_stream.load_state(saved)
