"""Spoken words made by speech synthesizers, in the folder layout of Google Speech Commands.

    python -m models.tasks.synthetic_speech [FOLDER]

SYNTHETIC speech: formant and diphone voices of Debian's flite and espeak-ng stand in for people,
computed noise for rooms. It shows that a keyword model can be trained, converted and stepped; how
well one recognizes people, only recordings of people can tell.

Each voice is a speaker with a tempo, a pitch and a noise of its own. The speakers of the validation
and the test list occur nowhere else. Everything is drawn from fixed seeds: the same versions of the
two programs give the same files.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import wave
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import MissingDataError, ModelsError
from models.tasks.package_file import cache_folder

SAMPLE_RATE = 16_000
CLIP_SAMPLES = SAMPLE_RATE
NOISE_FOLDER = "_background_noise_"
VALIDATION_LIST, TESTING_LIST = "validation_list.txt", "testing_list.txt"
FACTS_FILE = "synthetic.json"
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
OTHER_WORDS = (
    "backward", "bed", "bird", "cat", "dog", "eight", "five", "follow", "forward", "four",
    "happy", "house", "learn", "marvin", "nine", "one", "seven", "sheila", "six", "three",
    "tree", "two", "visual", "wow", "zero",
)  # fmt: skip
TAKES = 4
OTHER_WORDS_PER_SPEAKER = 8
NOISE_SECONDS = 60
SEED = 2018
# Changes with what is made of the same settings, so that folders made before are made again.
GENERATION = 1
# A synthesizer's fade-in and fade-out below this share of the peak is cut away.
TRIM_BELOW = 0.02
PROGRAMS = ("flite", "espeak-ng")
# The usual pitch of flite's voices.
FLITE_PITCH_HZ = {"kal": 95, "kal16": 95, "awb": 130, "rms": 95, "slt": 170}


@dataclass(frozen=True)
class Speaker:
    """A voice of a synthesizer, and the list ("", "validation" or "test") it is held out for."""

    program: str
    voice: str
    held_out: str = ""

    @property
    def name(self) -> str:
        """As the data set names people: eight hexadecimal digits."""
        return hashlib.sha1(f"{self.program} {self.voice}".encode()).hexdigest()[:8]  # noqa: S324

    def generator(self, *what: str | int) -> np.random.Generator:
        """Draw random numbers for one thing of this speaker's."""
        text = " ".join(map(str, (self.program, self.voice, *what)))
        return np.random.default_rng([SEED, zlib.crc32(text.encode())])


_ACCENTS = ("en-us", "en", "en-029", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan")
_TRAINING_VARIANTS = (
    "adam", "Alex", "Alicia", "Andrea", "Andy", "anika", "antonio", "aunty", "belinda", "benjamin",
    "boris", "caleb", "david", "ed", "edward", "f1", "f2", "f3", "Gene", "grandma", "Hugo", "iven",
    "iven2", "Jacky", "john", "kaukovalta", "klatt", "klatt2", "klatt3", "Lee", "linda", "m1",
    "m2", "m3", "m4", "marcelo", "Marco", "max", "michel", "Mike", "norbert", "pablo", "paul",
    "quincy", "rob", "sandro", "steph", "travis",
)  # fmt: skip
_VALIDATION_VARIANTS = ("Annie", "Diogo", "f4", "gustave", "klatt4", "m5", "Mario", "shelby")
_TEST_VARIANTS = (
    "Denis", "edward2", "f5", "Henrique", "iven3", "klatt5", "m6", "m7", "m8", "Michael",
    "miguel", "pedro", "robert", "steph2", "victor", "zac",
)  # fmt: skip
# Accents that occur with the variants of their list alone.
_VALIDATION_ACCENTS = ("en-us", "en-gb-x-gbcwmd")
_TEST_ACCENTS = ("en-us", "en-gb-scotland")


def _espeak(variants: Sequence[str], accents: Sequence[str], held_out: str = "") -> list[Speaker]:
    return [
        Speaker("espeak-ng", f"{accents[position % len(accents)]}+{variant}", held_out)
        for position, variant in enumerate(variants)
    ]


SPEAKERS = (
    *(Speaker("flite", voice) for voice in ("kal", "kal16")),
    Speaker("flite", "awb", "validation"),
    *(Speaker("flite", voice, "test") for voice in ("rms", "slt")),
    *_espeak(_TRAINING_VARIANTS, _ACCENTS),
    *_espeak(_VALIDATION_VARIANTS, _VALIDATION_ACCENTS, "validation"),
    *_espeak(_TEST_VARIANTS, _TEST_ACCENTS, "test"),
)


def default_folder() -> Path:
    """Tell where the synthetic speech is kept: in the user's cache folder."""
    return cache_folder() / "synthetic-speech"


def ensure(folder: Path | None = None) -> Path:
    """Give the folder with the speech; made now if it is not there, or was made by another version
    of this module or of the synthesizers. Takes about a minute.

    Raises:
        MissingDataError: it has to be made, and a synthesizer or a voice is not installed.
        ModelsError: another folder is in the way.
    """
    folder = folder or default_folder()
    file = folder / FACTS_FILE
    made = json.loads(file.read_text()) if file.exists() else None
    if folder.exists() and not made:
        raise ModelsError(f"{folder} is there and holds no synthetic speech; name another folder")
    if made and not all(shutil.which(program) for program in PROGRAMS):
        return folder  # copied from a machine that has the programs
    if made != _facts():
        generate(folder)
    return folder


def generate(
    folder: Path,
    speakers: Sequence[Speaker] = SPEAKERS,
    keywords: Sequence[str] = KEYWORDS,
    takes: int = TAKES,
    others: int = OTHER_WORDS_PER_SPEAKER,
    noise_seconds: int = NOISE_SECONDS,
) -> None:
    """Write speech of all speakers into ``folder``, replacing what is there as a whole: ``takes``
    clips of each keyword, one of each of ``others`` of the other words.

    Raises:
        MissingDataError: a synthesizer, or one of the voices, is not installed.
    """
    facts = _facts()
    _check_voices(speakers)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=folder.name) as making:
        target = Path(making) / "speech"
        clips = [
            (speaker, word, take)
            for position, speaker in enumerate(speakers)
            for word, count in (
                *((word, takes) for word in keywords),
                *((word, 1) for word in _rotated(OTHER_WORDS, position * others)[:others]),
            )
            for take in range(count)
        ]
        for word in {word for _, word, _ in clips}:
            (target / word).mkdir(parents=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            names = list(pool.map(lambda clip: _write_clip(target, *clip), clips))
        for list_name, held_out in ((VALIDATION_LIST, "validation"), (TESTING_LIST, "test")):
            listed = sorted(
                name
                for name, (speaker, *_) in zip(names, clips, strict=True)
                if speaker.held_out == held_out
            )
            (target / list_name).write_text("".join(f"{name}\n" for name in listed))
        (target / NOISE_FOLDER).mkdir()
        for kind, noise in _noises(noise_seconds * SAMPLE_RATE).items():
            _write_wav(target / NOISE_FOLDER / f"{kind}.wav", 0.3 * noise)
        (target / FACTS_FILE).write_text(json.dumps(facts, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(target, folder)


def _rotated(words: Sequence[str], by: int) -> list[str]:
    by %= len(words)
    return [*words[by:], *words[:by]]


def _facts() -> dict[str, str | int]:
    """What tells one folder of speech from another."""
    versions = {program: _version(program) for program in PROGRAMS}
    settings = (SPEAKERS, KEYWORDS, OTHER_WORDS, TAKES, OTHER_WORDS_PER_SPEAKER, NOISE_SECONDS)
    digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:16]
    return {"made_by": f"generation {GENERATION}, settings {digest}", **versions}


def _version(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise MissingDataError(
            f"synthetic speech needs {' and '.join(PROGRAMS)}, and {program} is not installed; "
            f"install Debian's packages with 'apt install {' '.join(PROGRAMS)}'"
        )
    told = _run([path, "--version"])
    found = re.search(r"\d+\.\d[\w.-]*", told)
    return found.group() if found else told.strip()


def _check_voices(speakers: Sequence[Speaker]) -> None:
    """espeak-ng speaks with another voice, and says nothing, where one is missing."""
    variants = _run(["espeak-ng", "--voices=variant"]).lower()
    accents = _run(["espeak-ng", "--voices=en"]).lower()
    voices = _run(["flite", "-lv"]).split()
    for speaker in speakers:
        accent, _, variant = speaker.voice.lower().partition("+")
        if speaker.program == "flite":
            there = speaker.voice in voices
        else:
            there = bool(
                re.search(rf"!v/{re.escape(variant)}\s", variants)
                and re.search(rf"/{re.escape(accent)}\s", accents)
            )
        if not there:
            raise MissingDataError(
                f"{speaker.program} here has no voice '{speaker.voice}'; install Debian's package "
                f"{speaker.program} anew (version 1.51 of espeak-ng or 2.2 of flite has it)"
            )


def _write_clip(folder: Path, speaker: Speaker, word: str, take: int) -> str:
    """Write one clip; its name relative to the folder."""
    name = f"{word}/{speaker.name}_nohash_{take}.wav"
    _write_wav(folder / name, _clip(speaker, word, take))
    return name


def _clip(speaker: Speaker, word: str, take: int) -> NDArray[Any]:
    """A second of sound, [16000] in -1 to 1: the word somewhere in it, in the speaker's noise."""
    voice, chance = speaker.generator("voice"), speaker.generator(word, take)
    # The speaker's habit, and how this take differs from it.
    tempo = voice.uniform(0.85, 1.15) * chance.uniform(0.9, 1.1)
    pitch = voice.uniform(0.8, 1.2) * chance.uniform(0.9, 1.1)
    slope, signal_to_noise_db = voice.uniform(0, 2), voice.uniform(12, 35)
    spoken = _trimmed(_speak(speaker, word, tempo, pitch))[: CLIP_SAMPLES - SAMPLE_RATE // 20]
    latest = CLIP_SAMPLES - len(spoken)
    # People begin some tenths of a second after the recording does.
    start = round(np.clip(chance.normal(0.5, 0.2), 0, 1) * latest)
    clip = np.zeros(CLIP_SAMPLES)
    clip[start : start + len(spoken)] = spoken / np.abs(spoken).max()
    noise = coloured_noise(CLIP_SAMPLES, slope, chance)
    loudness = np.sqrt(np.mean((spoken / np.abs(spoken).max()) ** 2))
    clip += loudness * 10 ** (-signal_to_noise_db / 20) * noise
    return np.asarray(clip / np.abs(clip).max() * 10 ** (-chance.uniform(1, 20) / 20))


def _speak(speaker: Speaker, word: str, tempo: float, pitch: float) -> NDArray[Any]:
    """A word at 16 kHz, at ``tempo`` and ``pitch`` times what is usual of the voice."""
    from scipy.signal import resample_poly  # heavy, and seldom needed

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        if speaker.program == "flite":
            usual_hz = FLITE_PITCH_HZ[speaker.voice]
            command = ["flite", "-voice", speaker.voice, "-o", str(path), "-t", word]
            command += ["--setf", f"duration_stretch={1 / tempo:.3f}"]
            command += ["--setf", f"int_f0_target_mean={usual_hz * pitch:.1f}"]
        else:
            command = ["espeak-ng", "-v", speaker.voice, "-w", str(path)]
            command += ["-s", f"{150 * tempo:.0f}", "-p", f"{50 * pitch:.0f}", word]
        _run(command)
        with wave.open(str(path)) as sound:
            rate = sound.getframerate()
            samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32768
    common = math.gcd(rate, SAMPLE_RATE)
    return np.asarray(resample_poly(samples, SAMPLE_RATE // common, rate // common))


def _trimmed(samples: NDArray[Any]) -> NDArray[Any]:
    loud = np.flatnonzero(np.abs(samples) > TRIM_BELOW * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def coloured_noise(samples: int, slope: float, generator: np.random.Generator) -> NDArray[Any]:
    """Draw Gaussian noise of RMS 1 whose power falls with frequency to the power of -``slope``: 0
    is white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    # Level below 50 Hz, which no microphone of a phone hears.
    frequencies = np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 50)
    noise = np.fft.irfft(spectrum * frequencies ** (-slope / 2), samples)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def _noises(samples: int) -> dict[str, NDArray[Any]]:
    """Computed background noises of RMS 1 by name."""
    generator = np.random.default_rng(SEED)
    noises = {
        name: coloured_noise(samples, slope, generator)
        for name, slope in (("white_noise", 0.0), ("pink_noise", 1.0), ("brown_noise", 2.0))
    }
    # Mains hum with its harmonics, swelling and falling, in a little pink noise.
    times = np.arange(samples) / SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 50 * n * times) / n for n in range(1, 20))
    hum = hum * (1 + 0.5 * np.sin(2 * np.pi * 0.3 * times)) + 0.3 * noises["pink_noise"]
    noises["mains_hum"] = hum / np.sqrt(np.mean(hum**2))
    # Bursts of noise, as of water or dishes.
    bursts = noises["white_noise"] * np.clip(coloured_noise(samples, 2.0, generator), 0, None)
    noises["bursts"] = bursts / np.sqrt(np.mean(bursts**2))
    return noises


def _write_wav(path: Path, samples: NDArray[Any]) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def _run(command: list[str]) -> str:
    """What a program prints; ModelsError where it fails."""
    process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if process.returncode not in (0, 1) or (process.returncode and not process.stdout):
        reason = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise ModelsError(f"{command[0]} failed: {reason}; install it anew")
    return process.stdout


if __name__ == "__main__":
    print(ensure(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
