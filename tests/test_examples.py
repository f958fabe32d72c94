"""The examples that run a model live, from files."""

import re
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_runner.front_ends import log_mel, narrowed_front_end
from device_runner.front_ends.mel_columns import MARGIN
from device_runner.model.step_file import load_step_model, pack
from device_runner.stream import Stream
from device_runner.synthesis import Voice
from device_runner.transcription import GreedyDecoder, PrefixBeamDecoder
from tests import hand_made_steps
from tests.conftest import KEPT_STEP_MODELS
from tests.speaking_model import write_speaking_model

ROOT = Path(__file__).parents[1]
KEPT = KEPT_STEP_MODELS / "gru-float32.tflite"
FRAMES = np.random.default_rng(4).normal(size=(60, 12)).astype(np.float32).round(3) * 2


@pytest.fixture
def frames(tmp_path):
    path = tmp_path / "frames.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in FRAMES.tolist()) + "\n")
    return path


def run(example, *arguments):
    command = [sys.executable, ROOT / "examples" / example, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("beam", [1, 4])
def test_words_are_printed_as_they_come(frames, tmp_path, beam):
    kept = load_step_model(KEPT)
    path = tmp_path / "words.tflite"
    contract = replace(kept.contract, output_meaning="transcript")
    path.write_bytes(pack(kept.flatbuffer, contract, kept.labels, kept.golden))
    stream = Stream(path)
    decoder = GreedyDecoder() if beam == 1 else PrefixBeamDecoder(beam)
    expected, said = [], []
    for frame in FRAMES:
        found = decoder.step(stream.step(frame))
        if found != said:
            expected.append(" ".join(stream.model.labels[label] for label in found))
        said = found
    lines = run("words_live.py", path, frames, beam)
    assert [line.split(" s  ")[1] for line in lines] == expected
    assert len(lines) > 2


def test_words_are_heard_in_a_wav_file(tmp_path):
    pytest.importorskip("pymicro_features")
    kept = load_step_model(KEPT)
    front_end = narrowed_front_end(log_mel.describe(every=3), list(range(12)))
    contract = replace(kept.contract, output_meaning="transcript", front_end=front_end)
    path, sound = tmp_path / "words.tflite", tmp_path / "sound.wav"
    path.write_bytes(pack(kept.flatbuffer, contract, kept.labels, kept.golden))
    samples = np.random.default_rng(5).normal(0, 2000, 2 * log_mel.SAMPLE_RATE).astype("<i2")
    samples[10_000:20_000] //= 100
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, log_mel.SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    frames = log_mel.LogMel(log_mel.describe(every=3))(samples)[:, :12]
    decoder = GreedyDecoder()
    found = [decoder.step(row) for row in Stream(KEPT).run(frames)][-1]
    words = " ".join(kept.labels[label] for label in found)
    lines = run("words_live.py", path, f"wav:{sound}")
    assert found
    assert lines[-1].split(" s  ")[1] == words


def test_a_forecast_is_printed_after_each_line(frames):
    lines = run("forecast_live.py", KEPT, frames)
    assert len(lines) == len(FRAMES)
    y = Stream(KEPT).run(FRAMES)[-1]
    printed = [float(value) for value in re.findall(r": (\S+?)(?:,|$)", lines[-1])]
    np.testing.assert_allclose(printed, y, rtol=1e-3)


def test_a_decision_is_printed_after_each_line(frames):
    lines = run("classify_live.py", KEPT, frames)
    stream = Stream(KEPT)
    decided = [stream.model.labels[row.argmax()] for row in stream.run(FRAMES)]
    assert [re.fullmatch(r"\d+ (.+) \S+", line)[1] for line in lines] == decided


def test_a_text_is_spoken(tmp_path):
    pytest.importorskip("librosa", reason="librosa is not installed; run 'make test-synthesis'")
    path, output = tmp_path / "voice.tflite", tmp_path / "speech.wav"
    columns = write_speaking_model(path)
    lines = run("speak_live.py", path, "one is 2", output)
    expected = len(list(Voice(Stream(path)).text("one is two")))
    assert f"s of speech in {expected} columns" in lines[0]
    with wave.open(str(output)) as sound:
        assert sound.getparams()[:3] == (1, 2, columns.sample_rate)
        length = sound.getnframes() / columns.hop
        assert length == pytest.approx(expected + 2 * MARGIN, abs=2)
        assert any(sound.readframes(sound.getnframes()))


HEIGHT, WIDTH = 12, 16


def picture_step(x, h):
    """A step over a picture: its rows' means and the state give the new state and four scores."""
    import tensorflow as tf

    means = tf.reshape(tf.reduce_mean(x, [2, 3]), (1, HEIGHT))
    h = tf.tanh(2 * means - 0.5 + 0.5 * h)
    return {"y": tf.reshape(tf.reduce_sum(tf.reshape(h, (1, 4, 3)), 2), (1, 4)), "h": h}


def test_a_decision_is_printed_for_each_picture_of_a_clip(tmp_path, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    made = hand_made_steps.Made(
        picture_step,
        {"x": hand_made_steps._floats(1, HEIGHT, WIDTH, 3)},
        {"h": hand_made_steps._floats(1, HEIGHT)},
    )
    monkeypatch.setitem(hand_made_steps.MADE, "picture", made)
    model = hand_made_steps.step_model("picture", tmp_path)
    clip = str(tmp_path / "clip.avi")
    writer = cv2.VideoWriter(clip, cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for number in range(20):
        picture = np.full((48, 64, 3), 20, np.uint8)
        picture[2 * number : 2 * number + 10, 10:50] = (30, 200, 90)
        writer.write(picture)
    writer.release()
    capture, pictures = cv2.VideoCapture(clip), []
    while len(pictures) < 20:
        smaller = cv2.resize(capture.read()[1], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        pictures.append(np.float32(smaller[..., ::-1]) / 255)
    y = Stream(model.path).run(np.stack(pictures))
    lines = run("video_live.py", model.path, clip)
    decided = [model.labels[row.argmax()] for row in y]
    assert [re.fullmatch(r"\d+ (.+) \S+", line)[1] for line in lines] == decided
    assert len(set(decided)) > 1
