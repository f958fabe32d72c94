"""What a scheme is: how a float step graph becomes the graph that ships."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from calibration.float_model import StreamInputs
from calibration.ranges import Ranges
from calibration.rollout import roll_out
from convert.errors import ContractViolationError
from convert.schemes.spec import SchemeSpec
from device_runner.model.flatbuffer import Graph


@dataclass(frozen=True)
class ToleranceShare:
    """Errors on the golden sequences, as shares of the float outputs' spread (largest minus
    smallest), and a share of equal decisions."""

    rms: float
    max_abs: float
    argmax_agreement: float


@dataclass(frozen=True)
class FloatStep:
    """The float32 step graph of a network: what calibration rolls out and schemes start from.

    Attributes:
        flatbuffer: the TFLite model, with the signature ``step``.
        state_bounds: largest magnitudes that the equations allow, by state name.
        limits: range of each activation in real units, by tensor name, if quantization-aware
            training decided it; None if it comes from calibrated ranges.
        initial: values in real units that a state begins a sequence with, by state name, in the
            state's shape; other states begin with zeros.
        vocabularies: number of token ids, by the name of each input that takes them.
        float_only: why the step cannot be computed in integers; empty if it can.
        periods: steps from one update to the next, by name, of states that are not updated at each
            step. The flatbuffer updates all states; :mod:`convert.step.phase_signatures` makes the
            steps that leave some out.
    """

    flatbuffer: bytes
    state_bounds: dict[str, float]
    limits: dict[str, tuple[float, float]] | None = None
    initial: dict[str, NDArray[Any]] = field(default_factory=dict)
    vocabularies: dict[str, int] = field(default_factory=dict)
    float_only: tuple[str, ...] = ()
    periods: dict[str, int] = field(default_factory=dict)

    def calibrate(
        self, streams: Sequence[StreamInputs], progress: Callable[[int, int], None] | None = None
    ) -> Ranges:
        """Roll the step graph out over ``streams``, see :func:`calibration.rollout.roll_out`."""
        return roll_out(
            self.flatbuffer, streams, progress, self.initial, self.periods, self.state_bounds
        )

    def check_integers(self) -> None:
        """Raise ContractViolationError if an integer scheme cannot be right."""
        if self.float_only:
            raise ContractViolationError(f"{self.float_only[0]}; use the scheme dynamic or float32")


@dataclass(frozen=True)
class Scheme:
    """A way to store numbers.

    Attributes:
        apply: (float step graph, ranges or None, parsed name) -> flatbuffer.
        needs_ranges: whether ``apply`` needs calibrated ranges (or a step graph with limits).
        words: the words of :mod:`convert.schemes.spec` that it knows.
        state_dtype: dtype of the states, and of inputs and outputs with real values.
        all_dtypes: dtypes that tensors of the result may have, or None for any.
        tolerance: the least error that a runtime is allowed. A coarser model is allowed twice its
            own error on the exporting runtime.
        limit: the most error that any model of the scheme may have; beyond it the conversion is
            wrong.
    """

    name: str
    apply: Callable[[FloatStep, Ranges | None, SchemeSpec], bytes]
    needs_ranges: bool
    words: frozenset[str]
    state_dtype: str
    all_dtypes: frozenset[str] | None
    tolerance: ToleranceShare
    limit: ToleranceShare

    def check_dtypes(self, graph: Graph) -> None:
        """Check a graph's dtypes.

        Raises:
            ContractViolationError: a dtype is not the scheme's, or an operator converts dtypes.
        """
        if self.all_dtypes is None:
            return
        for tensor in graph.tensors:
            if tensor.dtype not in self.all_dtypes:
                raise ContractViolationError(
                    f"tensor '{tensor.name}' is {tensor.dtype} in scheme {self.name}"
                )
        for operator in graph.operators:
            if operator.name in ("QUANTIZE", "DEQUANTIZE", "CAST"):
                raise ContractViolationError(f"{operator.name} in the {self.name} step graph")
