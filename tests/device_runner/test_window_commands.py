"""The commands on a model that answers for its last 7 frames, every 3; it needs no TensorFlow."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from device_runner.errors import BadModelError
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream, Streams
from device_runner.verify import verify
from tests.conftest import KEPT_STEP_MODELS

FILE = KEPT_STEP_MODELS / "window-7-3-lanes-int8.tflite"
ANSWERED = (6, 9, 12, 15, 18)
# Of the frames so far, before the first window is full.
EARLY = (0, 3)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(8).normal(0, 1, (20, 3)).astype(np.float32)


def lines_of(frames: np.ndarray) -> str:
    return "\n".join(",".join(map(repr, frame.tolist())) for frame in frames)


def test_steps_and_states(frames):
    stream = Stream(FILE)
    wanted = stream.run(frames)
    assert np.flatnonzero(np.isfinite(wanted[:, 0])).tolist() == [*EARLY, *ANSWERED]
    streams = Streams(FILE)
    one, other = streams.open(), streams.open()
    for number, (frame, y) in enumerate(zip(frames, wanted, strict=True)):
        np.testing.assert_array_equal(one.step(frame), y)
        assert one.answered == (number in ANSWERED)
        other.load_state(one.save_state())
        assert other.answered == one.answered
        assert other.state_bytes() == one.state_bytes()
    reference = Stream(FILE, "reference").run(frames)
    np.testing.assert_array_equal(np.isnan(reference), np.isnan(wanted))
    assert np.nanmax(np.abs(reference - wanted)) < 0.05


def test_verify_compares_answers_only(invoke):
    model = load_step_model(FILE)
    assert verify(Stream(FILE)).steps == np.isfinite(model.golden.y[:, 0]).sum()
    result = invoke("verify", FILE)
    assert result.exit_code == 0, result.output
    assert "7 steps" in result.stdout
    golden = replace(model.golden, outputs={"y": model.golden.y + np.float32(0.5)})
    assert verify(Stream(replace(model, golden=golden))).failure is not None


def test_inspect_says_the_window(invoke):
    text = invoke("inspect", FILE).stdout
    assert "window: answers for the last 7 frames, every 3 frames, 3 lanes" in text
    facts = json.loads(invoke("inspect", FILE, "--json").stdout)
    assert facts["contract"]["window"] == {"steps": 7, "hop": 3, "lanes": 3}


def test_stream_prints_answers_only(invoke, frames):
    result = invoke("stream", FILE, input=lines_of(frames))
    assert result.exit_code == 0, result.output
    printed = [line.split(",") for line in result.stdout.splitlines()]
    assert [int(line[0]) for line in printed] == [frame + 1 for frame in ANSWERED]
    wanted = Stream(FILE).run(frames)[list(ANSWERED)]
    np.testing.assert_allclose(np.array([line[2:] for line in printed], float), wanted, rtol=1e-4)


def test_stream_says_that_the_input_was_too_short(invoke, frames):
    result = invoke("stream", FILE, input=lines_of(frames[:6]))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "the input ended after 6 frames, without an answer" in result.stderr
    assert "first at the frame 7 after a reset" in result.stderr


def test_bench_counts_frames(invoke, frames):
    arguments = ("bench", FILE, "--steps", 100, "--rounds", 1, "--warmup", 0)
    (line,) = invoke(*arguments, "--json").stdout.splitlines()
    facts = json.loads(line)
    assert facts["valid"], facts["invalid_reason"]
    assert facts["window"] == {"steps": 7, "hop": 3, "lanes": 3}
    assert facts["latency_ns"]["step"]["samples"] == 100
    text = invoke(*arguments).stdout
    assert "3 lanes; a step is a frame, with an answer or not" in text


def test_a_gpu_is_refused():
    with pytest.raises(BadModelError, match="answers for its last frames, which litert-gpu"):
        Stream(FILE, "litert-gpu")
