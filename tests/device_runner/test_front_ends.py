"""Front ends by their descriptions, and of some channels alone."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from device_runner.errors import BadInputError, BadModelError
from device_runner.front_ends import (
    FRONT_ENDS,
    log_mel,
    lpc_cepstrum,
    narrowed_front_end,
    sample_frames,
    samples,
    sound_front_end,
    spelled_words,
    spelling,
    tokenizer,
)
from device_runner.front_ends.mel import Mel
from device_runner.front_ends.mel_columns import Columns
from device_runner.front_ends.text import describe_pieces
from device_runner.model.step_file import load_step_model
from device_runner.sources import csv_frames
from models.tasks import TASKS

WHOLE = {
    "log-mel": log_mel.describe(every=2),
    "lpc-cepstrum": {"kind": lpc_cepstrum.KIND},
    "mel": Mel(8000, 200, 80, 20, 13).describe(),
}


@pytest.fixture
def blocks():
    noise = np.random.default_rng(1).normal(0, 1000, (60, 64)).astype(np.int16)
    return list(noise)


@pytest.mark.parametrize("front_end", WHOLE.values(), ids=WHOLE)
def test_some_channels_alone(front_end, blocks):
    whole = np.array(list(sound_front_end(front_end).frames(blocks)))
    assert len(whole) > 3
    once = narrowed_front_end(front_end, [7, 0, 11])
    twice = narrowed_front_end(once, [2, 0])
    for narrowed, channels in ((once, [7, 0, 11]), (twice, [11, 7])):
        made = sound_front_end(narrowed)
        assert made.sample_rate == sound_front_end(front_end).sample_rate
        np.testing.assert_array_equal(np.array(list(made.frames(blocks))), whole[:, channels])


@pytest.mark.parametrize("kept", [[12], [-1], [0.5], [True], "all", 3])
def test_channels_that_are_not_made_are_refused(kept):
    with pytest.raises(BadModelError, match="0 to 11; export the model again"):
        sound_front_end({**WHOLE["lpc-cepstrum"], "kept_channels": kept})


@pytest.mark.parametrize("front_end", [None, {"kind": "words", "words": []}])
def test_what_is_no_sound_has_no_front_end_of_sound(front_end):
    assert sound_front_end(front_end) is None


DESCRIPTIONS = {
    **WHOLE,
    "characters": {"kind": "characters", "alphabet": "ab"},
    "words": {"kind": "words", "vocabulary": ["a", "b"]},
    "pieces": describe_pieces(["a", "b"]),
    "samples": samples.describe(2, channels=3),
    "spelled-words": spelling.describe(["one", "two"], Columns().describe()),
}


@pytest.mark.parametrize("kind", FRONT_ENDS)
def test_each_front_end_of_the_list_has_its_reader(kind):
    """A description without a reader is a promise to nobody."""
    readers = {
        "sound": sound_front_end,
        "text": tokenizer,
        "samples": sample_frames,
        "spelling": spelled_words,
    }
    found = {medium: read(DESCRIPTIONS[kind]) for medium, read in readers.items()}
    assert [medium for medium, one in found.items() if one] == [FRONT_ENDS[kind].medium]


@pytest.mark.parametrize("task", TASKS)
def test_no_task_names_a_front_end_that_is_not_listed(task):
    """In the tasks' sources, as their data takes minutes to make."""
    source = inspect.getsource(sys.modules[TASKS[task].__module__])
    for kind in re.findall(r'"kind": "([^"]+)"', source):
        assert kind in FRONT_ENDS


# Frames of samples: of a sensor of 3 channels, and of a model that takes 2 samples at a time


@pytest.fixture
def contract(int8_file):
    contract = load_step_model(int8_file).contract
    x = replace(contract.input, shape=(1, 6))
    return replace(contract, inputs=(x,), front_end=samples.describe(2, channels=3))


def lines_to_frames(lines, contract):
    found = csv_frames(lines, contract)
    return [(number, frame if frame is None else frame.tolist()) for number, frame in found]


def test_samples_are_gathered_into_frames(contract):
    lines = ["1,2,3", "4,5,6", "7,8,9", "10,11,12", "13,14,15"]
    assert lines_to_frames(lines, contract) == [
        (2, [1, 2, 3, 4, 5, 6]),
        (4, [7, 8, 9, 10, 11, 12]),
    ]


def test_a_new_sequence_begins_with_a_new_frame(contract):
    assert lines_to_frames(["1,2,3", "", "4,5,6", "7,8,9"], contract) == [
        (2, None),
        (4, [4, 5, 6, 7, 8, 9]),
    ]


def test_whole_frames_are_taken_as_before(contract):
    assert lines_to_frames(["1,2,3,4,5,6"], contract) == [(1, [1, 2, 3, 4, 5, 6])]


def test_a_model_of_some_inputs_takes_whole_samples(contract):
    narrowed = narrowed_front_end(contract.front_end, [5, 0, 1])
    x = replace(contract.input, shape=(1, 3))
    # A frame of the model is as long as a sample here: the line is a sample, as described.
    narrow = replace(contract, inputs=(x,), front_end=narrowed)
    assert lines_to_frames(["1,2,3", "4,5,6"], narrow) == [(2, [6, 1, 2])]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,2,3", "4,5"], "line 2: it has 2 values, the sample of the line before 3"),
        (["1,2,3", "1,2,3,4,5,6"], "line 2: it has 6 values, the sample of the line before 3"),
        (["1,2"], "line 1: it has 2 values, the model takes 6"),
        (["1,a,3"], "line 1: could not convert string to float: 'a'"),
    ],
)
def test_other_lines_are_named(lines, message, contract):
    with pytest.raises(BadInputError, match=message):
        lines_to_frames(lines, contract)


def test_an_early_file_that_does_not_tell_the_channels_takes_whole_frames(contract):
    early = replace(contract, front_end={"kind": "samples", "samples_per_frame": 2})
    assert lines_to_frames(["1,2,3,4,5,6"], early) == [(1, [1, 2, 3, 4, 5, 6])]


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"samples_per_frame": "2"}, {"channels": 1e9}])
def test_a_damaged_description_is_refused(wrong, contract):
    damaged = replace(contract, front_end={**contract.front_end, **wrong})
    with pytest.raises(BadModelError, match="export the model again"):
        lines_to_frames(["1,2,3"], damaged)
