"""What a scheme is: how a float step graph becomes the graph that ships."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numpy.typing import NDArray

from calibration.float_model import StreamInputs
from calibration.ranges import Ranges
from calibration.rollout import roll_out
from convert.errors import ContractViolationError
from convert.schemes.rows import repeated
from convert.schemes.spec import SchemeSpec
from device_runner.model.flatbuffer import Graph, read_graph
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.window import Window


@dataclass(frozen=True)
class ToleranceShare:
    """Errors on the golden sequences, as shares of the float outputs' spread (largest minus
    smallest), and a share of equal decisions."""

    rms: float
    max_abs: float
    argmax_agreement: float


class LayerName(NamedTuple):
    """A layer of a step.

    Attributes:
        name: its name.
        float_only: why a part of it stays in float32 in every scheme; "" if none does.
    """

    name: str
    float_only: str = ""


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
        layers: the step's layers by their places, which the names of its tensors tell
            (:mod:`convert.step.scopes`); empty if they tell none.
        float_states: names of the states that stay in float32 in every scheme.
        kept_float: places of layers that stay in float32 as a whole, because somebody chose so.
        inputs, outputs: names of what the step takes and gives besides states, in order; () if x
            and y come first, and others in the order of the signature.
        periods: steps from one update to the next, by name, of states that are not updated at each
            step. The flatbuffer updates all states; :mod:`convert.step.phase_signatures` makes the
            steps that leave some out.
        window: for which frames the step answers, and how; None if it answers each.
        one_row: if the states have several rows, the step of a single one, whose tensors have the
            same names; else None.
        first_phase: the phase of the cycle that a sequence begins with.
    """

    flatbuffer: bytes
    state_bounds: dict[str, float]
    limits: dict[str, tuple[float, float]] | None = None
    initial: dict[str, NDArray[Any]] = field(default_factory=dict)
    vocabularies: dict[str, int] = field(default_factory=dict)
    layers: tuple[LayerName, ...] = ()
    float_states: frozenset[str] = frozenset()
    kept_float: frozenset[int] = frozenset()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    periods: dict[str, int] = field(default_factory=dict)
    window: Window | None = None
    one_row: bytes | None = None
    first_phase: int = 0

    def calibrate(
        self, streams: Sequence[StreamInputs], progress: Callable[[int, int], None] | None = None
    ) -> Ranges:
        """Roll the step graph out over ``streams``, see :func:`calibration.rollout.roll_out`.

        A row of several is rolled out alone: each stream is one window.
        """
        if self.window is not None and not self.window.lanes:
            # The states are frames, whose range the data gives; before the first window is full
            # they hold zeros, which are not data.
            states, skipped = _states(self.flatbuffer), self.window.steps - 1
            return roll_out(self.flatbuffer, streams, progress, bounded=states, skipped=skipped)
        ranges = roll_out(
            self.one_row or self.flatbuffer,
            streams,
            progress,
            self.initial,
            self.periods,
            self.state_bounds,
            self.first_phase,
        )
        if self.one_row is None:
            return ranges
        return repeated(ranges, read_graph(self.flatbuffer), read_graph(self.one_row))


def _states(flatbuffer: bytes) -> list[str]:
    """List the names on both sides of a step's signature."""
    signature = read_graph(flatbuffer).signature(STEP_SIGNATURE)
    return [name for name in signature.inputs if name in signature.outputs]


CONVERSIONS = ("QUANTIZE", "DEQUANTIZE", "CAST")


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

    def check_dtypes(self, graph: Graph, mixed: bool = False) -> None:
        """Check a graph's dtypes.

        Args:
            mixed: whether parts of it stay in float32; then it may convert between dtypes.

        Raises:
            ContractViolationError: a dtype is not the scheme's, or an operator converts dtypes.
        """
        if self.all_dtypes is None:
            return
        dtypes = self.all_dtypes | {"float32", "bool"} if mixed else self.all_dtypes
        for tensor in graph.tensors:
            if tensor.dtype not in dtypes:
                raise ContractViolationError(
                    f"tensor '{tensor.name}' is {tensor.dtype} in scheme {self.name}"
                )
        for operator in graph.operators:
            dtypes_of = {graph.tensors[i].dtype for i in (*operator.inputs, *operator.outputs)}
            # From one grid of a dtype to another of the same one is a computation in integers.
            converts = operator.name in CONVERSIONS and len(dtypes_of) > 1
            if converts and not mixed:
                raise ContractViolationError(f"{operator.name} in the {self.name} step graph")
