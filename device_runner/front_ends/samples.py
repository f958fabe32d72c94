"""Gather several samples of a sensor into one frame: a slower step for a fast sensor.

A frame is the samples' values one after another, the oldest sample first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from device_runner.errors import BadModelError
from device_runner.front_ends import kept_channels

KIND = "samples"


def describe(samples_per_frame: int, channels: int) -> dict[str, Any]:
    """Describe the front end in JSON-ready words, as a model's contract keeps it.

    Args:
        samples_per_frame: number of samples in a frame.
        channels: number of values in a sample.
    """
    return {"kind": KIND, "samples_per_frame": samples_per_frame, "channels": channels}


@dataclass(frozen=True)
class SampleFrames:
    """Gathers samples into frames.

    Args:
        samples_per_frame: number of samples in a frame.
        channels: number of values in a sample.
        kept: which of a frame's values the model reads, in their order; None for all.
    """

    samples_per_frame: int
    channels: int
    kept: list[int] | None = None

    def frame(self, samples: list[list[str]]) -> list[str]:
        """Join the values of a frame's samples, as they are in a file."""
        values = [value for sample in samples for value in sample]
        return values if self.kept is None else [values[channel] for channel in self.kept]


def read(description: Mapping[str, Any]) -> SampleFrames | None:
    """Read a contract's description; None for an early file, which does not tell the channels.

    Raises:
        BadModelError: the description is damaged.
    """
    sizes = description.get("samples_per_frame"), description.get("channels")
    if sizes[1] is None:
        return None
    if not all(type(size) is int and 0 < size < 1 << 16 for size in sizes):
        raise BadModelError(
            f"the model's front end gathers {str(sizes[0])[:50]} samples of {str(sizes[1])[:50]} "
            "values, which are no counts; export the model again"
        )
    samples, channels = int(sizes[0] or 0), int(sizes[1])
    return SampleFrames(samples, channels, kept_channels(description, samples * channels))
