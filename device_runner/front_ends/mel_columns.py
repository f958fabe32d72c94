"""Turn sound into columns of log-mel energies and back, with librosa (extra ``synthesis``).

The way back guesses the phases that columns do not hold (D. Griffin and J. Lim, "Signal estimation
from modified short-time Fourier transform", 1984), in the faster form of N. Perraudin et al.
(2013).
"""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadModelError, MissingRuntimeError

ITERATIONS = 60
SEED = 1
# Columns of no sound around what is spoken, so that its first and last windows are whole.
MARGIN = 4


@dataclass(frozen=True)
class Columns:
    """How sound and columns belong together.

    Args:
        sample_rate: of the sound, in Hz.
        window: samples of a column.
        hop: samples from one column to the next.
        mels: channels of a column.
        lowest_hz, highest_hz: what they cover.
        floor_db: what is fainter counts as this, in dB; 0 is a word's loudest column.
    """

    sample_rate: int = 8000
    window: int = 256
    hop: int = 80
    mels: int = 40
    lowest_hz: int = 60
    highest_hz: int = 4000
    floor_db: int = -60

    @classmethod
    def read(cls, description: Any) -> Columns:
        """Read what a contract's front end says of its sound.

        Raises:
            BadModelError: it is damaged.
        """
        names = {field.name for field in fields(cls)}
        if (
            not isinstance(description, Mapping)
            or set(description) != names
            or not all(type(value) is int for value in description.values())
        ):
            raise BadModelError(
                f"the model's front end says of its sound {str(description)[:100]}; it must have "
                f"whole numbers for {', '.join(sorted(names))}; export the model again"
            )
        found = cls(**description)
        if not (
            1000 <= found.sample_rate <= 192_000
            and 16 <= found.window <= 1 << 14
            and 0 < found.hop <= found.window
            and 0 < found.mels <= 512
            and 0 <= found.lowest_hz < found.highest_hz <= found.sample_rate / 2
            and -200 <= found.floor_db < 0
        ):
            raise BadModelError(
                f"the model's front end says of its sound {str(description)[:200]}, which fits no "
                "sound; export the model again"
            )
        return found

    def describe(self) -> dict[str, Any]:
        """Write it as JSON, for a contract."""
        return asdict(self)

    @property
    def period_s(self) -> float:
        """Seconds from one column to the next."""
        return self.hop / self.sample_rate

    def analyse(self, sound: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Compute the columns of a word.

        Args:
            sound: samples of any scale, [samples].

        Returns:
            float32 [columns, mels] in dB, from ``floor_db`` to 0 and a little above.

        Raises:
            MissingRuntimeError: librosa is not installed.
        """
        powers = _librosa().feature.melspectrogram(
            y=np.asarray(sound, np.float32), power=2.0, **self._grid()
        )
        loudest = powers.max()
        decibels = 10 * np.log10(np.maximum(powers / max(loudest, 1e-30), 1e-20))
        columns: NDArray[np.float32] = np.maximum(decibels, self.floor_db).T.astype(np.float32)
        return columns

    def synthesize(self, columns: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Make sound of columns: float [columns, mels] in dB -> float32 [samples], its loudest one
        at 0.9.

        Raises:
            MissingRuntimeError: librosa is not installed.
        """
        librosa = _librosa()
        powers = 10 ** (np.maximum(columns, self.floor_db) / 10)
        powers = np.where(columns > self.floor_db, powers, 0)
        padded = np.pad(powers, ((MARGIN, MARGIN), (0, 0)))
        grid = self._grid()
        del grid["n_mels"], grid["hop_length"], grid["win_length"], grid["center"]
        magnitudes = librosa.feature.inverse.mel_to_stft(
            padded.T.astype(np.float32), power=2.0, **grid
        )
        sound = librosa.griffinlim(
            magnitudes,
            n_iter=ITERATIONS,
            hop_length=self.hop,
            win_length=self.window,
            n_fft=self.window,
            random_state=SEED,
        )
        made: NDArray[np.float32] = sound / max(float(np.abs(sound).max()), 1e-9) * 0.9
        return made

    def wav(self, sound: NDArray[np.floating[Any]]) -> bytes:
        """Write sound as a WAV file of 16 bits: [samples] from -1 to 1; what is beyond is cut."""
        file = io.BytesIO()
        with wave.open(file, "wb") as written:
            written.setparams((1, 2, self.sample_rate, 0, "NONE", ""))
            written.writeframes(np.rint(32767 * np.clip(sound, -1, 1)).astype("<i2").tobytes())
        return file.getvalue()

    def _grid(self) -> dict[str, Any]:
        return {
            "sr": self.sample_rate,
            "n_fft": self.window,
            "hop_length": self.hop,
            "win_length": self.window,
            "n_mels": self.mels,
            "fmin": self.lowest_hz,
            "fmax": self.highest_hz,
            "center": True,
        }


def check_library() -> None:
    """Raise MissingRuntimeError if librosa is not installed."""
    _librosa()


def _librosa() -> Any:
    try:
        import librosa
    except ImportError as error:
        raise MissingRuntimeError(
            f"making sound needs librosa ({error}); install it with 'pip install librosa'"
        ) from error
    return librosa
