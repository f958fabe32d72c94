"""Choose the real range that an integer step graph covers for every activation.

The special rules of a recurrent graph:

- The in and out tensors of a state get the same scale, and zero point 0. If the equations bound a
  state (|h| <= 1), the bound is its range. Otherwise 8 bits get the magnitude that calibration
  found by trial, and 16 bits, which are fine enough, the largest value of the roll-out with a
  margin.
- The product of a gate with such a state (f * c in an LSTM) gets the state's range: with a
  calibrated range of its own it would saturate before the state does.
- Tensors that an operator only passes on (a slice, a join) share one range.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from calibration.methods import choose_range
from calibration.ranges import Ranges
from calibration.state_magnitudes import MARGIN
from convert.errors import ContractViolationError
from convert.schemes.rows import repeats
from device_runner.model.flatbuffer import Graph, Operator
from device_runner.operators import OPERATORS


def tensor_limits(
    graph: Graph,
    ranges: Ranges | None,
    bounds: dict[str, float],
    method: str,
    bits: int,
    in_float: Collection[int] = (),
) -> dict[str, tuple[float, float]]:
    """Choose the range (low, high) in real units of each activation, by tensor name.

    Args:
        graph: the float step graph.
        ranges: ranges calibrated on it.
        bounds: largest magnitudes of states that the equations allow, by state name.
        method: how a range is chosen, a name in calibration.methods.METHODS; not used for states.
        bits: width of the stored integers, 8 or 16.
        in_float: positions of the operators that stay in float32, whose tensors need no range.

    Raises:
        ContractViolationError: there are no ranges.
    """
    if ranges is None:
        raise ContractViolationError("an integer scheme needs calibrated ranges; calibrate first")
    limits = {name: choose_range(item, method, 2**bits) for name, item in ranges.tensors.items()}
    unbounded: dict[str, tuple[float, float]] = {}
    for state, names in ranges.states.items():
        magnitude = (
            bounds.get(state)
            or (bits == 8 and ranges.magnitudes.get(state))
            or MARGIN * ranges.state_magnitude(state)
        )
        for name in names:
            limits[name] = symmetric_limits(magnitude, bits)
            if state not in bounds:
                unbounded[name] = limits[name]
    operators = [op for place, op in enumerate(graph.operators) if place not in in_float]
    for op in operators:
        factors = [graph.tensors[index].name for index in op.inputs if index >= 0]
        if op.name == "MUL" and any(_is_gate(limits.get(name)) for name in factors):
            for name in factors:
                if name in unbounded:
                    limits[graph.tensors[op.outputs[0]].name] = unbounded[name]
    states = {name for names in ranges.states.values() for name in names}
    return {**limits, **_shared(graph, operators, ranges, limits, states, bits)}


def _is_gate(limit: tuple[float, float] | None) -> bool:
    """Tell whether a range is that of a factor from 0 to 1."""
    return limit is not None and limit[0] >= 0 and limit[1] <= 1


def _shared(
    graph: Graph,
    operators: Sequence[Operator],
    ranges: Ranges,
    limits: dict[str, tuple[float, float]],
    states: set[str],
    bits: int,
) -> dict[str, tuple[float, float]]:
    """Choose one range, by tensor name, for all tensors that operators only pass on.

    It is wide enough for each, and symmetric if a state is among them. If TFLite prescribes the
    grid of the operator that gives the state, it is that."""
    prescribed = {
        graph.tensors[index].name: limit if bits == 8 else symmetric_limits(1.0, bits)
        for op in operators
        if op.name in OPERATORS and (limit := OPERATORS[op.name].prescribed)
        for index in op.outputs
    }
    group: dict[str, set[str]] = {name: {name} for name in limits}

    def join(names: list[str]) -> None:
        known = [name for name in names if name in group]
        joined = set().union(*(group[name] for name in known))
        group.update(dict.fromkeys(joined, joined))

    for names in ranges.states.values():
        join(list(names))
    for op in operators:
        if repeats(op, graph):
            join([graph.tensors[op.inputs[0]].name, graph.tensors[op.outputs[0]].name])
        elif op.name in OPERATORS and OPERATORS[op.name].one_grid:
            join([graph.tensors[index].name for index in (*op.inputs, *op.outputs) if index >= 0])
    found = {}
    for members in {id(members): members for members in group.values()}.values():
        given = sorted(members & states & prescribed.keys())
        if given:
            found.update(dict.fromkeys(members, prescribed[given[0]]))
        elif len({limits[name] for name in members}) > 1:
            low = min(limits[name][0] for name in members)
            high = max(limits[name][1] for name in members)
            if members & states:
                low, high = symmetric_limits(max(-low, high), bits)
            found.update(dict.fromkeys(members, (low, high)))
    return found


def symmetric_limits(magnitude: float, bits: int) -> tuple[float, float]:
    """Return the range whose scale is magnitude / 2^(bits - 1) and whose zero point is 0."""
    top = magnitude * (1 - 2.0 ** (1 - bits))
    # 16-bit tensors are symmetric, down to -32767; 8-bit ones go down to -128.
    return (-magnitude if bits == 8 else -top), top
