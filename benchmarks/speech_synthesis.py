"""Is synthesized speech understood? Word error rate of a recognizer, and a page to listen to.

The step models of the task speech-synthesis say the ten digits, at three rates each; strings of
them are heard by a recognizer of the task digit-strings-SPEAKER, as its own test strings are. So
are the recordings that the task tests on, the same recordings through columns and back, and the
mean trajectory of each digit, said without a network.

    EDGESTEP_SPOKEN_DIGITS=FOLDER python benchmarks/speech_synthesis.py \\
        --recognizer RECOGNIZER.tflite runs/speech-synthesis/*.tflite

The recognizer of digit-strings-lucas has not heard the speaker, that of another task has.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import click
import numpy as np
from digit_strings import heard
from numpy.typing import NDArray
from record import write_record

from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from device_runner.synthesis import PAUSE_S, Voice
from device_runner.transcription import GreedyDecoder, check_transcribes
from models.metrics import edits
from models.tasks import digits
from models.tasks.digit_strings import STRINGS, Digit, strings_of
from models.tasks.speech_synthesis import (
    COLUMNS,
    SPEAKER,
    load_folder,
    mean_trajectories,
    part_of,
    recordings,
    spoken_columns,
    stretched,
)
from pipeline.spoken import data_url

RATES = (0.9, 1.0, 1.1)
LOUDEST = 10_000
SHOWN = "three one four one five nine two six"
NUMBERS = [digits.LABELS.index(word) for word in SHOWN.split()]


def recorded(folder: Path) -> Iterator[tuple[str, list[Digit]]]:
    """Give what is known without a network: the test recordings, through the vocoder, the means."""
    tested = [one for one in recordings(folder) if part_of(one) == "test"]
    as_recorded = [Digit(one.digit, digits.read_recording(folder, one)) for one in tested]
    yield "recordings", as_recorded
    yield (
        "recordings, columns and back",
        [Digit(one.digit, sound_of(spoken_columns(folder, one))) for one in tested],
    )
    training = load_folder(folder).train
    durations = np.array([values[0, -1] for values in training.values or []])
    means = []
    for digit, trajectory in enumerate(mean_trajectories(training)):
        count = durations[training.labels == digit].mean()
        means += [
            Digit(digit, sound_of(stretched(trajectory, round(count / rate)))) for rate in RATES
        ]
    yield "mean trajectory of each digit", means


def synthesized(path: Path) -> list[Digit]:
    """Let a step model say the digits."""
    voice = Voice(Stream(path))
    return [
        Digit(digit, sound_of(np.array(list(voice.word(word, rate)))))
        for digit, word in enumerate(digits.LABELS)
        for rate in RATES
    ]


def sound_of(columns: NDArray[Any]) -> NDArray[np.float64]:
    return LOUDEST * COLUMNS.synthesize(columns).astype(np.float64)


def judged(said: list[Digit], recognizer: Stream) -> dict[str, float]:
    """Compute the word error rate of strings, and the share of sounds understood on their own."""
    changes = words = right = 0
    for spoken in strings_of({"one": said}, "test", STRINGS["test"]):
        found, _, _ = heard(recognizer, GreedyDecoder(), spoken)
        changes += edits(found, spoken.said.tolist())
        words += len(spoken.said)
    for one in said:
        (spoken,) = strings_of({"one": [one]}, "test", 1, longest=1)
        found, _, _ = heard(recognizer, GreedyDecoder(), spoken)
        right += found == spoken.said.tolist()
    return {"word error rate": changes / words, "sounds understood": right / len(said)}


def audio(said: list[Digit]) -> str:
    """Write SHOWN as an HTML element that holds its WAV."""
    pause = np.zeros(int(PAUSE_S * COLUMNS.sample_rate))
    middle: dict[int, NDArray[np.float64]] = {}
    for digit in set(NUMBERS):
        sounds = [one.sound for one in said if one.digit == digit]
        middle[digit] = sounds[len(sounds) // 2]
    sound = np.concatenate([part for number in NUMBERS for part in (middle[number], pause)])
    source = data_url(COLUMNS.wav(0.9 * sound / np.abs(sound).max()))
    return f'<audio controls src="{source}"></audio>'


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--recognizer", required=True, type=click.Path(path_type=Path))
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False),
              default="runs/speech-synthesis/listen.html", show_default=True)  # fmt: skip
def main(files: tuple[Path, ...], recognizer: Path, page: Path) -> None:
    """Print a row for each voice, and write a page with a WAV of each."""
    model = load_step_model(recognizer)
    check_transcribes(model)
    taught = digits.speaker_parts(model.contract.task.rpartition("-")[2])
    knows = next(part for part, speakers in taught.items() if SPEAKER in speakers)
    click.echo(f"{recognizer.name} of {model.contract.task}: {SPEAKER} is in its {knows} data")
    stream, rows, shown = Stream(model), [], []
    voices = [*recorded(digits.data_folder()), *((path.name, synthesized(path)) for path in files)]
    for name, said in voices:
        row = {"voice": name, **judged(said, stream), "sounds": len(said)}
        rows.append(row)
        click.echo(f"{name}: word error rate {row['word error rate']:.1%}, "
                   f"{row['sounds understood']:.1%} of {len(said)} sounds understood")  # fmt: skip
        shown.append(f"<h2>{escape(name)}</h2><p>word error rate {row['word error rate']:.1%}</p>"
                     f"{audio(said)}")  # fmt: skip
    page.parent.mkdir(parents=True, exist_ok=True)
    title = f"<title>Synthesized speech</title><h1>{SHOWN}</h1>"
    page.write_text(f"<!doctype html><meta charset=utf-8>{title}{''.join(shown)}", encoding="utf-8")
    click.echo(f"to listen: {page}")
    write_record("speech_synthesis", f"intelligibility to {recognizer.name}", rows)


if __name__ == "__main__":
    main()
