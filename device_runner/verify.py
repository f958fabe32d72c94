"""Does this runtime on this device compute what the float model computed?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from device_runner.errors import VerificationError
from device_runner.model.contract import Tolerance
from device_runner.model.names import OUTPUT_NAME
from device_runner.stream import Stream

# A decision counts where the float model's largest output leads by more than this share of the
# outputs' spread: at the beginning of a sequence there is often nothing to decide on, and which
# side a tie falls on says nothing of a runtime.
TIE = 0.05


@dataclass(frozen=True)
class Verification:
    """Error of a runtime's outputs against the float model on the golden sequences: of the first
    output, or of a further one that is worse (see :class:`Tolerance`). ``argmax_agreement`` is of
    the decisions that are no ties; 1 where all are."""

    backend: str
    backend_version: str
    steps: int
    rms: float
    max_abs: float
    argmax_agreement: float
    tolerance: Tolerance

    @property
    def failure(self) -> str | None:
        """What is out of tolerance, or None."""
        allowed = self.tolerance
        if not np.isfinite(self.rms):
            return "the outputs are not finite"
        if self.rms > allowed.rms:
            return f"rms error {self.rms:.3g} is above {allowed.rms:.3g}"
        if self.max_abs > allowed.max_abs:
            return f"largest error {self.max_abs:.3g} is above {allowed.max_abs:.3g}"
        if self.argmax_agreement < allowed.argmax_agreement:
            return (
                f"decisions agree at {self.argmax_agreement:.1%} of the steps, "
                f"below {allowed.argmax_agreement:.1%}"
            )
        return None

    def error(self, path: object) -> VerificationError:
        """The error to raise for a model that failed."""
        return VerificationError(
            f"{path}: {self.failure} on {self.backend} {self.backend_version}; "
            "this runtime computes something else than the trained model, do not use it here"
        )


def compare(y: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """Errors of ``y`` against ``reference``, both [steps, outputs]: root mean square, largest,
    and the share of steps with the same argmax."""
    error = y.astype(np.float64) - reference
    agreement = float(np.mean(y.argmax(-1) == reference.argmax(-1)))
    return float(np.sqrt(np.mean(error**2))), float(np.abs(error).max()), agreement


def _lead(y: np.ndarray) -> np.ndarray:
    """By how much the largest output leads, [steps]; without another one, infinitely."""
    if y.shape[-1] < 2:
        return np.full(len(y), np.inf)
    ordered = np.sort(y.reshape(len(y), -1), axis=-1)
    return ordered[:, -1] - ordered[:, -2]


def verify(stream: Stream) -> Verification:
    """Step the golden sequences and compare; the state is reset before each and at the end."""
    golden = stream.model.golden
    found: list[dict[str, np.ndarray]] = []
    for sequence in golden.sequences():
        stream.reset()
        y = stream.run(sequence)
        found.append(y if isinstance(y, dict) else {OUTPUT_NAME: y})
    stream.reset()
    rms, max_abs, agreement = 0.0, 0.0, 1.0
    spread = np.ptp(golden.y)
    for name, reference in golden.outputs.items():
        # The outputs may be in units of their own: their errors count as shares of their spread.
        scale = 1.0 if name == OUTPUT_NAME else float(spread / (np.ptp(reference) or spread or 1))
        own = compare(np.concatenate([y[name] for y in found]), reference)
        # np.maximum hands a NaN on, max() may not.
        rms, max_abs = np.maximum((rms, max_abs), (scale * own[0], scale * own[1]))
    decided = _lead(golden.y) > TIE * spread
    if decided.any():
        y = np.concatenate([found_y[OUTPUT_NAME] for found_y in found])
        agreement = compare(y[decided], golden.y[decided])[2]
    return Verification(
        backend=stream.backend.name,
        backend_version=stream.backend.version,
        steps=golden.steps,
        rms=float(rms),
        max_abs=float(max_abs),
        argmax_agreement=agreement,
        tolerance=stream.model.contract.tolerance,
    )
