"""Forecast: what a model of values expects after each line of CSV.

    python examples/forecast_live.py MODEL SOURCE

SOURCE is a CSV file, - for lines on standard input, or serial:/dev/ttyUSB0. An empty line begins a
new series. Such models come of recipes/glucose.toml and recipes/stock-ranges.toml.
"""

import sys

import numpy as np

from device_runner.sources import open_source
from device_runner.stream import Stream


def main(model: str, source: str) -> None:
    stream = Stream(model)
    labels = stream.model.labels
    with open_source(source, stream.model.contract) as frames:
        for number, frame in frames:
            if frame is None:
                stream.reset()
                continue
            values = np.ravel(np.asarray(stream.step(frame)))
            if stream.answered:  # a model with a window does not, before its end
                told = zip(labels, values, strict=True)
                print(number, ", ".join(f"{label}: {value:.4g}" for label, value in told))


if __name__ == "__main__":
    main(*sys.argv[1:])
