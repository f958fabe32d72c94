"""Check whether a runtime on this device computes what the float model computed.

It is compared with the float model on the golden sequences, which tells whether the model is good
there, and with what the exporting runtime recorded (:mod:`device_runner.model.recorded_run`), which
tells whether it is the same computation.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import VerificationError
from device_runner.golden_rows import step_golden_rows
from device_runner.model.contract import Tolerance
from device_runner.replay import Replay, compare_with_record
from device_runner.stream import Stream

# A decision counts only if the float model's largest output leads by more than this share of the
# outputs' spread. At the beginning of a sequence there is often nothing to decide on, and how a tie
# is decided tells nothing about a runtime.
TIE = 0.05


@dataclass(frozen=True)
class Verification:
    """A runtime's errors against the float model on the golden sequences.

    Args:
        backend, backend_version: the runtime's name and version.
        steps: number of steps that were compared: those with an answer.
        rms: root mean square error of the first output, or of a further one that is worse; see
            :class:`~device_runner.model.contract.Tolerance` for the unit.
        max_abs: the largest error, likewise.
        argmax_agreement: share of equal decisions, from 0 to 1, without ties; 1 if all are ties.
        tolerance: what the contract allows.
        replay: how it did against the exporting runtime; None if that was not recorded, or if this
            runtime does not round as the model says (reference, accelerators).
    """

    backend: str
    backend_version: str
    steps: int
    rms: float
    max_abs: float
    argmax_agreement: float
    tolerance: Tolerance
    replay: Replay | None = None

    @property
    def failure(self) -> str | None:
        """What is out of tolerance, in words, or None."""
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
        return None if self.replay is None else self.replay.failure

    def to_json(self) -> dict[str, Any]:
        """Return the figures in JSON-ready form, with None for NaN and infinity."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }

    def error(self, path: object) -> VerificationError:
        """Make the error for a model that failed."""
        return VerificationError(
            f"{path}: {self.failure} on {self.backend} {self.backend_version}; "
            "this runtime does not compute what the trained model does, do not use it here"
        )


def compare(y: NDArray[Any], reference: NDArray[Any]) -> tuple[float, float, float]:
    """Compare outputs.

    Args:
        y, reference: [steps, outputs].

    Returns:
        The root mean square error, the largest error, and the share of steps with the same argmax.

    Example:
        >>> compare(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [3.0, 1.0]]))
        (1.5, 3.0, 0.5)
    """
    error = y.astype(np.float64) - reference
    agreement = float(np.mean(y.argmax(-1) == reference.argmax(-1)))
    return float(np.sqrt(np.mean(error**2))), float(np.abs(error).max()), agreement


def _lead(y: NDArray[Any]) -> NDArray[Any]:
    """Return the lead of the largest value over the next along the last axis.

    It is infinite for a single one."""
    if y.shape[-1] < 2:
        return np.full(y.shape[:-1], np.inf)
    ordered = np.sort(y, axis=-1)
    lead: NDArray[Any] = ordered[..., -1] - ordered[..., -2]
    return lead


def verify(stream: Stream) -> Verification:
    """Step a model through its golden sequences and compare its outputs.

    The state is reset before each sequence and at the end. Of a model that takes rows each row is
    compared, and the figures are the worst row's.
    """
    golden, contract = stream.model.golden, stream.model.contract
    given = _golden_runs(stream)
    replay = _replay(stream)
    stream.reset()
    answered = golden.answered(contract.window)
    references = {name: values[answered] for name, values in golden.outputs.items()}
    errors = [
        _errors({name: own[name][answered] for name in golden.outputs}, references) for own in given
    ]
    # NumPy's largest and smallest pass a NaN on, Python's may not.
    rms, max_abs, agreements = np.array(errors, np.float64).T
    return Verification(
        backend=stream.backend.name,
        backend_version=stream.backend.version,
        steps=int(answered.sum()),
        rms=float(rms.max()),
        max_abs=float(max_abs.max()),
        argmax_agreement=float(agreements.min()),
        tolerance=contract.tolerance,
        replay=replay,
    )


def _golden_runs(stream: Stream) -> list[dict[str, NDArray[Any]]]:
    """Return the outputs of the golden steps by name, [steps, outputs]; of each row, if several."""
    golden, contract = stream.model.golden, stream.model.contract
    if contract.rows > 1:
        outputs, places = step_golden_rows(stream.backend, contract, golden)
        # As the golden file has them, whichever sequence a row began with.
        order = places.reshape(contract.rows, -1).argsort(1)
        tables = {
            name: values.reshape(contract.rows, -1, *values.shape[1:])
            for name, values in outputs.items()
        }
        return [
            {name: table[row][order[row]] for name, table in tables.items()}
            for row in range(contract.rows)
        ]
    given = []
    for sequence in golden.sequences():
        stream.reset()
        given.append(stream.run_by_name(sequence))
    return [{name: np.concatenate([y[name] for y in given]) for name in golden.outputs}]


def _errors(
    own: dict[str, NDArray[Any]], references: dict[str, NDArray[Any]]
) -> tuple[float, float, float]:
    """Return the rms error, the largest, and the share of equal decisions, of the first output."""
    name, first = next(iter(references.items()))
    rms, max_abs, agreement = 0.0, 0.0, 1.0
    spread = np.ptp(first)
    for output, reference in references.items():
        # Outputs may differ in units, so their errors count as shares of their spread.
        scale = 1.0 if output == name else float(spread / (np.ptp(reference) or spread or 1))
        errors = compare(own[output], reference)
        # np.maximum passes a NaN on, max() may not.
        rms, max_abs = np.maximum((rms, max_abs), (scale * errors[0], scale * errors[1]))
    decided = _lead(first) > TIE * spread
    if decided.any():
        agreement = compare(own[name][decided], first[decided])[2]
    return float(rms), float(max_abs), agreement


def _replay(stream: Stream) -> Replay | None:
    """Compare with what the exporting runtime recorded, if that can be compared."""
    model, backend = stream.model, stream.backend
    if model.recorded is None or not backend.rounds_each_operator or backend.wants_accelerator:
        return None
    return compare_with_record(model.contract, model.recorded, backend)
