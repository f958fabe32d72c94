"""Classify live input, a decision per frame.

    python examples/classify_live.py MODEL SOURCE

SOURCE is wav:FILE, mic, serial:/dev/ttyUSB0, a CSV file, or - for CSV lines on standard input.
"""

import sys

import numpy as np

from device_runner.sources import open_source
from device_runner.stream import Stream

stream = Stream(sys.argv[1])
with open_source(sys.argv[2], stream.model.contract) as frames:
    for number, frame in frames:
        if frame is None:  # an empty line of CSV
            stream.reset()
            continue
        y = np.asarray(stream.step(frame))
        if not stream.answered:  # a model with a window, before its end
            continue
        print(number, stream.model.labels[y.argmax()], f"{y.max():.2f}", flush=True)
