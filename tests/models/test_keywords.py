"""The loader of the Speech Commands layout, and the synthetic speech that comes in it."""

from __future__ import annotations

import json
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from device_runner.front_ends.log_mel import SAMPLE_RATE, LogMel
from models.errors import MissingDataError, ModelsError
from models.tasks import data_facts, keywords, synthetic_speech
from models.tasks.keyword_clips import find_clips, speaker_part, split
from models.tasks.keywords import FRONT_END, LABELS, SILENCE, STEPS, load_folder
from models.tasks.synthetic_speech import CLIP_SAMPLES, KEYWORDS, SPEAKERS, Speaker

WORDS = (*KEYWORDS, "bed", "cat")
PEOPLE = {"training": ("ana", "ben"), "validation": ("cem",), "test": ("dot",)}

needs_synthesizers = pytest.mark.skipif(
    not all(map(shutil.which, synthetic_speech.PROGRAMS)),
    reason="needs flite and espeak-ng (apt install flite espeak-ng)",
)


def write_wav(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of the data set's layout with a tone for each word, a little off for each person."""
    times = np.arange(CLIP_SAMPLES) / SAMPLE_RATE
    people = [person for part in PEOPLE.values() for person in part]
    for number, word in enumerate(WORDS):
        for detune, person in enumerate(people):
            hertz = 300 + 200 * number + 5 * detune
            tone = 5000 * np.sin(2 * np.pi * hertz * times)
            write_wav(tmp_path / word / f"{person}_nohash_0.wav", tone)
    noise = 500 * np.random.default_rng(1).standard_normal(21 * SAMPLE_RATE)
    write_wav(tmp_path / "_background_noise_" / "hiss.wav", noise)
    for part, name in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
        lines = [f"{word}/{person}_nohash_0.wav\n" for word in WORDS for person in PEOPLE[part]]
        (tmp_path / name).write_text("".join(lines))
    (tmp_path / "README.md").write_text("not a word")
    return tmp_path


@pytest.fixture
def task(folder):
    return load_folder(folder, "keywords", "a test's tones")


def test_a_second_of_sound_is_fifty_frames(task):
    assert (STEPS, task.frame_period_s) == (50, 0.02)
    for data in (task.train, task.validation, task.test):
        assert {(s.shape, s.dtype) for s in data.sequences} == {((50, 40), np.dtype(np.float32))}
    assert task.front_end == json.loads(json.dumps(FRONT_END))


def test_a_tenth_of_unknown_words_and_of_silence_is_added(task):
    assert task.labels == ("silence", "unknown", *KEYWORDS)
    assert np.bincount(task.train.labels).tolist() == [2, 2, *[2] * 10]
    assert np.bincount(task.test.labels).tolist() == [1, 1, *[1] * 10]


def test_people_are_on_the_side_of_their_list(folder, task):
    parts = split(folder, find_clips(folder))
    found = {part: {clip.speaker for clip in clips} for part, clips in parts.items()}
    assert found == {part: set(people) for part, people in PEOPLE.items()}
    spoken = [data.groups[data.labels != SILENCE] for data in (task.train, task.test)]
    assert [set(groups) for groups in spoken] == [{0, 1}, {3}]
    assert set(task.train.groups[task.train.labels == SILENCE]) == {-1}


def test_without_lists_a_speaker_is_on_one_side(folder):
    for file in folder.glob("*_list.txt"):
        file.unlink()
    for path in list(folder.glob("*/ana_nohash_0.wav")):
        for person in ("eva", "fay", "gus", "hal", "ina", "jon", "kim", "leo", "mia", "ned"):
            shutil.copy(path, path.with_name(f"{person}_nohash_0.wav"))
    parts = split(folder, find_clips(folder))
    speakers = [{clip.speaker for clip in clips} for clips in parts.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 14
    shares = np.unique([speaker_part(f"{n:08x}") for n in range(5000)], return_counts=True)[1]
    np.testing.assert_allclose(shares / 5000, [0.1, 0.8, 0.1], atol=0.02)


def test_a_test_clip_is_what_a_device_hears_after_another_clip_of_the_speaker(folder, task):
    """The frames of the clip's own second, computed here from the two files."""
    (index,) = np.flatnonzero(task.test.labels == LABELS.index("down"))

    def samples(word: str) -> np.ndarray:
        with wave.open(str(folder / word / "dot_nohash_0.wav")) as sound:
            return np.frombuffer(sound.readframes(CLIP_SAMPLES), "<i2")

    # The words of a speaker are heard in the order of their names: cat, down.
    heard = LogMel(FRONT_END)(np.concatenate([samples("cat"), samples("down")]))
    np.testing.assert_array_equal(task.test.sequences[index], heard[-50:])


def test_training_clips_are_noisy_and_the_others_are_not_touched(folder, task):
    again = load_folder(folder, "keywords", "")
    for data, same in ((task.train, again.train), (task.test, again.test)):
        np.testing.assert_array_equal(data.padded, same.padded)
    noise = folder / "_background_noise_" / "hiss.wav"
    with wave.open(str(noise)) as sound:
        content = np.frombuffer(sound.readframes(10**7), "<i2")
    write_wav(noise, content[::-1])
    changed = load_folder(folder, "keywords", "")
    spoken = task.test.labels != SILENCE
    np.testing.assert_array_equal(changed.test.padded[spoken], task.test.padded[spoken])
    assert (changed.train.padded != task.train.padded).any()


def test_a_short_clip_is_followed_by_silence_and_a_long_one_is_cut(folder):
    for seconds in (0.5, 1.5):
        tone = np.full(round(seconds * SAMPLE_RATE), 1000)
        write_wav(folder / "bed" / "ana_nohash_0.wav", tone)
        assert load_folder(folder, "keywords", "").train.sequences[0].shape == (50, 40)


def test_the_variable_names_the_real_set(folder, monkeypatch):
    monkeypatch.setenv(keywords.FOLDER_VARIABLE, str(folder))
    found = keywords.load()
    assert found.name == "keywords"
    assert "Warden" in found.source
    assert keywords.load() is found
    monkeypatch.setenv(keywords.FOLDER_VARIABLE, str(folder / "nowhere"))
    with pytest.raises(MissingDataError, match="there is no folder"):
        keywords.load()
    monkeypatch.delenv(keywords.FOLDER_VARIABLE)
    with pytest.raises(MissingDataError, match="set EDGESTEP_SPEECH_COMMANDS to the folder"):
        keywords.load()


def test_other_files_are_other_data(folder, monkeypatch):
    monkeypatch.setenv(keywords.FOLDER_VARIABLE, str(folder))
    facts = data_facts("keywords")
    assert facts == json.loads(json.dumps(facts)) == data_facts("keywords")
    (folder / "go" / "ben_nohash_0.wav").rename(folder / "go" / "bob_nohash_0.wav")
    assert data_facts("keywords") != facts
    assert data_facts("watch-exercises") == {}


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: remove(f / "stop"), "no recordings .* of the words stop"),
        (lambda f: (remove(f / "bed"), remove(f / "cat")), "of words beside the keywords"),
        (lambda f: remove(f / "testing_list.txt"), "has validation_list.txt alone"),
        (lambda f: (f / "testing_list.txt").write_text(""), "no test recordings of 'yes'"),
        (lambda f: (f / "testing_list.txt").write_text("go/x.wav"), "1 files .* as go/x.wav"),
        (lambda f: remove(f / "_background_noise_"), "no WAV file of at least 20 seconds"),
        (lambda f: (f / "go" / "ana_nohash_0.wav").write_text("RIFF"), "cannot be read"),
        (
            lambda f: write_wav(f / "go" / "ana_nohash_0.wav", np.zeros(9), rate=8000),
            "16 bits at 8000 Hz; the data set's files are mono",
        ),
    ],
)
def test_what_is_not_the_data_set_is_refused_in_one_line(spoil, message, folder):
    spoil(folder)
    with pytest.raises(ModelsError, match=message) as caught:
        load_folder(folder, "keywords", "")
    assert str(folder) in caught.value.message
    assert "\n" not in caught.value.message


def test_held_out_voices_occur_in_one_part():
    names = [speaker.name for speaker in SPEAKERS]
    assert len(set(names)) == len(names)
    # Neither do the variants of espeak-ng's voices, whatever the accent.
    variants = [speaker.voice.partition("+")[2] for speaker in SPEAKERS if "+" in speaker.voice]
    assert len(set(variants)) == len(variants)
    held_out = [speaker.held_out for speaker in SPEAKERS]
    assert [held_out.count(part) for part in ("", "validation", "test")] == [50, 9, 18]


def test_synthetic_speech_has_the_layout_and_is_the_same_again(small_speech, tmp_path):
    task = load_folder(small_speech, "keywords-synthetic", "")
    for data in (task.train, task.validation, task.test):
        assert np.bincount(data.labels, minlength=12).tolist() == [1] * 12
    again = tmp_path / "again"
    synthetic_speech.generate(
        again, (Speaker("flite", "slt", "test"),), ("yes",), takes=1, others=0, noise_seconds=21
    )
    files = [path.relative_to(again) for path in again.rglob("*.wav")]
    assert len(files) == 1 + 5
    for file in files:
        assert (small_speech / file).read_bytes() == (again / file).read_bytes()


@needs_synthesizers
def test_a_voice_that_is_not_there_is_named(tmp_path):
    for speaker in (Speaker("espeak-ng", "en+nobody"), Speaker("flite", "nobody")):
        with pytest.raises(MissingDataError, match=r"has no voice '.*nobody'"):
            synthetic_speech.generate(tmp_path / "speech", (speaker,))
    assert not (tmp_path / "speech").exists()


def test_without_the_synthesizers_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingDataError, match="apt install flite espeak-ng"):
        keywords.load_synthetic()
    made = synthetic_speech.default_folder()
    made.mkdir(parents=True)
    with pytest.raises(ModelsError, match="holds no synthetic speech"):
        synthetic_speech.ensure()
    (made / "synthetic.json").write_text("{}")
    with pytest.raises(ModelsError, match="holds no synthetic speech"):
        synthetic_speech.ensure()
    (made / "synthetic.json").write_text('{"made_by": "another machine"}')
    assert synthetic_speech.ensure() == made
