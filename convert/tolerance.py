"""Decide how far other runtimes may stray, from a step model's scheme and own error."""

from __future__ import annotations

import numpy as np

from convert.schemes.scheme import ToleranceShare
from device_runner.model.contract import Tolerance
from device_runner.verify import Verification


def tolerance_of(share: ToleranceShare, spread: float, classifies: bool) -> Tolerance:
    """Convert shares to units of the first output.

    Args:
        share: shares of ``spread``.
        spread: largest minus smallest output of the float model, in its units.
        classifies: whether the largest of the output's values is a decision.
    """
    # If the output is not a decision, it does not matter which value is the largest.
    agreement = share.argmax_agreement if classifies else 0.0
    return Tolerance(share.rms * spread, share.max_abs * spread, agreement)


def on_grid(tolerance: Tolerance, step: float) -> Tolerance:
    """Allow at least what the values of the first output are apart.

    An output that hardly changes over the golden sequences has a spread of a few such steps, of
    which a share says nothing.

    Args:
        step: the output's scale; of floats, see :func:`float_step_of`.

    Example:
        >>> on_grid(Tolerance(rms=0.001, max_abs=0.5, argmax_agreement=0.9), step=0.004)
        Tolerance(rms=0.004, max_abs=0.5, argmax_agreement=0.9)
    """
    rms, max_abs = max(tolerance.rms, step), max(tolerance.max_abs, 4 * step)
    return Tolerance(rms, max_abs, tolerance.argmax_agreement)


def float_step_of(largest: float) -> float:
    """Return how far rounding in float32 may move a value whose inputs are as large as it is."""
    return 4 * float(np.finfo(np.float32).eps) * largest


def held_to(least: Tolerance, measured: Verification, limit: Tolerance) -> Tolerance:
    """Allow twice the error on the exporting runtime, but between ``least`` and ``limit``."""
    disagreement = 2 * (1 - measured.argmax_agreement)
    return Tolerance(
        rms=min(limit.rms, max(least.rms, 2 * measured.rms)),
        max_abs=min(limit.max_abs, max(least.max_abs, 2 * measured.max_abs)),
        argmax_agreement=max(limit.argmax_agreement, min(least.argmax_agreement, 1 - disagreement)),
    )
