"""What tests of the commands give them, and the exit codes they wait for."""

from __future__ import annotations

import numpy as np

USAGE, BAD_DATA, MISSING_RUNTIME, FAILED_VERIFICATION = 2, 3, 4, 5
SHORT = ("--steps", 100, "--rounds", 1, "--warmup", 0)
LITERT = ("--backend", "litert")


def csv(frames: np.ndarray) -> str:
    """Frames, float [steps, inputs], as lines of CSV."""
    return "".join(",".join(map(repr, frame)) + "\n" for frame in frames.astype(float).tolist())
