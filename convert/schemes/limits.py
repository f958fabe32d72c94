"""The real range that an integer step graph covers for every activation.

What is special about a recurrent graph is decided here:

- a state's in and out tensors get one and the same scale, and zero point 0. Where the equations
  bound a state (|h| <= 1), the bound is its range; else the largest value of the roll-out with a
  margin, because a state that saturates once stays wrong for many steps;
- the product of a gate with such a state (f * c in an LSTM) gets the state's range: calibrated
  on its own it would saturate before the state does.
"""

from __future__ import annotations

from calibration.methods import choose_range
from calibration.ranges import Ranges
from convert.errors import ContractViolationError
from device_runner.flatbuffer import Graph

STATE_MARGIN = 1.1


def tensor_limits(
    graph: Graph, ranges: Ranges | None, bounds: dict[str, float], method: str, bits: int
) -> dict[str, tuple[float, float]]:
    """Real range (low, high) of each activation by tensor name.

    Args:
        graph: the float step graph.
        ranges: calibrated on it.
        bounds: magnitudes of states that the equations guarantee, by state name.
        method: how a range is chosen, a name in calibration.methods.METHODS; states excepted.
        bits: of the stored integers, 8 or 16.

    Raises:
        ContractViolationError: there are no ranges.
    """
    if ranges is None:
        raise ContractViolationError("an integer scheme needs calibrated ranges; calibrate first")
    limits = {name: choose_range(item, method, 2**bits) for name, item in ranges.tensors.items()}
    unbounded: dict[str, tuple[float, float]] = {}
    for state, names in ranges.states.items():
        magnitude = bounds.get(state) or STATE_MARGIN * ranges.state_magnitude(state)
        for name in names:
            limits[name] = symmetric_limits(magnitude, bits)
            if state not in bounds:
                unbounded[name] = limits[name]
    gates = {index for op in graph.operators if op.name == "LOGISTIC" for index in op.outputs}
    for op in graph.operators:
        if op.name == "MUL" and gates & set(op.inputs):
            for index in op.inputs:
                if (name := graph.tensors[index].name) in unbounded:
                    limits[graph.tensors[op.outputs[0]].name] = unbounded[name]
    return limits


def symmetric_limits(magnitude: float, bits: int) -> tuple[float, float]:
    """The range whose scale is magnitude / 2^(bits - 1) and whose zero point is 0."""
    top = magnitude * (1 - 2.0 ** (1 - bits))
    # 16-bit tensors are symmetric, down to -32767; 8-bit ones go down to -128.
    return (-magnitude if bits == 8 else -top), top
