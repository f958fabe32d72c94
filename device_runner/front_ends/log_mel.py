"""Compute log-mel energies of sound by TFLite Micro's audio front end, for keyword models.

Training and the device both compute their frames here, so that a model hears the same in both. The
package ``pymicro-features`` (wheels for x86-64 and aarch64) does the work. It binds the front end
that microWakeWord uses: every 10 ms a window of 30 ms, 40 mel channels from 125 to 7500 Hz, noise
reduction, gain control per channel (PCAN, Y. Wang et al., "Trainable frontend for robust and
far-field keyword spotting", 2017), logarithm. It is fixed-point arithmetic throughout.

Noise reduction and gain control follow the sound for about a second: the output depends on what was
heard before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadInputError, BadModelError, MissingRuntimeError
from device_runner.front_ends import KEPT_CHANNELS, kept_channels
from device_runner.front_ends.sound import SoundFrontEnd

KIND = "log-mel"
SAMPLE_RATE = 16_000
CHANNELS = 40
WINDOW_SAMPLES = 480
HOP_SAMPLES = 160
LOWEST_HZ, HIGHEST_HZ = 125, 7500
_HOP_BYTES = 2 * HOP_SAMPLES
_NO_FRAMES = np.empty((0, CHANNELS), np.float32)


def describe(every: int = 1) -> dict[str, Any]:
    """Describe the front end in JSON-ready words, as a model's contract keeps it.

    Args:
        every: the model gets one of this many frames; there is one every 10 ms.
    """
    return {
        "kind": KIND,
        "library": "pymicro-features",
        "sample_rate": SAMPLE_RATE,
        "channels": CHANNELS,
        "window_samples": WINDOW_SAMPLES,
        "hop_samples": HOP_SAMPLES,
        "lowest_hz": LOWEST_HZ,
        "highest_hz": HIGHEST_HZ,
        "every": every,
    }


def read(description: Mapping[str, Any]) -> SoundFrontEnd:
    """Read a contract's description; its content is checked when frames are made."""
    whole = {name: value for name, value in description.items() if name != KEPT_CHANNELS}

    def frames(blocks: Iterable[NDArray[np.int16]]) -> Iterator[NDArray[np.float32]]:
        return log_mel(blocks, whole)

    return SoundFrontEnd(SAMPLE_RATE, frames).keeping(kept_channels(description, CHANNELS))


class LogMel:
    """Turns a stream of samples into frames.

    Example::

        front_end = LogMel(describe(every=2))
        for block in blocks:                # int16 samples at 16 kHz, in blocks of any length
            for frame in front_end(block):  # [40] each
                scores = stream.step(frame)

    Args:
        front_end: as :func:`describe` gives it.

    Raises:
        MissingRuntimeError: pymicro-features is not installed.
        BadModelError: the description is another front end's.
    """

    def __init__(self, front_end: dict[str, Any]) -> None:
        every = front_end.get("every")
        if type(every) is not int or every < 1 or front_end != describe(every):
            raise BadModelError(
                "the model's front end is not the log-mel front end that is computed here; "
                "export the model again, or use the edgestep that made it"
            )
        try:
            from pymicro_features import MicroFrontend
        except ImportError as error:
            raise MissingRuntimeError(
                f"sound needs pymicro-features ({error}); "
                "install it with 'pip install pymicro-features'"
            ) from error
        self._every = every
        self._library = MicroFrontend()
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self._library.reset()
        self._waiting = b""
        self._count = 0

    def __call__(self, samples: NDArray[np.int16]) -> NDArray[np.float32]:
        """Return the frames that these samples complete.

        Args:
            samples: the next samples of the stream, int16 [any length] at 16 kHz.

        Returns:
            float32 [frames, 40], natural logarithms times 64 * 0.0390625 = 2.5, never negative.

        Raises:
            BadInputError: the samples are not int16.
        """
        if samples.dtype != np.int16:
            raise BadInputError(f"sound has dtype {samples.dtype}; 16-bit samples are needed")
        sound = self._waiting + samples.astype("<i2", copy=False).tobytes()
        if len(sound) < _HOP_BYTES:  # a shortcut, as blocks may be much shorter than a hop
            self._waiting = sound
            return _NO_FRAMES
        frames, start = [], 0
        while len(sound) - start >= _HOP_BYTES:
            output = self._library.process_samples(sound[start : start + _HOP_BYTES])
            start += 2 * output.samples_read
            if output.features:
                if self._count % self._every == 0:
                    frames.append(output.features)
                self._count += 1
        self._waiting = sound[start:]
        return np.array(frames, np.float32) if frames else _NO_FRAMES


def log_mel(
    blocks: Iterable[NDArray[np.int16]], front_end: dict[str, Any]
) -> Iterator[NDArray[np.float32]]:
    """Make frames [40] from a sound in blocks of int16 samples; see :class:`LogMel`."""
    compute = LogMel(front_end)
    for block in blocks:
        yield from compute(block)
