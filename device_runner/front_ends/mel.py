"""Compute mel energies or mel cepstra of sound, with NumPy alone and with all sizes free.

A window of samples is weighted (Hann), its power spectrum is summed in triangles that lie evenly on
the mel scale, and the logarithms of these sums are the frame; or the first coefficients of their
cosine transform (S. Davis and P. Mermelstein, "Comparison of parametric representations for
monosyllabic word recognition", 1980; the coefficient 0, the loudness, is kept here).

Other than :mod:`device_runner.front_ends.log_mel` it follows no noise and no loudness: a frame
depends on its own samples alone, unless one of two things is asked for that make a net hear other
voices and microphones alike:

- a running mean is taken off, of each channel its own (mean normalization as frames come, after
  B. Atal, "Effectiveness of linear prediction characteristics of the speech wave for automatic
  speaker identification and verification", 1974): a filter in the way of the sound, as a
  microphone or a room is, adds the same to all frames;
- differences to an earlier frame follow the values (after S. Furui, "Speaker-independent isolated
  word recognition using dynamic features of speech spectrum", 1986).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadModelError
from device_runner.front_ends import KEPT_CHANNELS, kept_channels
from device_runner.front_ends.sound import SoundFrontEnd

KIND = "mel"
LOWEST_HZ = 60.0
# About the noise of 16-bit samples; it keeps the logarithm of digital silence finite.
NOISE_FLOOR = 1e-10
# Where a running mean of logarithms of energies begins: a quiet room's.
QUIET_ENERGY = -12.0
# What a contract says where it is not 0 alone.
_FOLLOWING = ("mean_frames", "delta_frames")


@dataclass(frozen=True)
class Mel:
    """Makes frames of sound.

    Args:
        sample_rate: of the sound, in Hz.
        window_samples: samples that a frame is made of.
        hop_samples: samples from one frame to the next.
        mels: triangles, from 60 Hz to half the sample rate.
        cepstra: coefficients of a frame; 0 for the energies themselves.
        mean_frames: of how many frames, about, the running mean is that is taken off: the newest
            counts for so much of it; 0 for none. A stream's mean begins at QUIET_ENERGY.
        delta_frames: the difference to the frame this many before follows a frame's values; 0 for
            none. A stream's first frame counts as those before it.

    Raises:
        BadModelError: a size is no whole number, or outside what fits sound.

    Example:
        >>> front_end = Mel(8000, window_samples=200, hop_samples=80, mels=20, cepstra=13)
        >>> front_end.frame(np.zeros(200)).shape
        (13,)
    """

    sample_rate: int
    window_samples: int
    hop_samples: int
    mels: int
    cepstra: int = 0
    mean_frames: int = 0
    delta_frames: int = 0

    def __post_init__(self) -> None:
        if not all(type(value) is int for value in asdict(self).values()) or not (
            1000 <= self.sample_rate <= 192_000
            and 16 <= self.window_samples <= 1 << 15
            and 0 < self.hop_samples <= 1 << 17
            and 2 <= self.mels <= 256
            and 0 <= self.cepstra <= self.mels
            and 0 <= self.mean_frames <= 1 << 17
            and 0 <= self.delta_frames <= 1 << 10
        ):
            raise BadModelError(
                f"the model's front end has the sizes {str(asdict(self))[:200]}, which fit no "
                "sound; export the model again"
            )

    @property
    def channels(self) -> int:
        """Values of a frame."""
        return len(self.channel_names)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """What each value of a frame is, for people."""
        kind = "cepstrum" if self.cepstra else "mel"
        names = tuple(f"{kind} {number}" for number in range(1, (self.cepstra or self.mels) + 1))
        if self.delta_frames:
            names += tuple(f"difference of {name}" for name in names)
        return names

    def describe(self) -> dict[str, Any]:
        """Describe the front end in JSON-ready words, as a model's contract keeps it."""
        sizes = asdict(self)
        return {"kind": KIND} | {
            name: size for name, size in sizes.items() if size or name not in _FOLLOWING
        }

    def frames(self, blocks: Iterable[NDArray[Any]]) -> Iterator[NDArray[np.float32]]:
        """Make frames [channels] from sound in blocks of int16 samples, of any length."""
        made = self._frames_alone(blocks)
        if self.mean_frames:
            made = self._without_mean(made)
        return self._with_differences(made) if self.delta_frames else made

    def _without_mean(self, made: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        quiet = np.full(self.mels, QUIET_ENERGY)
        mean = quiet @ self._cosines if self.cepstra else quiet
        for values in made:
            mean += (values - mean) / self.mean_frames
            yield np.asarray(values - mean, np.float32)

    def _with_differences(
        self, made: Iterable[NDArray[np.float32]]
    ) -> Iterator[NDArray[np.float32]]:
        before: deque[NDArray[np.float32]] = deque(maxlen=self.delta_frames)
        for values in made:
            earlier = before[0] if before else values
            before.append(values)
            yield np.concatenate([values, values - earlier])

    def _frames_alone(self, blocks: Iterable[NDArray[Any]]) -> Iterator[NDArray[np.float32]]:
        waiting: NDArray[Any] = np.empty(0, np.float64)
        skipped = 0
        for block in blocks:
            waiting = np.concatenate([waiting, block / 32768])
            if skipped:
                waiting, skipped = waiting[skipped:], max(0, skipped - len(waiting))
            while len(waiting) >= self.window_samples and not skipped:
                yield self.frame(waiting[: self.window_samples])
                skipped = max(0, self.hop_samples - len(waiting))
                waiting = waiting[self.hop_samples :]

    def frame(self, samples: NDArray[np.float64]) -> NDArray[np.float32]:
        """Compute one frame alone: [window_samples] from -1 to 1 -> float32 [cepstra or mels], with
        no mean taken off and no differences."""
        spectrum = np.fft.rfft(samples * self._weights, self._transform)
        powers = spectrum.real**2 + spectrum.imag**2
        energies = np.log(powers @ self._triangles + NOISE_FLOOR)
        values = energies @ self._cosines if self.cepstra else energies
        return np.asarray(values, np.float32)

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        """The window, scaled so that its length does not change the powers of noise."""
        window = np.hanning(self.window_samples + 2)[1:-1]
        return np.asarray(window / np.sqrt((window**2).sum()), np.float64)

    @cached_property
    def _corners(self) -> NDArray[np.float64]:
        """Where triangles begin, peak and end, in Hz, [mels + 2]."""
        low, high = 1127 * np.log1p(np.array([LOWEST_HZ, self.sample_rate / 2]) / 700)
        corners = 700 * np.expm1(np.linspace(low, high, self.mels + 2) / 1127)
        return np.asarray(corners, np.float64)

    @cached_property
    def _transform(self) -> int:
        """Length of the Fourier transform: so that the narrowest triangle has a line in it."""
        narrowest = float(np.diff(self._corners).min())
        least = max(self.window_samples, self.sample_rate / narrowest)
        return 1 << int(np.ceil(np.log2(least)))

    @cached_property
    def _triangles(self) -> NDArray[np.float64]:
        """What each line of the spectrum adds to each triangle, [lines, mels]; a triangle's
        weights sum to 1."""
        hertz = np.fft.rfftfreq(self._transform, 1 / self.sample_rate)[:, None]
        low, peak, high = self._corners[:-2], self._corners[1:-1], self._corners[2:]
        rising, falling = (hertz - low) / (peak - low), (high - hertz) / (high - peak)
        weights = np.maximum(np.minimum(rising, falling), 0)
        return np.asarray(weights / weights.sum(0), np.float64)

    @cached_property
    def _cosines(self) -> NDArray[np.float64]:
        """The cosine transform (II, orthonormal), [mels, cepstra]."""
        place, order = np.arange(self.mels)[:, None] + 0.5, np.arange(self.cepstra)
        cosines = np.cos(np.pi * place * order / self.mels) * np.sqrt(2 / self.mels)
        cosines[:, 0] /= np.sqrt(2)
        return np.asarray(cosines, np.float64)


def read(description: Mapping[str, Any]) -> SoundFrontEnd:
    """Read a contract's description.

    Raises:
        BadModelError: it is damaged.
    """
    sizes = {name: value for name, value in description.items()
             if name not in ("kind", KEPT_CHANNELS)}  # fmt: skip
    names = {field.name for field in fields(Mel)}
    needed = names - set(_FOLLOWING)
    if not needed <= set(sizes) <= names:
        raise BadModelError(
            f"the model's front end says of its sound {str(sizes)[:100]}; it must say "
            f"{', '.join(sorted(needed))}; export the model again"
        )
    made = Mel(**sizes)
    return SoundFrontEnd(made.sample_rate, made.frames).keeping(
        kept_channels(description, made.channels)
    )
