"""Speech to text: a word is printed as soon as it is heard.

    python examples/words_live.py MODEL [SOURCE] [BEAM]

SOURCE is mic (the default), wav:FILE, or a CSV file of frames; MODEL is one of
recipes/digit-strings.toml. BEAM is how many transcripts are weighed (1: the likeliest at once).
Tried on files only, not on a real microphone.
"""

import sys

import numpy as np

from device_runner.sources import open_source
from device_runner.stream import Stream
from device_runner.transcription import GreedyDecoder, PrefixBeamDecoder


def main(model: str, source: str = "mic", beam: str = "1") -> None:
    stream = Stream(model)
    decoder = PrefixBeamDecoder(int(beam)) if int(beam) > 1 else GreedyDecoder()
    period = stream.model.contract.frame_period_s
    said: list[int] = []
    with open_source(source, stream.model.contract) as frames:
        for number, frame in frames:
            if frame is None:  # an empty line of CSV
                stream.reset()
                decoder.reset()
                continue
            found = decoder.step(np.asarray(stream.step(frame)))
            if found != said:
                words = " ".join(stream.model.labels[label] for label in found)
                print(f"{number * period:7.2f} s  {words}", flush=True)
            said = found


if __name__ == "__main__":
    main(*sys.argv[1:])
