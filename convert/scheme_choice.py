"""Choose the scheme for a target: the cheapest one that keeps what the network learned.

Profiles say what a target can run and what is cheap on it. Whether a model survives a scheme is
measured on validation data: the first exported candidate that stays near the float model is chosen.
The reason is given in words, for people to check. Test data has no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from convert.errors import ContractViolationError
from convert.model_metrics import Drift, ModelMetrics
from convert.schemes import parse_scheme
from convert.schemes.spec import SchemeSpec
from convert.targets.profile import get_profile
from models.metrics import ACCURACY

# How much a candidate may lose against the float model: this much of a metric that is a share, or
# this share of any other metric's value (an error in mg/dL). One validation sequence may always be
# lost: where there are few, it is more than that, and tells nothing.
SCORE_LOSS = 0.01
SCORE_LOSS_SHARE = 0.02
# Of scores as contracts hold them.
ROUNDING = 1e-4
# The share of equal decisions that it must keep over a long stream without reset. For a model that
# gives values, the largest error there, as a share of the outputs' spread.
DECISIONS_KEPT = 0.9
DRIFT_RMS = 0.05


@dataclass(frozen=True)
class Choice:
    """A scheme and why it was chosen."""

    scheme: str
    reason: str


def candidates(target: str) -> tuple[SchemeSpec, ...]:
    """List the schemes to try for a target, the cheapest first.

    Raises:
        UnknownTargetError: there is no such target.
    """
    return tuple(parse_scheme(name) for name in get_profile(target).schemes)


def refusal(metrics: ModelMetrics) -> str | None:
    """Say why a step model cannot stand in for the float one; None if it can.

    Args:
        metrics: of the step model; with both scores on the validation data.

    Raises:
        ContractViolationError: the metrics are of a file that does not hold these scores.
    """
    metric, reference = metrics.metric, metrics.float_validation_score
    score = metrics.validation_score
    if reference is None or score is None:
        raise ContractViolationError(
            "the metrics do not hold the scores on validation data; export the model again"
        )
    lost = metric.lost(score, reference)
    one_sequence = 1 / metrics.validation_sequences if metrics.validation_sequences else 0.0
    # The comparisons are such that a score that is not a number is refused.
    if metric.is_share and not lost <= max(SCORE_LOSS, one_sequence + ROUNDING):
        return f"loses {100 * lost:.1f} points of {metric.name}"
    if not metric.is_share and not lost <= SCORE_LOSS_SHARE * abs(reference):
        return (
            f"is worse by {lost / abs(reference):.1%} in {metric.name} "
            f"({metric.text(score)} against {metric.text(reference)})"
        )
    return drift_refusal(metrics.drift, metric.name == ACCURACY.name) if metrics.drift else None


def drift_refusal(drift: Drift, decides: bool) -> str | None:
    """Say why a step model strays too far over a long stream without reset; None if it does not.

    Args:
        decides: whether decisions count; if they do not, how far the outputs stray does.
    """
    if decides and drift.argmax_agreement < DECISIONS_KEPT:
        return (
            f"decides as the float model at only {drift.argmax_agreement:.0%} of "
            f"{drift.steps:,} steps without reset"
        )
    if not decides and drift.rms > DRIFT_RMS:
        return f"drifts by {drift.rms:.1%} of the spread in {drift.steps:,} steps"
    return None


def choose(target: str, tried: dict[str, str | None]) -> Choice:
    """Choose one of the schemes that were exported for a target.

    Args:
        target: a name in convert.targets.TARGETS.
        tried: by exported candidate what :func:`refusal` says of it, the cheapest first; at least
            one. If all are refused, the last is taken and the reason says so.
    """
    against = [f"{scheme} {problem}" for scheme, problem in tried.items() if problem]
    chosen = next((scheme for scheme, problem in tried.items() if not problem), None)
    if chosen is None:
        chosen = list(tried)[-1]
        return Choice(chosen, f"nothing else is left for {target}: {'; '.join(against)}")
    rest = f"; not chosen: {'; '.join(against)}" if against else ""
    return Choice(chosen, f"{get_profile(target).schemes_reason}{rest}")
