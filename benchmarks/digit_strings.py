"""Speech to text on the device: word error rate of both decoders, and how late a word appears.

Steps the step models of the tasks digit-strings-SPEAKER through the task's test strings, frame by
frame, as ``edgestep stream`` does. A word appears with the frame after which the transcript has it
for good. Its delay is counted in strings that come out right, from where its speech ends: after the
last 10 ms that are within 26 dB of its loudest ones. It is below 0 where a word is known before.

    EDGESTEP_SPOKEN_DIGITS=FOLDER python benchmarks/digit_strings.py runs/digit-strings/*.tflite

With files of several speakers' tasks (``benchmarks/digits.py --recipe recipes/digit-strings.toml``
makes them) it ends with means over the speakers and their 95 % intervals (Student's t: another six
people would differ as these do).

With --person, the strings are of one more person's ten recordings, such as those of Debian's
asterisk-core-sounds-en-wav in ``/usr/share/asterisk/sounds/en_US_f_Allison/digits``:

    python benchmarks/digit_strings.py --person FOLDER runs/digit-strings-*/*.tflite
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from digits import half_interval
from record import write_record

from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from device_runner.transcription import (
    BEAM_WIDTH,
    Decoder,
    GreedyDecoder,
    PrefixBeamDecoder,
    check_transcribes,
)
from models.metrics import edits
from models.tasks.digit_strings import (
    STRINGS,
    Spoken,
    complete_at,
    digits_of_folder,
    spoken_strings,
    strings_of,
)
from models.tasks.digits import RECORDED_RATE, data_folder


def heard(stream: Stream, decoder: Decoder, spoken: Spoken) -> tuple[list[int], list[int], int]:
    """Transcribe one string.

    Returns:
        The transcript; in which frame each of its words appeared for good; nanoseconds in the
        decoder.
    """
    stream.reset()
    decoder.reset()
    found: list[int] = []
    appeared: list[int] = []
    spent = 0
    for number, frame in enumerate(spoken.frames):
        logits = stream.step(frame)
        begin = time.perf_counter_ns()
        now = decoder.step(np.asarray(logits))
        spent += time.perf_counter_ns() - begin
        if now != found:
            same = next((i for i, pair in enumerate(zip(now, found, strict=False))
                         if pair[0] != pair[1]), min(len(now), len(found)))  # fmt: skip
            appeared = appeared[:same] + [number] * (len(now) - same)
            found = now
    return found, appeared, spent


def measured(stream: Stream, decoder: Decoder, strings: list[Spoken]) -> dict[str, float | None]:
    """Transcribe all strings: errors, delays in ms, and what the decoder takes."""
    changes = right = frames = spent = 0
    delays: list[float] = []
    for spoken in strings:
        found, appeared, took = heard(stream, decoder, spoken)
        said = spoken.said.tolist()
        changes += edits(found, said)
        frames, spent = frames + len(spoken.frames), spent + took
        if found == said:
            right += 1
            there = np.array([complete_at(frame) for frame in appeared])
            delays += (1000 * (there - spoken.ends) / RECORDED_RATE).tolist()
    return {
        "word error rate": changes / sum(len(one.said) for one in strings),
        "strings right": right / len(strings),
        "delay, p50 ms": float(np.median(delays)) if delays else None,
        "delay, p90 ms": float(np.percentile(delays, 90)) if delays else None,
        "decoder, us a frame": spent / frames / 1000,
    }


def means(rows: list[dict[str, Any]]) -> list[str]:
    """Write the mean error over speakers and its 95 % interval, a line for each kind of file and
    decoder of which there are several speakers."""
    lines = []
    for file, decoder in dict.fromkeys((row["file"], row["decoder"]) for row in rows):
        of_kind = [row for row in rows if (row["file"], row["decoder"]) == (file, decoder)]
        errors = [float(row["word error rate"]) for row in of_kind]
        if len(errors) > 1:
            lines.append(f"{file}, {decoder}: word error rate {np.mean(errors):.1%} "
                         f"+- {half_interval(errors):.1%} "
                         f"over {len(errors)} speakers")  # fmt: skip
    return lines


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--person", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="A folder with 0.wav to 9.wav of another person.")  # fmt: skip
def main(files: tuple[Path, ...], person: Path | None) -> None:
    """Print a row for each file and decoder."""
    rows = []
    known: dict[str, list[Spoken]] = {}
    for path in files:
        model = load_step_model(path)
        check_transcribes(model)
        speaker = model.contract.task.rpartition("-")[2]
        whose = person.name if person else speaker
        if whose not in known:
            known[whose] = (
                strings_of({whose: digits_of_folder(person)}, "test", STRINGS["test"])
                if person
                else spoken_strings(data_folder(), "test", speaker)
            )
        strings = known[whose]
        stream = Stream(model)
        decoders: dict[str, Decoder] = {
            "greedy": GreedyDecoder(),
            f"beam of {BEAM_WIDTH}": PrefixBeamDecoder(),
        }
        for name, decoder in decoders.items():
            row: dict[str, Any] = {"speaker": speaker, "file": path.name, "decoder": name}
            row |= measured(stream, decoder, strings)
            rows.append(row)
            click.echo(", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{value}"
                                 for key, value in row.items()))  # fmt: skip
    for line in means(rows):
        click.echo(line)
    write_record("digit_strings", "speech to text of digit strings", rows)


if __name__ == "__main__":
    main()
