"""Sound to decision: a small network of keywords, trained, exported in int8, and heard a WAV file
by the example of live use."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_runner.model.step_file import load_step_model
from models.tasks.keyword_clips import Clip, find_clips
from models.tasks.keywords import FRONT_END, load_folder
from models.tasks.synthetic_speech import KEYWORDS

EXAMPLE = Path(__file__).parents[2] / "examples/keyword_live.py"


@pytest.fixture(scope="module")
def keyword_model(small_speech, tmp_path_factory) -> Path:
    """An int8 step model that knows one voice's words by heart."""
    import tf_keras as keras

    from calibration.rollout import long_streams
    from convert.export import export, float_step
    from models.network import Architecture
    from models.training import fit
    from models.training_settings import TrainingSettings

    task = load_folder(small_speech, "keywords-synthetic", "synthetic")
    task = replace(task, validation=task.train, test=task.train)
    keras.utils.set_random_seed(1)
    architecture = Architecture("gru", (32,), len(task.channels), len(task.labels))
    network = architecture.build()
    network.get_layer("normalization").adapt(*task.normalization)
    fit(network, task, TrainingSettings(epochs=50, batch_size=6, learning_rate=1e-2))
    step = float_step(network)
    ranges = step.calibrate(long_streams(task.train.sequences, 4000, 1))
    path = tmp_path_factory.mktemp("keywords") / "gru-int8.tflite"
    export(network, architecture, task, "int8", path, step, ranges)
    return path


@pytest.fixture(scope="module")
def recording(small_speech, tmp_path_factory) -> tuple[Path, list[Clip]]:
    """A WAV file in which the known voice says all its words, a second each, and what it says."""
    (speaker,) = {clip.speaker for clip in find_clips(small_speech)} - {
        line.split("/")[1].split("_")[0]
        for name in ("validation_list.txt", "testing_list.txt")
        for line in (small_speech / name).read_text().split()
    }
    clips = [clip for clip in find_clips(small_speech) if clip.speaker == speaker]
    path = tmp_path_factory.mktemp("recording") / "words.wav"
    with wave.open(str(path), "wb") as target:
        for position, clip in enumerate(clips):
            with wave.open(str(small_speech / clip.file)) as sound:
                if position == 0:
                    target.setparams(sound.getparams())
                target.writeframes(sound.readframes(sound.getnframes()))
    return path, clips


def run(root: Path, *arguments: object) -> list[str]:
    process = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=120,
        check=True, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    return process.stdout.splitlines()


def test_the_contract_tells_the_front_end(keyword_model):
    assert load_step_model(keyword_model).contract.front_end == FRONT_END


def test_the_example_hears_the_words_of_a_wav_file(keyword_model, recording):
    path, clips = recording
    lines = run(EXAMPLE.parents[1], EXAMPLE, keyword_model, f"wav:{path}")
    heard = [(float(line.split()[0]), line.split()[2]) for line in lines]
    assert {word for _, word in heard} <= set(KEYWORDS)
    right = [word for seconds, word in heard if clips[min(int(seconds), 10)].word == word]
    assert len(right) >= 7


def test_a_wav_file_is_streamed_frame_by_frame(keyword_model, recording):
    path, clips = recording
    root = EXAMPLE.parents[1]
    lines = run(root, "-m", "device_runner", "stream", keyword_model, f"wav:{path}")
    with wave.open(str(path)) as sound:
        # A frame every 20 ms from the first whole window of 30 ms on.
        assert len(lines) == (sound.getnframes() - 480) // 320 + 1
    # After the last frame of a clip the decision is mostly its word.
    last = [lines[50 * second - 2].split(",")[1] for second in range(1, len(clips) + 1)]
    assert np.mean([word == clip.word for word, clip in zip(last, clips, strict=True)]) > 0.6
