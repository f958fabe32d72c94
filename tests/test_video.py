"""Video, a picture at a time: shapes that move are told apart by a step model, and the benchmark
measures a clip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device_runner.stream import Stream

ROOT = Path(__file__).parents[1]
SIZE, STEPS = 16, 8
DIRECTIONS = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])


def moving_squares(count, seed):
    """Squares of three pixels that move by one in each step: pictures [count, steps, size, size, 1]
    with noise, and their directions [count]."""
    generator = np.random.default_rng(seed)
    directions = generator.integers(0, 4, count)
    pictures = generator.normal(0, 0.1, (count, STEPS, SIZE, SIZE, 1)).astype(np.float32)
    starts = generator.integers(0, SIZE, (count, 2))
    rows = np.arange(3)
    for number, (start, direction) in enumerate(zip(starts, directions, strict=True)):
        for step in range(STEPS):
            top, left = start + step * DIRECTIONS[direction]
            square = np.ix_((top + rows) % SIZE, (left + rows) % SIZE)
            pictures[number, step, :, :, 0][square] += 1
    return pictures, directions


@pytest.mark.slow
def test_directions_of_moving_squares_are_recognized_in_int8(tmp_path):
    """One picture does not tell a direction: the state must."""
    import tf_keras as keras

    from convert.file_conversion import convert_file

    keras.utils.set_random_seed(1)
    layers = keras.layers
    network = keras.Sequential(
        [
            layers.InputLayer((None, SIZE, SIZE, 1)),
            layers.TimeDistributed(
                layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")
            ),
            layers.TimeDistributed(layers.Flatten()),
            layers.GRU(48, return_sequences=True),
            layers.Dense(4),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(3e-3), loss)
    pictures, directions = moving_squares(2000, 1)
    wanted = np.repeat(directions[:, np.newaxis], STEPS, 1)
    network.fit(pictures, wanted, batch_size=50, epochs=8, verbose=0)
    network.save(tmp_path / "squares.keras")
    converted = convert_file(
        tmp_path / "squares.keras", "cpu", data=list(pictures[:200]), scheme="int8",
        frame_period_s=0.04,
    )  # fmt: skip
    stream = Stream(converted.path, "litert")
    tested, directions = moving_squares(100, 2)
    decided = []
    for clip in tested:
        stream.reset()
        decided.append(np.asarray(stream.run(clip))[-1].argmax())
    assert np.mean(np.array(decided) == directions) > 0.9


@pytest.mark.slow
def test_the_benchmark_measures_a_clip(tmp_path):
    cv2 = pytest.importorskip("cv2")
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for number in range(60):
        writer.write(np.full((48, 64, 3), 4 * number, np.uint8))
    writer.release()
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "video_step.py", "--sizes", "24", "--clip", clip],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("| 24 x 24 |") == 2
