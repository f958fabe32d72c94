"""What a step model is held to on other runtimes, from its scheme and its own error."""

from __future__ import annotations

from convert.schemes.scheme import ToleranceShare
from device_runner.model.contract import Tolerance
from device_runner.verify import Verification


def tolerance_of(share: ToleranceShare, spread: float, classifies: bool) -> Tolerance:
    """A share in units of the first output.

    Args:
        share: of ``spread``.
        spread: of the float model's outputs, in their units.
        classifies: whether the largest of the output's values is a decision.
    """
    # Which of several values is the largest means nothing.
    agreement = share.argmax_agreement if classifies else 0.0
    return Tolerance(share.rms * spread, share.max_abs * spread, agreement)


def held_to(least: Tolerance, measured: Verification, limit: Tolerance) -> Tolerance:
    """Twice the error on the exporting runtime, but between ``least`` and ``limit``."""
    disagreement = 2 * (1 - measured.argmax_agreement)
    return Tolerance(
        rms=min(limit.rms, max(least.rms, 2 * measured.rms)),
        max_abs=min(limit.max_abs, max(least.max_abs, 2 * measured.max_abs)),
        argmax_agreement=max(limit.argmax_agreement, min(least.argmax_agreement, 1 - disagreement)),
    )
