"""Listen for keywords: a line for each one that is heard.

    python examples/keyword_live.py MODEL [SOURCE]

SOURCE is mic (the default: Debian's alsa-utils must be installed) or wav:FILE, 16 bits mono at
16 kHz. MODEL is one of recipes/keywords.toml. Tried on WAV files only, not on a real microphone.
"""

import sys
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.sources import open_source
from device_runner.stream import Stream

NO_KEYWORDS = ("silence", "unknown")


class KeywordSpotter:
    """Makes decisions of a model's outputs after each frame.

    The class probabilities are averaged over a time (posterior smoothing: G. Chen, C. Parada and
    G. Heigold, "Small-footprint keyword spotting using deep neural networks", 2014). The networks
    were trained on single seconds; so the state is reset after each word, and after each time of
    silence.

    Args:
        stream: the model.
        threshold: least mean probability of a keyword.
        average_s: time to average over, in seconds.
    """

    def __init__(self, stream: Stream, threshold: float = 0.7, average_s: float = 0.3) -> None:
        self.stream = stream
        self.threshold = threshold
        frames = max(1, round(average_s / stream.model.contract.frame_period_s))
        self.frames = frames
        self.recent: deque[NDArray[Any]] = deque(maxlen=frames)
        self.silence = stream.model.labels.index("silence")

    def __call__(self, frame: NDArray[Any]) -> tuple[str, float] | None:
        """The keyword that this frame made certain, with its mean probability."""
        logits = np.asarray(self.stream.step(frame))
        if not self.stream.answered:  # a model with a window, before its end
            return None
        exponentials = np.exp(logits - logits.max())
        self.recent.append(exponentials / exponentials.sum())
        if len(self.recent) < self.frames:
            return None
        mean = np.mean(self.recent, axis=0)
        winner = int(mean.argmax())
        if mean[winner] < self.threshold:
            return None
        label = self.stream.model.labels[winner]
        if label == "unknown":
            return None
        self.stream.reset()
        self.recent.clear()
        return None if label in NO_KEYWORDS else (label, float(mean[winner]))


def main(model: str, source: str = "mic") -> None:
    stream = Stream(model)
    spotter = KeywordSpotter(stream)
    period = stream.model.contract.frame_period_s
    with open_source(source, stream.model.contract) as frames:
        for number, frame in frames:
            if heard := spotter(frame):
                word, probability = heard
                print(f"{number * period:7.2f} s  {word:8}  {probability:.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
