"""Text to speech: words as a WAV file, spoken by a step model.

    python examples/speak_live.py MODEL TEXT [OUTPUT] [RATE]

MODEL is one of recipes/speech-synthesis.toml; TEXT is of its words or of digits ("three one 4").
OUTPUT is a new WAV file (speech.wav if left out), RATE how fast it speaks (1: as it learned).
Needs librosa (extra "synthesis").
"""

import sys
import time

import numpy as np

from device_runner.stream import Stream
from device_runner.synthesis import Voice


def main(model: str, text: str, output: str = "speech.wav", rate: str = "1") -> None:
    voice = Voice(Stream(model))
    begin = time.perf_counter()
    columns = np.array(list(voice.text(text, float(rate))))
    spent = time.perf_counter() - begin
    sound = voice.columns.synthesize(columns)
    with open(output, "xb") as file:
        file.write(voice.columns.wav(sound))
    length = len(sound) / voice.columns.sample_rate
    print(f"{output}: {length:.2f} s of speech in {len(columns)} columns ({1000 * spent:.0f} ms)")


if __name__ == "__main__":
    main(*sys.argv[1:])
