"""Decoders of transcripts: each frame by itself, and all ways to say the same."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runner.cli import main
from device_runner.errors import BadInputError
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from device_runner.transcription import (
    GreedyDecoder,
    PrefixBeamDecoder,
    check_transcribes,
)


def collapsed(path):
    """What a path of labels says."""
    return tuple(label for label, _ in itertools.groupby(path) if label)


def likeliest_transcript(logits):
    """The likeliest transcript and its probability, over every path."""
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    sums = defaultdict(float)
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        sums[collapsed(path)] += math.prod(
            probabilities[step, label] for step, label in enumerate(path)
        )
    return sums


@given(st.integers(0, 10_000), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_wide_beam_finds_the_likeliest_of_all_transcripts(seed, steps):
    logits = np.random.default_rng(seed).normal(size=(steps, 4)) * 1.5
    decoder = PrefixBeamDecoder(width=400)
    for one in logits:
        found = decoder.step(one)
    sums = likeliest_transcript(logits)
    assert sums[tuple(found)] == pytest.approx(max(sums.values()))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_certain_frames_say_the_same_to_both(path):
    greedy, beam = GreedyDecoder(), PrefixBeamDecoder(width=4)
    for label in path:
        logits = np.full(4, -20.0)
        logits[label] = 20
        found = greedy.step(logits), beam.step(logits)
    assert found[0] == found[1] == list(collapsed(path))


def test_the_sum_of_many_ways_beats_the_likeliest_path():
    """Each frame's likeliest label is the blank, but most ways say 1."""
    logits = np.log([[0.6, 0.4], [0.6, 0.4]])
    greedy, beam = GreedyDecoder(), PrefixBeamDecoder()
    for one in logits:
        found = greedy.step(one), beam.step(one)
    assert found == ([], [1])  # 0.36 for nothing, 0.64 for 1


def test_long_streams_stay_finite_and_resets_begin_anew():
    decoder = PrefixBeamDecoder()
    chance = np.random.default_rng(2)
    for _ in range(5000):
        found = decoder.step(chance.normal(0, 1, 5) + np.eye(5)[0] * 6)
    assert all(np.isfinite(sum(ends)) or -math.inf in ends for ends in decoder._beam.values())
    assert len(found) < 5000
    decoder.reset()
    assert decoder.step([5, 0, 0, 0, 0]) == []


def test_another_model_is_refused(int8_file):
    with pytest.raises(BadInputError, match="gives logits, not a transcript"):
        check_transcribes(load_step_model(int8_file))


@pytest.mark.parametrize("beam", [1, 4])
def test_stream_prints_the_transcript_when_it_changes(tmp_path, beam):
    from tests.hand_made_steps import MADE, step_model

    model = step_model("two", tmp_path, output_meaning="transcript")
    frames = MADE["two"].frames(40, 5)
    stream = Stream(model, "litert")
    decoder = GreedyDecoder() if beam == 1 else PrefixBeamDecoder(beam)
    expected, said = [], []
    rows = np.concatenate([frames["x"], frames["context"]], 1)
    for number in range(40):
        y = stream.step({name: values[number] for name, values in frames.items()})
        found = decoder.step(next(iter(y.values())))
        if found != said:
            said = found
            expected.append(f"{number + 1},{' '.join(model.labels[one] for one in found)}")
    assert len(expected) > 3
    lines = "\n".join(",".join(map(repr, row.tolist())) for row in rows)
    command = ["stream", str(model.path), "--backend", "litert", "--beam", str(beam)]
    result = CliRunner().invoke(main, command, input=lines)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == expected
